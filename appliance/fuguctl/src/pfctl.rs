//! `fuguctl pfctl`: pfctl(8) where no kernel is needed. Output, messages and exit status are pfctl's own, so that scripts can
//! call one for the other; what only a running firewall can do is refused in one sentence.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use pfconf::pfctl::{self, Load, Parts, ShowHow, Source, Surroundings};
use pfconf::{Files, Optimization};

use crate::pfctl_args::{self, Modifier, Request, USAGE, Wrong};
use crate::{Failure, Output, files, keys, pfctl_etc};

/// Longest ruleset on standard input, in bytes.
const STDIN_MAX: u64 = 256 << 20;

/// Where rulesets say that the files of the machine are.
const ETC: &str = "/etc/";

/// Files as rules name them: relative names from the current directory, `/etc/x` from the tree.
pub(crate) struct Disk {
    etc: Option<PathBuf>,
    /// Where relative names begin.
    dir: PathBuf,
}

impl Disk {
    /// `/etc/x` and relative names are both in this directory.
    pub(crate) fn beside(dir: PathBuf) -> Self {
        Disk {
            etc: Some(dir.clone()),
            dir,
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        match (&self.etc, name.strip_prefix(ETC)) {
            (Some(etc), Some(inside)) => etc.join(inside),
            _ => self.dir.join(name),
        }
    }
}

impl Files for Disk {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        files::read(&self.place(name)).ok()
    }
}

/// Runs it; `words` are those after `fuguctl pfctl`.
pub(crate) fn command(words: &[OsString], output: &mut Output<'_>) -> Result<(), Failure> {
    let request = match pfctl_args::parse(words) {
        Ok(request) => request,
        Err(wrong) => return refuse(wrong, output),
    };
    for text in &request.warnings {
        writeln!(output.err, "pfctl: {text}")?;
    }
    if let Some(text) = impossible(&request) {
        return refuse(Wrong::Line(text), output);
    }
    let Some(file) = &request.file else {
        return Ok(());
    };
    let (name, text) = match ruleset(file) {
        Ok(read) => read,
        Err(said) => {
            write!(output.err, "{said}")?;
            return Err(Failure::Refused);
        }
    };
    let source = Source {
        name: &name,
        text: &text,
    };
    let did = run(source, &request)?;
    // Where both go to one pipe, pfctl's standard output comes last: it is written at the end.
    output.err.write_all(did.stderr.as_bytes())?;
    output.out.write_all(did.stdout.as_bytes())?;
    if did.status == 0 {
        Ok(())
    } else {
        Err(Failure::Refused)
    }
}

fn refuse(wrong: Wrong, output: &mut Output<'_>) -> Result<(), Failure> {
    match wrong {
        Wrong::Line(text) => writeln!(output.err, "pfctl: {text}")?,
        Wrong::Usage(Some(text)) => write!(output.err, "pfctl: {text}\n{USAGE}")?,
        Wrong::Usage(None) => output.err.write_all(USAGE.as_bytes())?,
    }
    Err(Failure::Refused)
}

/// What needs a kernel, in a sentence. `-n` switches off more than the load, as in pfctl.
fn impossible(request: &Request) -> Option<String> {
    let switched_on = request.needs_kernel_unless_n.as_ref();
    let switch = request
        .needs_kernel
        .as_ref()
        .or(switched_on.filter(|_| !request.no_action));
    if let Some(switch) = switch {
        return Some(format!(
            "{switch} needs a running appliance: use its console or API"
        ));
    }
    if request.no_action {
        return None;
    }
    match (request.show, &request.file) {
        (Some(Modifier::Running(what)), _) => Some(format!(
            "only a running appliance has {what}: use its console or API"
        )),
        (Some(Modifier::Offline(_)), None) => {
            Some("-s needs the rules here: add -f file".to_string())
        }
        (None, _) => {
            Some("nothing is loaded from here: add -n to check, or use fuguctl push".to_string())
        }
        (Some(Modifier::Offline(_)), Some(_)) => None,
    }
}

/// The name that messages use, and the contents; the error is what pfctl says.
fn ruleset(file: &OsStr) -> Result<(String, Vec<u8>), String> {
    let name = file.to_string_lossy().into_owned();
    if file == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(STDIN_MAX).read_to_end(&mut bytes);
        return match read {
            Ok(_) => Ok(("stdin".into(), bytes)),
            Err(error) => Err(format!("pfctl: stdin: {error}\n")),
        };
    }
    let path = Path::new(file);
    if fs::metadata(path).is_err() {
        return Err(pfctl::missing(&name));
    }
    match files::read(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => Err(format!("pfctl: {error}\n")),
    }
}

fn run(source: Source<'_>, request: &Request) -> Result<pfctl::Output, Failure> {
    let etc = request.etc.as_deref();
    let env = pfctl_etc::environment(etc)?;
    let disk = Disk {
        etc: etc.map(Path::to_path_buf),
        dir: PathBuf::new(),
    };
    let options = pfconf::Options {
        macros: request.macros.clone(),
        optimization: request.optimization.unwrap_or(Optimization::AsTheTextSays),
        random_key: random_key()?,
        ..pfconf::Options::default()
    };
    let around = Surroundings {
        files: &disk,
        env: &env,
        options: &options,
    };
    if let Some(Modifier::Offline(what)) = request.show.filter(|_| !request.no_action) {
        let how = ShowHow {
            verbose: request.verbose,
            port_names: request.port_names,
            recurse: request.recurse,
            number: request.number,
        };
        return Ok(pfctl::show(source, around, what, how));
    }
    let how = Load {
        verbose: request.verbose,
        anchor: request.anchor.clone(),
        parts: request.parts.unwrap_or(Parts::ALL),
        port_names: request.port_names,
    };
    Ok(pfctl::load(source, around, &how))
}

fn random_key() -> Result<[u32; 4], Failure> {
    let bytes = keys::random::<16>()?;
    let mut key = [0; 4];
    for (word, four) in key.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*four);
    }
    Ok(key)
}
