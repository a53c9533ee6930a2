//! Words of the command line. A wrong one is answered with what was probably meant.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use netconf::near;

/// Fits a screen of 24 lines.
pub(crate) const HELP: &str = "\
usage: fuguctl COMMAND ...

  check [-v] [--json] DIR|BUNDLE      check a configuration as the appliance would;
                                      -v prints the rules as pfctl -nvf does
  diff [--json] A B                   compare trees, bundles, pf.confs by meaning
  pfctl [--etc DIR] -nvf FILE ...     pfctl where no kernel is needed
  why [--etc DIR] [--json] PACKET     what happens to a packet, by which line
  bundle build DIR -o FILE            pack an etc tree
  bundle sign -s SECKEY FILE [-o TO]  sign as signify -S -z does
  bundle verify -p PUBKEY FILE        check the signature; -p may be repeated
  bundle show [--json] FILE           list what is in it
  keygen -p PUB -s SEC [-c COMMENT]   make a pair of signify keys, no passphrase
  push [--json] URL BUNDLE|DIR        send to an appliance, which checks and applies
  status [--json] URL                 ask an appliance how it is

  -h, --help      this text
  -V, --version   version of this program

URL is http://HOST[:PORT]. push and status show the token in --token-file FILE or,
without it, in $FUGU_TOKEN; a signed bundle needs none.

exit status: 0 done (or no change), 1 refused by the checks (or different), 2 wrong
usage or a file or connection that does not work, 3 not authorized
";

const COMMANDS: [&str; 8] = [
    "check", "diff", "pfctl", "why", "bundle", "keygen", "push", "status",
];
const BUNDLE_COMMANDS: [&str; 4] = ["build", "sign", "verify", "show"];

/// What may stand behind a command. `man/fuguctl.1` says the same, which is tested.
pub(crate) struct Form {
    pub(crate) command: &'static str,
    /// Stand alone.
    pub(crate) switches: &'static [&'static str],
    /// Take a value.
    pub(crate) options: &'static [&'static str],
    /// Must all be filled, and no more.
    pub(crate) places: &'static [&'static str],
}

const CHECK: Form = Form {
    command: "check",
    switches: &["-v", "--json"],
    options: &[],
    places: &["DIR|BUNDLE"],
};
const DIFF: Form = Form {
    command: "diff",
    switches: &["--json"],
    options: &[],
    places: &["A", "B"],
};
const WHY: Form = Form {
    command: "why",
    switches: &["--json"],
    options: &["--etc", "--pcap", "--on"],
    places: &["PACKET"],
};
const BUILD: Form = Form {
    command: "bundle build",
    switches: &[],
    options: &["-o"],
    places: &["DIR"],
};
const SIGN: Form = Form {
    command: "bundle sign",
    switches: &[],
    options: &["-s", "-o"],
    places: &["FILE"],
};
const VERIFY: Form = Form {
    command: "bundle verify",
    switches: &[],
    options: &["-p"],
    places: &["FILE"],
};
const SHOW: Form = Form {
    command: "bundle show",
    switches: &["--json"],
    options: &[],
    places: &["FILE"],
};
const KEYGEN: Form = Form {
    command: "keygen",
    switches: &[],
    options: &["-p", "-s", "-c"],
    places: &[],
};
const PUSH: Form = Form {
    command: "push",
    switches: &["--json"],
    options: &["--token-file"],
    places: &["URL", "BUNDLE"],
};
const STATUS: Form = Form {
    command: "status",
    switches: &["--json"],
    options: &["--token-file"],
    places: &["URL"],
};

/// All but `pfctl`, which has rules of its own.
#[cfg(test)]
pub(crate) const FORMS: [&Form; 10] = [
    &CHECK, &DIFF, &WHY, &BUILD, &SIGN, &VERIFY, &SHOW, &KEYGEN, &PUSH, &STATUS,
];

/// How `check` shows what it found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shown {
    /// As one JSON document.
    pub(crate) json: bool,
    /// With the rules.
    pub(crate) rules: bool,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Check {
        tree: PathBuf,
        how: Shown,
    },
    Diff {
        first: PathBuf,
        second: PathBuf,
        json: bool,
    },
    Why {
        tree: PathBuf,
        /// The packet in words, or its number in the capture.
        packet: String,
        capture: Option<PathBuf>,
        on: Option<String>,
        json: bool,
    },
    /// With the words after it, which follow rules of their own.
    Pfctl(Vec<OsString>),
    Build {
        tree: PathBuf,
        file: PathBuf,
    },
    Sign {
        key: PathBuf,
        file: PathBuf,
        to: PathBuf,
    },
    Verify {
        keys: Vec<PathBuf>,
        file: PathBuf,
    },
    Show {
        file: PathBuf,
        json: bool,
    },
    Keygen {
        public: PathBuf,
        secret: PathBuf,
        comment: String,
    },
    Push {
        url: String,
        file: PathBuf,
        token_file: Option<PathBuf>,
        json: bool,
    },
    Status {
        url: String,
        token_file: Option<PathBuf>,
        json: bool,
    },
}

/// The command of a command line without the program's name; the error is a sentence.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Command, String> {
    let Some((first, rest)) = arguments.split_first() else {
        return Err("a command is missing; see fuguctl --help".to_string());
    };
    if first == "pfctl" {
        return Ok(Command::Pfctl(rest.to_vec()));
    }
    // Wherever it stands: who asks for help gets it.
    if arguments.iter().any(|a| a == "-h" || a == "--help") || first == "help" {
        return Ok(Command::Help);
    }
    match first.to_str().unwrap_or_default() {
        "-V" | "--version" | "version" => Ok(Command::Version),
        "check" => {
            let mut words = Words::read(&CHECK, rest)?;
            Ok(Command::Check {
                tree: words.positional(),
                how: Shown {
                    json: words.switch("--json"),
                    rules: words.switch("-v"),
                },
            })
        }
        "diff" => {
            let mut words = Words::read(&DIFF, rest)?;
            Ok(Command::Diff {
                first: words.positional(),
                second: words.positional(),
                json: words.switch("--json"),
            })
        }
        "why" => why(rest),
        "bundle" => bundle(rest),
        "keygen" => keygen(rest),
        "push" => {
            let mut words = Words::read(&PUSH, rest)?;
            Ok(Command::Push {
                url: words.text()?,
                file: words.positional(),
                token_file: words.value("--token-file").map(PathBuf::from),
                json: words.switch("--json"),
            })
        }
        "status" => {
            let mut words = Words::read(&STATUS, rest)?;
            Ok(Command::Status {
                url: words.text()?,
                token_file: words.value("--token-file").map(PathBuf::from),
                json: words.switch("--json"),
            })
        }
        _ => Err(unknown("command", first, &COMMANDS)),
    }
}

fn bundle(arguments: &[OsString]) -> Result<Command, String> {
    let Some((first, rest)) = arguments.split_first() else {
        return Err(format!(
            "bundle: say which of {}",
            BUNDLE_COMMANDS.join(", ")
        ));
    };
    match first.to_str().unwrap_or_default() {
        "build" => {
            let mut words = Words::read(&BUILD, rest)?;
            Ok(Command::Build {
                tree: words.positional(),
                file: words.wanted("-o", "FILE")?.into(),
            })
        }
        "sign" => {
            let mut words = Words::read(&SIGN, rest)?;
            let file = words.positional();
            Ok(Command::Sign {
                key: words.wanted("-s", "SECKEY")?.into(),
                to: words.value("-o").map_or(file.clone(), PathBuf::from),
                file,
            })
        }
        "verify" => {
            let mut words = Words::read(&VERIFY, rest)?;
            let first = words.wanted("-p", "PUBKEY")?;
            let more = std::iter::from_fn(|| words.value("-p"));
            let keys = std::iter::once(first)
                .chain(more)
                .map(PathBuf::from)
                .collect();
            Ok(Command::Verify {
                keys,
                file: words.positional(),
            })
        }
        "show" => {
            let mut words = Words::read(&SHOW, rest)?;
            Ok(Command::Show {
                file: words.positional(),
                json: words.switch("--json"),
            })
        }
        _ => Err(unknown("command of bundle", first, &BUNDLE_COMMANDS)),
    }
}

fn why(arguments: &[OsString]) -> Result<Command, String> {
    let mut words = Words::read(&WHY, arguments)?;
    let capture = words.value("--pcap").map(PathBuf::from);
    let on = words.value("--on");
    let on = on.map(|name| name.to_string_lossy().into_owned());
    if capture.is_some() != on.is_some() {
        return Err("why: --pcap FILE and --on INTERFACE go together".into());
    }
    let tree = words.value("--etc");
    Ok(Command::Why {
        tree: tree.map_or_else(|| PathBuf::from("."), PathBuf::from),
        capture,
        on,
        json: words.switch("--json"),
        packet: words.text()?,
    })
}

fn keygen(arguments: &[OsString]) -> Result<Command, String> {
    let mut words = Words::read(&KEYGEN, arguments)?;
    let comment = words.value("-c").unwrap_or("fugu".into());
    let comment = comment
        .into_string()
        .ok()
        .filter(|text| text.len() <= 200 && !text.contains(char::is_control))
        .ok_or("keygen: the comment must be one line of at most 200 bytes")?;
    Ok(Command::Keygen {
        public: words.wanted("-p", "PUB")?.into(),
        secret: words.wanted("-s", "SEC")?.into(),
        comment,
    })
}

fn unknown(what: &str, word: &OsStr, known: &[&str]) -> String {
    let word = word.to_string_lossy();
    let word = word.escape_debug();
    let hint = near::hint(&word.to_string(), known.iter().copied())
        .unwrap_or_else(|| "see fuguctl --help".to_string());
    format!("unknown {what} '{word}'; {hint}")
}

/// The words after a command, sorted.
struct Words {
    command: &'static str,
    switches: Vec<String>,
    values: Vec<(String, OsString)>,
    positionals: std::vec::IntoIter<OsString>,
}

impl Words {
    fn read(form: &Form, arguments: &[OsString]) -> Result<Self, String> {
        let Form {
            command,
            switches,
            options,
            places,
        } = *form;
        let mut words = Words {
            command,
            switches: Vec::new(),
            values: Vec::new(),
            positionals: Vec::new().into_iter(),
        };
        let mut positionals = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let text = argument.to_str().unwrap_or_default();
            if text == "--" {
                positionals.extend(rest.by_ref().cloned());
            } else if !text.starts_with('-') || text == "-" {
                positionals.push(argument.clone());
            } else if let Some((name, value)) = text.split_once('=')
                && options.contains(&name)
            {
                words.values.push((name.to_string(), value.into()));
            } else if switches.contains(&text) {
                words.switches.push(text.to_string());
            } else if options.contains(&text) {
                let value = rest
                    .next()
                    .ok_or_else(|| format!("{command}: {text} needs a value after it"))?;
                words.values.push((text.to_string(), value.clone()));
            } else {
                let known: Vec<&str> = switches.iter().chain(options).copied().collect();
                return Err(format!(
                    "{command}: {}",
                    unknown("option", argument, &known)
                ));
            }
        }
        if let Some(missing) = places.get(positionals.len()) {
            return Err(format!("{command}: {missing} is missing"));
        }
        if let Some(extra) = positionals.get(places.len()) {
            let extra = extra.to_string_lossy();
            return Err(format!(
                "{command}: '{}' is one word too many",
                extra.escape_debug()
            ));
        }
        words.positionals = positionals.into_iter();
        Ok(words)
    }

    /// The next place; there are as many as were asked for.
    fn positional(&mut self) -> PathBuf {
        self.positionals.next().unwrap_or_default().into()
    }

    fn text(&mut self) -> Result<String, String> {
        let word = self.positionals.next().unwrap_or_default();
        word.into_string()
            .map_err(|_| format!("{}: that is not UTF-8", self.command))
    }

    fn switch(&self, name: &str) -> bool {
        self.switches.iter().any(|s| s == name)
    }

    /// The first value of an option that has not been taken yet.
    fn value(&mut self, name: &str) -> Option<OsString> {
        let at = self.values.iter().position(|(n, _)| n == name)?;
        Some(self.values.remove(at).1)
    }

    fn wanted(&mut self, name: &str, what: &str) -> Result<OsString, String> {
        self.value(name)
            .ok_or_else(|| format!("{}: {name} {what} is missing", self.command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn commands_are_understood() {
        for (line, want) in [
            (
                "check etc --json",
                Command::Check {
                    tree: "etc".into(),
                    how: Shown {
                        json: true,
                        rules: false,
                    },
                },
            ),
            (
                "bundle build etc -o b.tgz",
                Command::Build {
                    tree: "etc".into(),
                    file: "b.tgz".into(),
                },
            ),
            (
                "bundle sign -s k.sec b.tgz",
                Command::Sign {
                    key: "k.sec".into(),
                    file: "b.tgz".into(),
                    to: "b.tgz".into(),
                },
            ),
            (
                "bundle verify -p a.pub b.tgz -p b.pub",
                Command::Verify {
                    keys: vec!["a.pub".into(), "b.pub".into()],
                    file: "b.tgz".into(),
                },
            ),
            (
                "keygen -p a.pub -s a.sec",
                Command::Keygen {
                    public: "a.pub".into(),
                    secret: "a.sec".into(),
                    comment: "fugu".into(),
                },
            ),
            (
                "push --token-file=t http://fw -- -b.tgz",
                Command::Push {
                    url: "http://fw".into(),
                    file: "-b.tgz".into(),
                    token_file: Some("t".into()),
                    json: false,
                },
            ),
            ("push --help", Command::Help),
            ("--version", Command::Version),
        ] {
            assert_eq!(parsed(line), Ok(want), "{line}");
        }
    }

    #[test]
    fn wrong_words_are_answered_with_what_was_meant() {
        for (line, want) in [
            ("", "a command is missing; see fuguctl --help"),
            (
                "chekc etc",
                "unknown command 'chekc'; did you mean 'check'?",
            ),
            (
                "frobnicate",
                "unknown command 'frobnicate'; see fuguctl --help",
            ),
            ("bundle", "bundle: say which of build, sign, verify, show"),
            (
                "bundle sgin x",
                "unknown command of bundle 'sgin'; did you mean 'sign'?",
            ),
            ("bundle build etc", "bundle build: -o FILE is missing"),
            (
                "bundle build etc -o",
                "bundle build: -o needs a value after it",
            ),
            ("bundle build -o x", "bundle build: DIR is missing"),
            ("check a b", "check: 'b' is one word too many"),
            (
                "check --jsno a",
                "check: unknown option '--jsno'; did you mean '--json'?",
            ),
            ("push http://fw", "push: BUNDLE is missing"),
        ] {
            assert_eq!(parsed(line), Err(want.to_string()), "{line}");
        }
    }

    #[test]
    fn help_fits_a_screen() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.len() <= 84));
    }
}
