//! A ruleset: it compiles or it is refused with a reason, and what was printed prints itself.

use pfconf::pfctl::pfctl_nv;
use pfconf::{EnvAddress, EnvInterface, Environment, Files, Options, compile, diag};

/// Files that the text may name.
struct Tree;

impl Files for Tree {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "t" => Some(b"10.0.0.1 !10.0.0.2/31\n2001:db8::/32 # net\n".to_vec()),
            "i" => Some(b"m = \"in\"\npass $m on em0\ninclude \"i\"\n".to_vec()),
            _ => None,
        }
    }
}

fn interface(name: &str, kif: u16, addresses: &[(&str, u8)]) -> EnvInterface {
    let address = |(text, bits): &(&str, u8)| Some(EnvAddress::new(text.parse().ok()?, *bits));
    EnvInterface {
        name: name.into(),
        kif: net::KifId(kif),
        groups: vec!["g".into()],
        addresses: addresses.iter().filter_map(address).collect(),
        loopback: name == "lo0",
    }
}

pub(crate) fn environment() -> Environment {
    let mut env = Environment::minimal();
    env.interfaces = vec![
        interface("lo0", 0, &[("127.0.0.1", 8), ("::1", 128), ("fe80::1", 64)]),
        interface(
            "em0",
            1,
            &[("192.0.2.1", 24), ("fe80::2", 64), ("2001:db8::1", 64)],
        ),
        interface("em1", 2, &[]),
    ];
    env.users = vec![("root".into(), 0)];
    env.groups = vec![("wheel".into(), 0)];
    env
}

/// True if nothing in the text can make its print differ from itself in a way that PF shares: a quote inside a bare
/// word stays there, and what files hold is printed where they were included.
fn prints_itself(text: &str) -> bool {
    !text.contains(['\\', '\'', '$', '%'])
        && !text.contains("include")
        && !text.contains("load")
        && text.lines().all(plain_quotes)
}

/// True for what pfctl, too, prints in a form that it reads otherwise: a network of no bits in a table is `any`, which
/// stands for nothing there; the code for IPv6 that `return-icmp` with one code gets has no name and no number of its own.
fn reads_otherwise(line: &str) -> bool {
    let icmp = line.contains("return-icmp(") && line.contains(", 3)");
    icmp || line.starts_with("table ") && line.contains(" any")
}

/// No quotes, or one pair around a word of its own that needs none.
fn plain_quotes(line: &str) -> bool {
    let parts: Vec<&str> = line.split('"').collect();
    match parts.as_slice() {
        [_] => true,
        [before, word, after] => {
            let apart = before.ends_with(' ') && (after.is_empty() || after.starts_with(' '));
            apart && is_plain(word)
        }
        _ => false,
    }
}

/// A name that reads the same without quotes.
fn is_plain(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !pfconf::reserved_words().contains(&word)
}

/// Compiles `data` and checks what must hold of any text.
pub(crate) fn run(data: &[u8]) {
    let env = environment();
    let options = Options::default();
    let compiled = compile("pf.conf", data, &Tree, &env, &options);
    let errors = diag::has_errors(&compiled.diagnostics);
    assert_eq!(compiled.ruleset.is_none(), errors);
    if let Some(ruleset) = &compiled.ruleset {
        assert_eq!(ruleset.rules.len(), compiled.numbers.len());
        let there = |n: &u32| (*n as usize) < compiled.rules.len();
        assert!(compiled.numbers.iter().all(there));
    }
    for d in &compiled.diagnostics {
        assert!(!d.text.is_empty() && d.line > 0 && d.column > 0 && d.length > 0);
    }
    let first = pfctl_nv("stdin", data, &Tree, &env, &options);
    // A text may hold the word, so that an error can look like a warning, never the other way round.
    match first.status {
        0 => assert!(first.stderr.lines().all(|l| l.contains("warning"))),
        _ => assert!(!first.stderr.is_empty()),
    }
    let text = String::from_utf8_lossy(data);
    if first.status == 0 && prints_itself(&text) && !first.stdout.lines().any(reads_otherwise) {
        let second = pfctl_nv("stdin", first.stdout.as_bytes(), &Tree, &env, &options);
        assert_eq!(second.stdout, first.stdout, "{} of {text}", second.stderr);
    }
}
