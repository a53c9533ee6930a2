//! `pf.os`: signatures of operating systems, one per line, and the names that rules use for them.
//!
//! A line has nine fields between colons: window, time to live, "don't fragment", size, options, class, version,
//! subtype, description. A version or subtype like `2-4` or `3.0-3.5` stands for each of its numbers and for itself.
//! A line that cannot be read is reported and left out, as pfctl does.
//!
//! Read first: pf.os(5).

use ruleset::os::{
    Fingerprints, Number, OptionList, OsMatch, Signature, SynOption, System, Window,
};

/// Where the list is unless the ruleset says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/pf.os";
/// For trees without a list of their own: a few well-known systems.
const BUILT_IN: &str = include_str!("../etc/pf.os");

/// Longest name of a class, version or subtype.
const NAME_MAX: usize = 31;
/// Largest packet that a signature may name.
const SIZE_MAX: u32 = 8192;
/// IPv6 headers are so much longer than IPv4 ones.
const INET6_MORE: u16 = 20;
/// What an expanded range may hold.
const RANGE_MAX: u32 = 999;

/// A list of signatures, and its names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Library {
    pub(crate) fingerprints: Fingerprints,
    classes: Names,
    /// Lines that could not be read: number from 1, and why.
    pub(crate) problems: Vec<(u32, String)>,
}

/// Names with the names below them; a name's number is its place plus one.
#[derive(Clone, Debug, Default)]
struct Names(Vec<(String, Names)>);

impl Names {
    fn find(&self, name: &str) -> Option<(u16, &Names)> {
        let place = self.0.iter().position(|n| n.0.eq_ignore_ascii_case(name))?;
        Some((place as u16 + 1, &self.0[place].1))
    }

    /// The number of a name, which is added if it is new; no name has number 0.
    fn number(&mut self, name: &str) -> (u16, &mut Names) {
        let place = self
            .0
            .iter()
            .position(|n| n.0.eq_ignore_ascii_case(name))
            .unwrap_or_else(|| {
                self.0.push((name.to_string(), Names::default()));
                self.0.len() - 1
            });
        (place as u16 + 1, &mut self.0[place].1)
    }
}

impl Library {
    /// The list that comes with the program.
    pub(crate) fn built_in() -> Library {
        Library::parse(BUILT_IN)
    }

    pub(crate) fn parse(text: &str) -> Library {
        let mut library = Library::default();
        for (n, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Err(problem) = library.add_line(line) {
                library.problems.push((n, problem));
            }
        }
        library
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        let &[
            window,
            ttl,
            df,
            size,
            options,
            class,
            version,
            subtype,
            details,
        ] = &fields[..]
        else {
            return Err(format!("{} fields instead of 9", fields.len()));
        };
        if details.len() < 2 {
            return Err("no description".into());
        }
        let class = class.strip_prefix(['@', '*']).unwrap_or(class);
        if class.is_empty() {
            return Err("no class".into());
        }
        if [class, version, subtype].iter().any(|n| n.len() > NAME_MAX) {
            return Err(format!("a name of more than {NAME_MAX} bytes"));
        }
        let mut signature = Signature {
            window: self::window(window)?,
            ttl: whole("time to live", ttl, 255)? as u8,
            dont_fragment: whole("don't fragment", df, 1)? == 1,
            size: number("size", size, SIZE_MAX)?,
            options: OptionList::default(),
            mss: Number::Exactly(0),
            wscale: Number::Exactly(0),
            zero_timestamp: false,
            systems: Vec::new(),
        };
        read_options(&mut signature, options)?;
        for version in expanded(version) {
            for subtype in expanded(subtype) {
                signature
                    .systems
                    .push(self.system(class, &version, &subtype));
            }
        }
        let inet6 = inet6_of(&signature);
        self.add(signature);
        self.add(inet6);
        Ok(())
    }

    fn system(&mut self, class: &str, version: &str, subtype: &str) -> System {
        let (class, versions) = self.classes.number(class);
        let mut system = System {
            class,
            ..System::default()
        };
        if !version.is_empty() {
            let (version, subtypes) = versions.number(version);
            system.version = version;
            if !subtype.is_empty() {
                system.subtype = subtypes.number(subtype).0;
            }
        }
        system
    }

    /// Signatures that are alike are one, with the systems of both.
    fn add(&mut self, signature: Signature) {
        let signatures = &mut self.fingerprints.signatures;
        match signatures.iter_mut().find(|s| s.is_like(&signature)) {
            Some(known) => known.systems.extend(signature.systems),
            None => signatures.push(signature),
        }
    }

    /// What a name in a rule stands for: `unknown`, a class, or a class with a version and perhaps a subtype.
    pub(crate) fn lookup(&self, name: &str) -> Option<OsMatch> {
        if name.eq_ignore_ascii_case("unknown") {
            return Some(OsMatch::Unknown);
        }
        let system = |class, version, subtype| {
            Some(OsMatch::System(System {
                class,
                version,
                subtype,
            }))
        };
        if let Some((class, _)) = self.classes.find(name) {
            return system(class, 0, 0);
        }
        let (class, rest) = name.split_once(' ')?;
        let (class, versions) = self.classes.find(class)?;
        if let Some((version, _)) = versions.find(rest) {
            return system(class, version, 0);
        }
        // `2.2.14` is version 2.2, subtype 14; so are `2.2 14` and `2.2-14`.
        let split = |version: &str| {
            let head = rest.get(..version.len())?;
            let tail = rest[version.len()..].strip_prefix(['.', ' ', '\t', '-'])?;
            head.eq_ignore_ascii_case(version).then_some(tail)
        };
        (1..)
            .zip(&versions.0)
            .find_map(|(number, (version, subtypes))| {
                let (subtype, _) = subtypes.find(split(version)?)?;
                system(class, number, subtype)
            })
    }
}

/// The same signature over IPv6: longer by its header, and never fragmented on the way.
fn inet6_of(signature: &Signature) -> Signature {
    Signature {
        size: match signature.size {
            Number::Exactly(n) => Number::Exactly(n.saturating_add(INET6_MORE)),
            other => other,
        },
        dont_fragment: true,
        ..signature.clone()
    }
}

/// `3.0-3.5` as each of its versions, and the text itself; anything else as it is.
fn expanded(text: &str) -> Vec<String> {
    let mut all = range(text).unwrap_or_default();
    all.push(text.to_string());
    all
}

fn range(text: &str) -> Option<Vec<String>> {
    let (low, high) = text.split_once('-')?;
    let digits = |n: &str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    let (prefix, low, high) = match (low.split_once('.'), high.split_once('.')) {
        (Some((a, low)), Some((b, high))) if a == b && digits(a) => (format!("{a}."), low, high),
        (None, None) => (String::new(), low, high),
        _ => return None,
    };
    if !digits(low) || !digits(high) {
        return None;
    }
    let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
    (high <= RANGE_MAX).then(|| (low..=high).map(|n| format!("{prefix}{n}")).collect())
}

fn whole(what: &str, text: &str, max: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(n) if n <= max && text.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
        _ => Err(format!("{what}: \"{text}\" is no number from 0 to {max}")),
    }
}

fn number(what: &str, text: &str, max: u32) -> Result<Number, String> {
    if text == "*" {
        return Ok(Number::Any);
    }
    match text.strip_prefix('%') {
        Some(rest) => whole(what, rest, max).map(|n| Number::MultipleOf(n as u16)),
        None => whole(what, text, max).map(|n| Number::Exactly(n as u16)),
    }
}

fn window(text: &str) -> Result<Window, String> {
    let count = |rest| whole("window", rest, 0xffff).map(|n| n as u16);
    if let Some(rest) = text.strip_prefix(['S', 's']) {
        return count(rest).map(Window::Segments);
    }
    if let Some(rest) = text.strip_prefix(['T', 't']) {
        return count(rest).map(Window::Packets);
    }
    number("window", text, 0xffff).map(Window::Bytes)
}

/// `M*,N,W2,S,T0`, or `.` for none.
fn read_options(signature: &mut Signature, text: &str) -> Result<(), String> {
    if text == "." {
        return Ok(());
    }
    for word in text.split([',', ' ', '\t']).filter(|w| !w.is_empty()) {
        let mut letters = word.chars();
        let letter = letters.next().unwrap_or_default().to_ascii_uppercase();
        let rest = letters.as_str();
        let option = match (letter, rest) {
            ('N', "") => SynOption::Nop,
            ('S', "") => SynOption::Sack,
            ('T', "" | "0") => {
                signature.zero_timestamp |= rest == "0";
                SynOption::Timestamps
            }
            ('M', _) => {
                signature.mss = number("largest segment", rest, 0xffff)?;
                SynOption::Mss
            }
            ('W', _) => {
                signature.wscale = number("window scale", rest, 255)?;
                SynOption::WindowScale
            }
            _ => return Err(format!("unknown option \"{word}\"")),
        };
        if !signature.options.push(option) {
            return Err(format!("more than {} options", OptionList::MAX));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::os::Syn;

    /// What the names of a list's first match are.
    fn class_of(library: &Library, syn: &Syn, name: &str) -> bool {
        let asked = library.lookup(name).unwrap_or_else(|| panic!("{name}"));
        let found = library.fingerprints.find(syn);
        library.fingerprints.matches(found, asked)
    }

    fn syn(window: u16, size: u16, mss: u16, wscale: u16, options: &[SynOption]) -> Syn {
        let mut list = OptionList::default();
        assert!(options.iter().all(|o| list.push(*o)));
        Syn {
            window,
            ttl: 60,
            dont_fragment: true,
            size,
            options: list,
            mss,
            wscale,
            zero_timestamp: false,
        }
    }

    #[test]
    fn lines_become_signatures_for_both_families() {
        let library = Library::parse(
            "# comment\n\
             S4:64:1:60:M*,S,T,N,W7:\tToy:2.6::Toy 2.6 # behind\n\
             %8192:128:0:48:M1460,N,N,S:@Other:XP:SP1:Other XP\n",
        );
        assert_eq!(library.problems, []);
        assert_eq!(library.fingerprints.signatures.len(), 4);
        use SynOption::*;
        let toy = [Mss, Sack, Timestamps, Nop, WindowScale];
        assert!(class_of(&library, &syn(5840, 60, 1460, 7, &toy), "toy"));
        assert!(class_of(&library, &syn(5840, 80, 1460, 7, &toy), "Toy 2.6"));
        assert!(!class_of(&library, &syn(5840, 80, 1460, 7, &toy), "Other"));
        assert!(class_of(&library, &syn(5840, 60, 1460, 6, &toy), "unknown"));
        let mut other = syn(16384, 48, 1460, 0, &[Mss, Nop, Nop, Sack]);
        other.dont_fragment = false;
        other.ttl = 128;
        assert!(class_of(&library, &other, "Other XP SP1"));
    }

    #[test]
    fn ranges_stand_for_each_of_their_numbers() {
        for (text, expect) in [
            ("2-4", &["2", "3", "4", "2-4"][..]),
            ("3.4-3.6", &["3.4", "3.5", "3.6", "3.4-3.6"]),
            ("9-11", &["9", "10", "11", "9-11"]),
            ("2.0-3.0", &["2.0-3.0"]),
            ("2.0", &["2.0"]),
            ("", &[""]),
            ("noRFC1323-x", &["noRFC1323-x"]),
            ("5-3", &["5-3"]),
            ("1-99999", &["1-99999"]),
        ] {
            assert_eq!(expanded(text), expect, "{text}");
        }
    }

    #[test]
    fn names_are_found_by_class_version_and_subtype_however_joined() {
        let library = Library::parse(
            "1:64:1:60:M*:A:2.2:14:x1\n\
             2:64:1:60:M*:A:2.2 beta:3:x2\n\
             3:64:1:60:M*:B:4.0:STABLE:x3\n",
        );
        for (name, known) in [
            ("A", true),
            ("a", true),
            ("A 2.2", true),
            ("A 2.2.14", true),
            ("A 2.2 14", true),
            ("A 2.2-14", true),
            ("A 2.2 beta", true),
            ("A 2.2 beta 3", true),
            ("B 4.0-stable", true),
            ("UNKNOWN", true),
            ("A 2.3", false),
            ("A 2.2.15", false),
            ("A 2.214", false),
            ("C", false),
            ("", false),
            ("A ", false),
            ("A \u{e4}\u{e4}\u{e4}", false),
        ] {
            assert_eq!(library.lookup(name).is_some(), known, "{name:?}");
        }
        assert_eq!(library.lookup("A 2.2.14"), library.lookup("a 2.2 14"));
        assert_ne!(library.lookup("A 2.2"), library.lookup("A 2.2 14"));
    }

    #[test]
    fn what_cannot_be_read_is_reported_with_its_line() {
        for line in [
            "1:64:1:60:M*:A:1::",
            "1:64:1:60:M*:A:1",
            "70000:64:1:60:M*:A:1::xx",
            "S:64:1:60:M*:A:1::xx",
            "1:256:1:60:M*:A:1::xx",
            "1:*:1:60:M*:A:1::xx",
            "1:64:2:60:M*:A:1::xx",
            "1:64:1:9000:M*:A:1::xx",
            "1:64:1:60:X:A:1::xx",
            "1:64:1:60:M:A:1::xx",
            "1:64:1:60:N1:A:1::xx",
            "1:64:1:60:M*::1::xx",
            "+1:64:1:60:M*:A:1::xx",
        ] {
            let library = Library::parse(&format!("\n{line}\n"));
            assert_eq!(library.problems.len(), 1, "{line}");
            assert_eq!(library.problems[0].0, 2, "{line}");
            assert!(library.fingerprints.is_empty(), "{line}");
        }
    }

    #[test]
    fn the_list_that_comes_with_the_program_is_clean() {
        let library = Library::built_in();
        assert_eq!(library.problems, []);
        for name in ["Linux", "OpenBSD", "FreeBSD", "Windows", "MacOS"] {
            assert!(library.lookup(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_list_of_openbsd_is_read_whole() {
        let shared = std::env::var("FUGU_SHARED").unwrap_or("../../../shared".into());
        let Ok(text) = std::fs::read_to_string(format!("{shared}/pf.os")) else {
            println!("skipped: no ../shared");
            return;
        };
        let library = Library::parse(&text);
        assert_eq!(library.problems, []);
        assert!(library.fingerprints.signatures.len() > 400);
        for name in [
            "Windows 2000 RFC1323",
            "Windows 98 noSACK",
            "NetBSD 1.6 opera",
            "OpenBSD 3.0-4.0 opera",
            "AIX",
            "NetApp",
            "Linux 2.4 .18-21",
            "Linux 2.2.20",
            "FreeBSD 4.7",
        ] {
            assert!(library.lookup(name).is_some(), "{name}");
        }
        use SynOption::*;
        let linux = syn(
            5840,
            60,
            1460,
            7,
            &[Mss, Sack, Timestamps, Nop, WindowScale],
        );
        assert!(class_of(&library, &linux, "Linux 2.6"));
        assert!(!class_of(&library, &linux, "OpenBSD"));
    }
}
