//! `fuguctl diff`: two etc trees, bundles or pf.conf files compared by what they mean. The comparison of rules is the
//! compiler's; here are the files around it and the two ways of showing it.

mod json;
mod text;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use netconf::environment::{PF_CONF, Tree};
use pfconf::diff::{Difference, Side, Unreadable};
use pfconf::{Environment, Files};

use crate::pfctl::Disk;
use crate::{Failure, Output, check, files, pfctl_etc, policy, print};

/// First bytes of a bundle (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What an argument turned out to be.
enum Loaded {
    /// A directory or a bundle.
    Tree(BTreeMap<String, Vec<u8>>),
    /// The text of a pf.conf.
    File(Vec<u8>),
}

/// What became of a file that the rules do not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileChange {
    Added,
    Removed,
    Changed,
}

/// Everything that differs.
struct Found {
    rules: Difference,
    files: Vec<(String, FileChange)>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.files.is_empty()
    }
}

/// Compares and reports.
pub(crate) fn command(
    first: &Path,
    second: &Path,
    as_json: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (a, b) = (load(first)?, load(second)?);
    let found = match compare((first, &a), (second, &b))? {
        Ok(found) => found,
        Err(unreadable) => return Err(wrong(unreadable, first, second, output)?),
    };
    if as_json {
        json::print(&found, output)?;
    } else {
        text::print(&found, first, second, output)?;
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused),
    }
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    if path.is_dir() {
        return Ok(Loaded::Tree(check::load(path)?));
    }
    let bytes = files::read(path)?;
    if bytes.starts_with(&GZIP) {
        return Ok(Loaded::Tree(crate::bundles::open(&bytes, path)?.files));
    }
    Ok(Loaded::File(bytes))
}

/// Files, and which of them were read.
struct Watched<'a> {
    inner: Box<dyn Files + 'a>,
    read: RefCell<BTreeSet<String>>,
}

impl Files for Watched<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.read.borrow_mut().insert(name.to_string());
        self.inner.read(name)
    }
}

/// One side with all that its rules may name.
struct Prepared<'a> {
    name: String,
    text: &'a [u8],
    files: Watched<'a>,
    env: Environment,
}

/// A file alone is read as if it were the pf.conf of the other side's tree; two files alone, each with what lies beside it.
fn prepare<'a>(path: &Path, one: &'a Loaded, other: &'a Loaded) -> Result<Prepared<'a>, Failure> {
    let no_rules = || Failure::Trouble(format!("{}: there is no {PF_CONF} in it", path.display()));
    let text = match one {
        Loaded::Tree(files) => files.get(PF_CONF).ok_or_else(no_rules)?,
        Loaded::File(text) => text,
    };
    let name = match one {
        Loaded::Tree(_) => PF_CONF.to_string(),
        Loaded::File(_) => path.display().to_string(),
    };
    let (inner, env): (Box<dyn Files>, Environment) = match (one, other) {
        (Loaded::Tree(files), _) | (Loaded::File(_), Loaded::Tree(files)) => {
            let (conf, _complaints) = netconf::parse(files);
            (Box::new(Tree(files)), policy::environment(&conf))
        }
        (Loaded::File(_), Loaded::File(_)) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            let dir = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
            let env = pfctl_etc::environment(Some(&dir))?;
            (Box::new(Disk::beside(dir)), env)
        }
    };
    Ok(Prepared {
        name,
        text,
        files: Watched {
            inner,
            read: RefCell::default(),
        },
        env,
    })
}

fn compare(
    (first, a): (&Path, &Loaded),
    (second, b): (&Path, &Loaded),
) -> Result<Result<Found, Unreadable>, Failure> {
    let (x, y) = (prepare(first, a, b)?, prepare(second, b, a)?);
    let rules = match pfconf::diff::compare(side_of(&x), side_of(&y)) {
        Ok(rules) => rules,
        Err(unreadable) => return Ok(Err(unreadable)),
    };
    let files = match (a, b) {
        (Loaded::Tree(a), Loaded::Tree(b)) => {
            let mut read = x.files.read.into_inner();
            read.extend(y.files.read.into_inner());
            compare_files(a, b, &read)
        }
        _ => Vec::new(),
    };
    Ok(Ok(Found { rules, files }))
}

fn side_of<'p>(p: &'p Prepared<'_>) -> Side<'p> {
    Side {
        name: &p.name,
        text: p.text,
        files: &p.files,
        env: &p.env,
    }
}

/// Files of two trees that say something else, those that the rules read excluded: what they say has been compared.
fn compare_files(
    a: &BTreeMap<String, Vec<u8>>,
    b: &BTreeMap<String, Vec<u8>>,
    read: &BTreeSet<String>,
) -> Vec<(String, FileChange)> {
    let inside: BTreeSet<&str> = read
        .iter()
        .map(|name| name.strip_prefix("/etc/").unwrap_or(name))
        .collect();
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut out = Vec::new();
    for name in names {
        if name == PF_CONF || inside.contains(name.as_str()) {
            continue;
        }
        let change = match (a.get(name), b.get(name)) {
            (Some(x), Some(y)) if words(x) == words(y) => continue,
            (Some(_), Some(_)) => FileChange::Changed,
            (Some(_), None) => FileChange::Removed,
            _ => FileChange::Added,
        };
        out.push((name.clone(), change));
    }
    out
}

/// The lines of a file as the parsers of small files see them: no comments, no blank lines, single blanks.
fn words(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines = text.lines().map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().map(str::to_string).collect()
    });
    lines
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

/// A ruleset with errors has no meaning to compare.
fn wrong(
    unreadable: Unreadable,
    first: &Path,
    second: &Path,
    output: &mut Output<'_>,
) -> Result<Failure, Failure> {
    let (path, said) = match unreadable {
        Unreadable::First(said) => (first, said),
        Unreadable::Second(said) => (second, said),
    };
    print::diagnostics(&said, output.err)?;
    let counts = print::summary(&said);
    let path = path.display();
    Ok(Failure::Trouble(format!(
        "{path}: {counts}; only rulesets without errors can be compared"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_of_small_files_make_no_difference() {
        let tree = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            let all = pairs.iter();
            all.map(|(n, t)| (n.to_string(), t.as_bytes().to_vec()))
                .collect()
        };
        let a = tree(&[
            ("hostname.em0", "inet  10.0.0.1/8 # x\n\n"),
            ("mygate", "10.0.0.2\n"),
            ("bad", "1.2.3.4\n"),
            ("gone", ""),
        ]);
        let b = tree(&[
            ("hostname.em0", "# y\ninet 10.0.0.1/8\n"),
            ("mygate", "10.0.0.3\n"),
            ("bad", "1.2.3.5\n"),
            ("new", ""),
        ]);
        let read = BTreeSet::from(["/etc/bad".to_string()]);
        assert_eq!(
            compare_files(&a, &b, &read),
            [
                ("gone".to_string(), FileChange::Removed),
                ("mygate".to_string(), FileChange::Changed),
                ("new".to_string(), FileChange::Added),
            ]
        );
    }
}
