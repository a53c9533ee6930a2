//! Names of archive entries: what is accepted, and how `./etc/pf.conf` becomes `pf.conf`.

use crate::Limits;
use crate::refused::Why;

/// The path inside the etc tree, or `None` for the top itself (`./`, `etc/`).
///
/// A leading `./` and one top directory `etc/` are dropped, so that `tar czf b.tgz etc` and `tar czf b.tgz -C etc .`
/// mean the same.
pub(crate) fn normalize(raw: &[u8], limits: &Limits) -> Result<Option<String>, Why> {
    let text = std::str::from_utf8(raw).map_err(|_| Why::NameNotUtf8)?;
    if text.starts_with('/') {
        return Err(Why::AbsoluteName);
    }
    if text.chars().any(char::is_control) {
        return Err(Why::ControlInName);
    }
    let inner = within_tree(text);
    if inner.is_empty() {
        return Ok(None);
    }
    check(inner, limits)?;
    Ok(Some(inner.to_string()))
}

fn within_tree(text: &str) -> &str {
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    match text {
        "." | "etc" => "",
        _ => text.strip_prefix("etc/").unwrap_or(text),
    }
}

fn check(path: &str, limits: &Limits) -> Result<(), Why> {
    if path.len() > limits.path {
        return Err(Why::NameTooLong { limit: limits.path });
    }
    for part in path.split('/') {
        match part {
            ".." => return Err(Why::ClimbingName),
            "" | "." => return Err(Why::OddName),
            _ => {}
        }
    }
    if path.split('/').count() > limits.depth {
        return Err(Why::TooDeep {
            limit: limits.depth,
        });
    }
    Ok(())
}

/// The directories above `path`, nearest last: `a/b/c` gives `a`, `a/b`.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_directory_is_dropped_once() {
        let cases: [(&str, Option<&str>); 9] = [
            ("pf.conf", Some("pf.conf")),
            ("./pf.conf", Some("pf.conf")),
            ("etc/pf.conf", Some("pf.conf")),
            ("./etc/pf.conf", Some("pf.conf")),
            ("etc/etc/pf.conf", Some("etc/pf.conf")),
            ("tables/bad", Some("tables/bad")),
            ("./", None),
            ("etc/", None),
            (".", None),
        ];
        for (raw, want) in cases {
            assert_eq!(
                normalize(raw.as_bytes(), &Limits::default()),
                Ok(want.map(str::to_string)),
                "{raw}"
            );
        }
    }

    #[test]
    fn names_that_could_leave_the_tree_or_confuse_a_reader_are_refused() {
        let limits = Limits {
            path: 20,
            depth: 3,
            ..Limits::default()
        };
        let cases: [(&[u8], Why); 11] = [
            (b"/etc/pf.conf", Why::AbsoluteName),
            (b"../pf.conf", Why::ClimbingName),
            (b"etc/../../x", Why::ClimbingName),
            (b"a/..", Why::ClimbingName),
            (b"..", Why::ClimbingName),
            (b"a//b", Why::OddName),
            (b"a/./b", Why::OddName),
            (b"pf\n.conf", Why::ControlInName),
            (b"pf\xff", Why::NameNotUtf8),
            (b"123456789012345678901", Why::NameTooLong { limit: 20 }),
            (b"a/b/c/d", Why::TooDeep { limit: 3 }),
        ];
        for (raw, want) in cases {
            assert_eq!(normalize(raw, &limits), Err(want), "{raw:?}");
        }
    }

    #[test]
    fn parents_of_a_path_are_all_its_directories() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
    }
}
