//! The switches of `fuguctl pfctl`: those of OpenBSD's pfctl, and of FreeBSD's where OpenBSD has no other meaning for the
//! letter. Knows nothing of rulesets. Read first: pfctl(8), getopt(3).

use std::ffi::OsString;
use std::path::PathBuf;

use pfconf::Optimization;
use pfconf::pfctl::{Parts, Show};

/// Said after every wrong switch.
pub(crate) const USAGE: &str = "\
usage: fuguctl pfctl [--etc DIR] [-AghNnOPqRrv] [-a anchor] [-D macro=value]
\t[-f file] [-o level] [-s modifier [-R id]]
\tloading, flushing, killing and tables need an appliance: see fuguctl push
";

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    /// `--etc`: where interfaces and names come from.
    pub(crate) etc: Option<PathBuf>,
    /// `-a`, without the `*` of a recursion.
    pub(crate) anchor: String,
    /// `-a 'x/*'`
    pub(crate) recurse: bool,
    /// `-D`, in their order.
    pub(crate) macros: Vec<(String, String)>,
    /// `-f`
    pub(crate) file: Option<OsString>,
    /// `-n`
    pub(crate) no_action: bool,
    /// `-o`
    pub(crate) optimization: Option<Optimization>,
    /// `-A`, `-N`, `-O`, `-R`; none is everything.
    pub(crate) parts: Option<Parts>,
    /// `-P`
    pub(crate) port_names: bool,
    /// `-s`
    pub(crate) show: Option<Modifier>,
    /// `-R id`
    pub(crate) number: Option<usize>,
    /// How many `-v`.
    pub(crate) verbose: u8,
    /// The first switch that only a kernel could obey.
    pub(crate) needs_kernel: Option<String>,
    /// The same for those that `-n` switches off.
    pub(crate) needs_kernel_unless_n: Option<String>,
    /// What was said on the way without ending the run.
    pub(crate) warnings: Vec<String>,
}

/// After `-s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Modifier {
    /// Known from the rules alone.
    Offline(Show),
    /// Exists in a running firewall only.
    Running(&'static str),
}

/// Why a command line is not obeyed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// One line, and the usage after it.
    Usage(Option<String>),
    /// One line.
    Line(String),
}

fn usage(text: impl Into<String>) -> Wrong {
    Wrong::Usage(Some(text.into()))
}

/// Modifiers of `-s`; any beginning that only one of them has will do. `Sources` and `states` differ in case.
const MODIFIERS: [(&str, Modifier); 16] = [
    ("queue", Modifier::Offline(Show::Queue)),
    ("rules", Modifier::Offline(Show::Rules)),
    ("nat", Modifier::Offline(Show::Nat)),
    ("ether", Modifier::Offline(Show::Ether)),
    ("Anchors", Modifier::Offline(Show::Anchors)),
    ("Sources", Modifier::Running("source tracking entries")),
    ("states", Modifier::Running("states")),
    ("info", Modifier::Running("statistics")),
    ("Interfaces", Modifier::Offline(Show::Interfaces)),
    ("labels", Modifier::Offline(Show::Labels)),
    ("timeouts", Modifier::Offline(Show::Timeouts)),
    ("memory", Modifier::Offline(Show::Memory)),
    ("Tables", Modifier::Offline(Show::Tables)),
    ("osfp", Modifier::Running("loaded fingerprints")),
    ("Running", Modifier::Running("a packet filter")),
    ("all", Modifier::Offline(Show::All)),
];

const OPTIMIZATIONS: [(&str, Optimization); 3] = [
    ("none", Optimization::None),
    ("basic", Optimization::Basic),
    ("profile", Optimization::Profile),
];

/// Letters that take an argument.
const WITH_ARGUMENT: &str = "aDFfiKkLopSsTtVx";

/// Reads the words after `fuguctl pfctl`.
pub(crate) fn parse(words: &[OsString]) -> Result<Request, Wrong> {
    if words.is_empty() {
        return Err(Wrong::Usage(None));
    }
    let mut reading = Reading {
        words,
        at: 0,
        request: Request::default(),
    };
    while let Some(word) = reading.words.get(reading.at) {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            reading.at += 1;
            break;
        }
        if !text.starts_with('-') || text == "-" {
            break;
        }
        reading.at += 1;
        match text.strip_prefix("--") {
            Some(long) => reading.long(long)?,
            None => reading.letters(&text[1..])?,
        }
    }
    if let Some(extra) = reading.words.get(reading.at) {
        let extra = extra.to_string_lossy();
        let extra = extra.escape_debug();
        return Err(usage(format!("unknown command line argument: {extra} ...")));
    }
    reading.request.checked()
}

struct Reading<'a> {
    words: &'a [OsString],
    /// The next word.
    at: usize,
    request: Request,
}

impl Reading<'_> {
    fn next(&mut self) -> Option<OsString> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word.clone())
    }

    /// `--etc DIR` is the only long one.
    fn long(&mut self, text: &str) -> Result<(), Wrong> {
        let dir = match text.split_once('=') {
            Some(("etc", dir)) => Some(dir.into()),
            None if text == "etc" => self.next(),
            _ => return Err(usage(format!("unknown option -- {}", text.escape_debug()))),
        };
        let dir = dir.ok_or_else(|| usage("option requires an argument -- etc"))?;
        self.request.etc = Some(dir.into());
        Ok(())
    }

    /// `-nvf-`: letters, the last of which may take the rest or the next word.
    fn letters(&mut self, text: &str) -> Result<(), Wrong> {
        let mut rest = text.chars();
        while let Some(letter) = rest.next() {
            if letter == 'R' {
                match self.rule_id(rest.as_str()) {
                    Some(id) => self.request.number = id,
                    None => {
                        self.part(letter);
                        continue;
                    }
                }
                return Ok(());
            }
            if WITH_ARGUMENT.contains(letter) {
                let argument = match rest.as_str() {
                    "" => self.next(),
                    attached => Some(attached.into()),
                };
                let argument = argument
                    .ok_or_else(|| usage(format!("option requires an argument -- {letter}")))?;
                return self.with_argument(letter, argument);
            }
            self.alone(letter)?;
        }
        Ok(())
    }

    /// The number after `-R`, if one stands there: without it the letter is FreeBSD's.
    fn rule_id(&mut self, attached: &str) -> Option<Option<usize>> {
        let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n >= -1);
        if let Some(n) = number(attached) {
            return Some(usize::try_from(n).ok());
        }
        let next = self.words.get(self.at).and_then(|w| w.to_str());
        let n = next.filter(|_| attached.is_empty()).and_then(number)?;
        self.at += 1;
        Some(usize::try_from(n).ok())
    }

    fn alone(&mut self, letter: char) -> Result<(), Wrong> {
        match letter {
            'A' | 'N' | 'O' => self.part(letter),
            'n' => self.request.no_action = true,
            'P' => self.request.port_names = true,
            'v' => self.request.verbose = self.request.verbose.saturating_add(1),
            // Skip steps, fewer words, and names for addresses: nothing to show of them here.
            'g' | 'q' | 'r' | 'm' => {}
            'd' | 'e' => self.request.kernel_unless_n(letter),
            'z' => self.request.kernel(letter),
            'h' => return Err(Wrong::Usage(None)),
            _ => {
                return Err(usage(format!(
                    "unknown option -- {}",
                    letter.escape_debug()
                )));
            }
        }
        Ok(())
    }

    fn part(&mut self, letter: char) {
        let none = Parts {
            options: false,
            queues: false,
            translation: false,
            filter: false,
        };
        let parts = self.request.parts.get_or_insert(none);
        match letter {
            'A' => parts.queues = true,
            'N' => parts.translation = true,
            'O' => parts.options = true,
            _ => parts.filter = true,
        }
    }

    fn with_argument(&mut self, letter: char, argument: OsString) -> Result<(), Wrong> {
        let request = &mut self.request;
        if letter == 'f' {
            request.file = Some(argument);
            return Ok(());
        }
        let text = argument.to_string_lossy().into_owned();
        match letter {
            'a' => request.anchor = text,
            'D' => match text.split_once('=') {
                Some((name, value)) => request.macros.push((name.into(), value.into())),
                None => request
                    .warnings
                    .push(format!("could not parse macro definition {text}")),
            },
            'o' => request.optimization = Some(chosen("optimization", &text, &OPTIMIZATIONS)?),
            's' => request.show = Some(chosen("show modifier", &text, &MODIFIERS)?),
            'F' | 'x' => request.kernel_unless_n(letter),
            'k' | 'K' | 'L' | 'S' | 'T' | 't' => request.kernel(letter),
            // An interface, a device and a routing domain limit what only a kernel shows.
            _ => {}
        }
        Ok(())
    }
}

/// The one of `all` that begins with `text`.
fn chosen<T: Copy>(what: &str, text: &str, all: &[(&str, T)]) -> Result<T, Wrong> {
    let mut found = all
        .iter()
        .filter(|(name, _)| !text.is_empty() && name.starts_with(text));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.1),
        (Some(_), Some(_)) => Err(Wrong::Line(format!("{text} is ambigious"))),
        (None, _) => Err(usage(format!("Unknown {what} '{}'", text.escape_debug()))),
    }
}

impl Request {
    fn kernel(&mut self, letter: char) {
        self.needs_kernel.get_or_insert(format!("-{letter}"));
    }

    fn kernel_unless_n(&mut self, letter: char) {
        self.needs_kernel_unless_n
            .get_or_insert(format!("-{letter}"));
    }

    /// Takes the `*` off the anchor and refuses names that nobody may use.
    fn checked(mut self) -> Result<Request, Wrong> {
        if self.anchor.is_empty() {
            return Ok(self);
        }
        if self.file.is_none() && self.show.is_none() && self.needs_kernel.is_none() {
            let text = "anchors apply to -f, -F, -s, and -T only";
            return Err(usage(text));
        }
        let reserved = self.anchor.starts_with('_') || self.anchor.contains("/_");
        if reserved && self.file.is_some() {
            let text = "anchor names beginning with '_' cannot be modified from the command line";
            return Err(Wrong::Line(text.into()));
        }
        if let Some(above) = self.anchor.strip_suffix('*') {
            self.recurse = true;
            self.anchor = above.strip_suffix('/').unwrap_or(above).to_string();
        }
        if self.anchor.ends_with('/') {
            let text = format!("pfctl_rules: bad anchor name {}", self.anchor);
            return Err(Wrong::Line(text));
        }
        if self.anchor.len() >= PATH_MAX {
            let text = format!("anchor name '{}' too long", self.anchor);
            return Err(Wrong::Line(text));
        }
        Ok(self)
    }
}

/// Bytes of a path, its end included.
const PATH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, Wrong> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn letters_stand_alone_or_together_with_their_argument_attached_or_not() {
        let want = Request {
            no_action: true,
            verbose: 2,
            file: Some("-".into()),
            ..Request::default()
        };
        for line in ["-nvvf -", "-nvvf-", "-n -v -v -f -", "-v -nv -f-"] {
            assert_eq!(parsed(line), Ok(want.clone()), "{line}");
        }
        let etc = parsed("--etc e --etc=d -nf x -Dm=1 -D n=a=b -o b").unwrap();
        assert_eq!(etc.etc, Some("d".into()));
        assert_eq!(etc.optimization, Some(Optimization::Basic));
        let macros = [("m", "1"), ("n", "a=b")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(etc.macros, macros);
    }

    #[test]
    fn the_letter_r_is_a_number_on_one_system_and_a_part_of_the_file_on_another() {
        let only = Some(Parts {
            options: false,
            queues: false,
            translation: false,
            filter: true,
        });
        for (line, number, parts) in [
            ("-sr -R 3 -f x", Some(3), None),
            ("-sr -R3 -f x", Some(3), None),
            ("-sr -R -1 -f x", None, None),
            ("-nvR -f x", None, only),
            ("-nRvf x", None, only),
        ] {
            let request = parsed(line).unwrap();
            assert_eq!((request.number, request.parts), (number, parts), "{line}");
        }
        let parts = parsed("-nNOf x").unwrap().parts.unwrap();
        assert!(parts.options && parts.translation && !parts.filter && !parts.queues);
    }

    #[test]
    fn modifiers_may_be_shortened_as_long_as_they_are_unique() {
        for (word, want) in [
            ("r", Modifier::Offline(Show::Rules)),
            ("rules", Modifier::Offline(Show::Rules)),
            ("n", Modifier::Offline(Show::Nat)),
            ("T", Modifier::Offline(Show::Tables)),
            ("t", Modifier::Offline(Show::Timeouts)),
            ("S", Modifier::Running("source tracking entries")),
            ("s", Modifier::Running("states")),
        ] {
            let line = format!("-s {word} -f x");
            assert_eq!(parsed(&line).unwrap().show, Some(want), "{word}");
        }
    }

    #[test]
    fn wrong_switches_are_answered_as_pfctl_does() {
        let lines = [
            ("", Wrong::Usage(None)),
            ("-h", Wrong::Usage(None)),
            ("-nf", usage("option requires an argument -- f")),
            ("-nY", usage("unknown option -- Y")),
            ("--ect x", usage("unknown option -- ect")),
            ("-nf x y", usage("unknown command line argument: y ...")),
            ("-s xyz", usage("Unknown show modifier 'xyz'")),
            ("-o x", usage("Unknown optimization 'x'")),
            ("-n -a x", usage("anchors apply to -f, -F, -s, and -T only")),
            (
                "-nf x -a _1",
                Wrong::Line(
                    "anchor names beginning with '_' cannot be modified from the command line"
                        .into(),
                ),
            ),
        ];
        for (line, want) in lines {
            assert_eq!(parsed(line), Err(want), "{line}");
        }
        let odd = parsed("-n -D x -f y").unwrap();
        assert_eq!(odd.warnings, ["could not parse macro definition x"]);
    }

    #[test]
    fn what_only_a_kernel_can_do_is_remembered() {
        assert_eq!(
            parsed("-e").unwrap().needs_kernel_unless_n,
            Some("-e".into())
        );
        assert_eq!(
            parsed("-t x -T show").unwrap().needs_kernel,
            Some("-t".into())
        );
    }
}
