//! `man/pf.conf.5` says what is: its examples compile, sentences of its grammar are accepted, its keywords are the
//! lexer's, and what it calls not enforced yet is refused. `docs/pf-differences.md` is made of two of its sections; after
//! a change of them run `FUGU_WRITE=1 cargo test -p pfconf --test manual`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use net::KifId;
use pfconf::pfctl::pfctl_nv;
use pfconf::{EnvAddress, EnvInterface, Environment, Files, Options, compile, reserved_words};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manual() -> String {
    fs::read_to_string(root().join("man/pf.conf.5")).unwrap()
}

/// The lines of a section or subsection, its heading not among them.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|l| *l == heading);
    let start = start.unwrap_or_else(|| panic!("no {heading}")) + 1;
    let more = lines[start..].iter();
    more.take_while(|l| !l.starts_with(".Sh ") && !l.starts_with(".Ss "))
        .copied()
        .collect()
}

/// Displays that begin with `display`, with their lines as a reader sees them.
fn displays(text: &str, display: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == display {
            let body: Vec<String> = lines
                .by_ref()
                .take_while(|l| *l != ".Ed")
                .map(plain)
                .collect();
            all.push(body.join("\n") + "\n");
        }
    }
    all
}

/// Without the escapes of roff.
fn plain(line: &str) -> String {
    line.replace("\\&", "").replace("\\e", "\\")
}

/// Every file is there and empty.
struct EmptyFiles;

impl Files for EmptyFiles {
    fn read(&self, _name: &str) -> Option<Vec<u8>> {
        Some(Vec::new())
    }
}

fn environment() -> Environment {
    let mut env = Environment::minimal();
    for (n, (name, address)) in [
        ("lo0", "127.0.0.1"),
        ("em0", "192.0.2.1"),
        ("em1", "10.0.0.1"),
        ("em2", "10.0.2.1"),
    ]
    .into_iter()
    .enumerate()
    {
        env.interfaces.push(EnvInterface {
            name: name.into(),
            kif: KifId(n as u16),
            groups: vec![name.trim_end_matches(|c: char| c.is_ascii_digit()).into()],
            addresses: vec![EnvAddress::new(address.parse().unwrap(), 24)],
            loopback: n == 0,
        });
    }
    env
}

fn said(text: &str) -> (i32, String) {
    let options = Options::default();
    let out = pfctl_nv(
        "text",
        text.as_bytes(),
        &EmptyFiles,
        &environment(),
        &options,
    );
    (out.status, out.stderr)
}

#[test]
fn every_example_compiles() {
    let manual = manual();
    let examples = displays(&manual, ".Bd -literal -offset indent");
    assert!(examples.len() > 15, "{} examples", examples.len());
    for text in examples {
        let (status, stderr) = said(&text);
        assert_eq!(status, 0, "{text}\n{stderr}");
    }
}

#[test]
fn keywords_are_those_of_the_lexer() {
    let manual = manual();
    let lines = section(&manual, ".Sh KEYWORDS");
    let words = lines.iter().filter_map(|l| l.strip_prefix(".Cm "));
    let words: Vec<&str> = words
        .flat_map(str::split_whitespace)
        .filter(|w| *w != ",")
        .collect();
    assert_eq!(words, reserved_words());
}

#[test]
fn every_timeout_is_listed() {
    let manual = manual();
    let timeouts = section(&manual, ".Ss TIMEOUTS").join("\n");
    for timeout in ruleset::Timeout::ALL {
        assert!(timeouts.contains(timeout.name()), "{}", timeout.name());
    }
}

/// Tag and text of each item of a list.
fn items<'a>(manual: &'a str, heading: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in section(manual, heading) {
        if let Some(tag) = line.strip_prefix(".It ") {
            all.push((tag, Vec::new()));
        } else if let Some((_, body)) = all.last_mut()
            && line != ".El"
        {
            body.push(line);
        }
    }
    all
}

/// What a compilation says of things that are not done yet.
fn unsupported(text: &str) -> Vec<String> {
    let (env, options) = (environment(), Options::default());
    let compiled = compile("text", text.as_bytes(), &EmptyFiles, &env, &options);
    let said = compiled.diagnostics.into_iter();
    said.filter(|d| d.code == "unsupported")
        .map(|d| d.text)
        .collect()
}

/// What examples of single lines refer to.
const DEFINITIONS: &str = "table <bad> persist\nstate limiter web id 1 limit 10\n\
    source limiter users id 1 entries 5 limit 10\n";

#[test]
fn what_is_not_enforced_yet_is_refused() {
    let manual = manual();
    for (what, body) in items(&manual, ".Sh NOT ENFORCED YET") {
        let example = body.iter().find_map(|l| l.strip_prefix(".Dl "));
        let example = plain(example.unwrap_or_else(|| panic!("no example of {what}")));
        let want = format!("{what} is not supported yet");
        let said = unsupported(&format!("{DEFINITIONS}{example}\n"));
        assert!(
            said.contains(&want),
            "'{example}' is no longer refused ({said:?}): take '{what}' off NOT ENFORCED YET in man/pf.conf.5 and run \
             FUGU_WRITE=1 cargo test -p pfconf --test manual"
        );
    }
}

// ---- sentences of the grammar -----------------------------------------------------------------------------

#[derive(Debug)]
enum Expr {
    Terminal(String),
    Name(String),
    Sequence(Vec<Expr>),
    Choice(Vec<Expr>),
    Optional(Box<Expr>),
    Repeated(Box<Expr>),
}

fn tokens(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' => rest[1..].find('"').expect("a closing quote") + 2,
            c if c.is_alphanumeric() => rest
                .find(|c: char| !c.is_alphanumeric() && c != '-')
                .unwrap_or(rest.len()),
            _ => 1,
        };
        all.push(rest[..len].to_string());
        rest = rest[len..].trim_start();
    }
    all
}

/// Productions by name.
fn grammar(text: &str) -> BTreeMap<String, Expr> {
    let tokens = tokens(text);
    let mut rules = BTreeMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let name = tokens[at].clone();
        assert_eq!(tokens[at + 1], "=", "after {name}");
        at += 2;
        let expr = choice(&tokens, &mut at);
        assert_eq!(tokens[at], ";", "at the end of {name}");
        at += 1;
        assert!(rules.insert(name.clone(), expr).is_none(), "{name} twice");
    }
    rules
}

fn choice(tokens: &[String], at: &mut usize) -> Expr {
    let mut all = vec![sequence(tokens, at)];
    while tokens[*at] == "|" {
        *at += 1;
        all.push(sequence(tokens, at));
    }
    Expr::Choice(all)
}

fn sequence(tokens: &[String], at: &mut usize) -> Expr {
    let mut all = Vec::new();
    loop {
        let token = tokens[*at].as_str();
        if matches!(token, "|" | ";" | ")" | "]" | "}") {
            return Expr::Sequence(all);
        }
        *at += 1;
        let group = |at: &mut usize, close: &str| {
            let inner = Box::new(choice(tokens, at));
            assert_eq!(tokens[*at], close);
            *at += 1;
            inner
        };
        all.push(match token {
            "(" => *group(at, ")"),
            "[" => Expr::Optional(group(at, "]")),
            "{" => Expr::Repeated(group(at, "}")),
            quoted if quoted.starts_with('"') => Expr::Terminal(quoted.trim_matches('"').into()),
            name => Expr::Name(name.into()),
        });
    }
}

/// Words that stand for the classes of the lexical rules.
const CLASSES: &[(&str, &[&str])] = &[
    ("string", &["\"some text\"", "word", "\"pass\""]),
    ("number", &["1", "17", "60"]),
    ("byte", &["1", "200"]),
    ("small", &["4", "8"]),
    ("prio", &["0", "7"]),
    ("bits", &["8", "24", "32"]),
    ("percent", &["20%", "7%"]),
    ("new-name", &["one", "two", "\"three\""]),
    ("name", &["one", "web"]),
    ("existing-file", &["\"/etc/file\""]),
    ("interface", &["em0", "em1", "lo"]),
    (
        "interface-addr",
        &["em0", "em1:network", "em0:0", "lo0:broadcast", "self"],
    ),
    ("address", &["10.0.0.1", "192.0.2.1", "2001:db8::1"]),
    ("ipv4", &["10.0.0.1", "10.0.0.9"]),
    ("proto-name", &["tcp", "udp", "icmp", "icmp6", "esp"]),
    ("proto-number", &["6", "17", "255"]),
    ("port-name", &["80", "ssh", "65535"]),
    ("port-range", &["80:90", "1:ssh"]),
    ("flag-letters", &["S", "SA", "SAFRUPEW"]),
    ("icmp-name", &["echoreq", "unreach", "skip", "8"]),
    ("icmp6-name", &["echoreq", "toobig", "128"]),
    ("icmp-code", &["port-unr", "host-unr", "3"]),
    ("icmp6-code", &["admin-unr", "4"]),
    ("tos", &["lowdelay", "af21", "0x10", "16"]),
    ("pflog", &["pflog0", "pflog255"]),
    (
        "hash-key",
        &["0x0123456789abcdef0123456789abcdef", "\"a key\""],
    ),
    ("bandwidth", &["10M", "1.5G", "64000", "512Kb"]),
    ("milliseconds", &["100ms"]),
    ("ether-type", &["0x0806", "2054"]),
    ("mac-address", &["00:11:22:33:44:55"]),
    ("mac-bits", &["24", "48"]),
    ("newline", &["\n"]),
];

/// A small xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

/// Productions nested deeper than this take the shortest way out.
const DEPTH_MAX: usize = 12;

struct Sentences<'a> {
    rules: &'a BTreeMap<String, Expr>,
    random: Random,
    used: BTreeSet<String>,
}

impl Sentences<'_> {
    fn write(&mut self, expr: &Expr, depth: usize, out: &mut Vec<String>) {
        match expr {
            Expr::Terminal(word) => {
                self.used.insert(word.clone());
                out.push(word.clone());
            }
            Expr::Name(name) => self.name(name, depth, out),
            Expr::Sequence(all) => {
                for expr in all {
                    self.write(expr, depth, out);
                }
            }
            Expr::Choice(all) => {
                let chosen = if depth > DEPTH_MAX {
                    0
                } else {
                    self.random.below(all.len())
                };
                self.write(&all[chosen], depth, out);
            }
            Expr::Optional(inner) => {
                if depth <= DEPTH_MAX && self.random.below(2) == 0 {
                    self.write(inner, depth, out);
                }
            }
            Expr::Repeated(inner) => {
                let times = if depth > DEPTH_MAX {
                    0
                } else {
                    self.random.below(3)
                };
                for _ in 0..times {
                    self.write(inner, depth, out);
                }
            }
        }
    }

    fn name(&mut self, name: &str, depth: usize, out: &mut Vec<String>) {
        if let Some((_, words)) = CLASSES.iter().find(|(class, _)| *class == name) {
            out.push(words[self.random.below(words.len())].into());
            return;
        }
        let rules = self.rules;
        let expr = rules
            .get(name)
            .unwrap_or_else(|| panic!("no production {name}"));
        self.write(expr, depth + 1, out);
    }
}

fn terminals<'a>(expr: &'a Expr, found: &mut BTreeSet<&'a str>) {
    match expr {
        Expr::Terminal(word) => {
            found.insert(word);
        }
        Expr::Name(_) => {}
        Expr::Sequence(all) | Expr::Choice(all) => all.iter().for_each(|e| terminals(e, found)),
        Expr::Optional(inner) | Expr::Repeated(inner) => terminals(inner, found),
    }
}

fn manual_grammar() -> BTreeMap<String, Expr> {
    let manual = manual();
    let text = section(&manual, ".Sh GRAMMAR").join("\n") + "\n";
    grammar(&displays(&text, ".Bd -literal")[0])
}

#[test]
fn the_grammar_uses_every_reserved_word() {
    let rules = manual_grammar();
    let mut found = BTreeSet::new();
    rules.values().for_each(|expr| terminals(expr, &mut found));
    let missing: Vec<&&str> = reserved_words()
        .iter()
        .filter(|w| !found.contains(**w))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Sentences of one run.
const SENTENCES: usize = 40_000;

#[test]
fn sentences_of_the_grammar_are_accepted() {
    let rules = manual_grammar();
    let seed = match std::env::var("FUGU_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) << 20 | 0x5eed,
    };
    println!("seed {seed}");
    let mut sentences = Sentences {
        rules: &rules,
        random: Random(seed),
        used: BTreeSet::new(),
    };
    let documented = manual();
    let documented = items(&documented, ".Sh NOT ENFORCED YET");
    let documented: BTreeSet<&str> = documented.iter().map(|i| i.0).collect();
    let mut all = BTreeSet::new();
    rules.values().for_each(|expr| terminals(expr, &mut all));
    for n in 0..10 * SENTENCES {
        // Some words are so rare that a run now and then has not come to them by then.
        if n >= SENTENCES && all.iter().all(|word| sentences.used.contains(*word)) {
            break;
        }
        let mut words = Vec::new();
        sentences.name("line", 0, &mut words);
        let text = words.join(" ") + "\n";
        let (_, stderr) = said(&text);
        assert!(
            !stderr.contains("syntax error"),
            "seed {seed}: {text}{stderr}"
        );
        for said in unsupported(&text) {
            let what = said.trim_end_matches(" is not supported yet");
            assert!(
                documented.contains(what),
                "seed {seed}: {text}{said}: not in the manual"
            );
        }
    }
    let never: Vec<&&str> = all
        .iter()
        .filter(|w| !sentences.used.contains(**w))
        .collect();
    assert!(never.is_empty(), "seed {seed}: never tried: {never:?}");
}

/// Definitions that sentences refer to.
const NAMED: &str = "table <one> persist\ntable <web> persist\nqueue top on em0 bandwidth 10M\n\
    queue one parent top bandwidth 1M default\nqueue web parent top bandwidth 1M\n\
    state limiter web id 1 limit 10\nstate limiter one id 2 limit 10\n\
    source limiter web id 1 entries 5 limit 10\nsource limiter one id 2 entries 5 limit 10\n";

/// Sentences of the run that looks at prints.
const PRINTS: usize = 30_000;

/// Lines that are accepted, with the words that need others beside them; chance seldom brings them together.
const WRITTEN: &[&str] = &[
    "source limiter three id 3 entries 5 limit 10 rate 1/2 inet mask 24 inet6 mask 48 table <one> above 5 below 2",
    "state limiter three id 3 limit 10 rate 1/2",
    "pass in inet6 from any to 64:ff9b::/96 af-to inet from 192.0.2.1 to 192.0.2.2 keep state (max 5)",
    "match on em0 from 10.0.0.9 to any binat-to 192.0.2.9",
    "match in inet proto tcp rdr-to { 10.0.0.9 weight 2, 10.0.0.8 } least-states",
    "match out on em0 inet nat-to (em0) static-port",
    "pass in proto tcp synproxy state (max 9, no-sync, pflow, if-bound, source-track rule, max-src-states 3, \
     max-src-conn 4, max-src-conn-rate 5/6, max-src-nodes 7, overload <one> flush global, tcp.first 1, tcp.opening 1, \
     tcp.established 1, tcp.closing 1, tcp.finwait 1, tcp.closed 1, tcp.tsdiff 1, udp.first 1, udp.single 1, \
     udp.multiple 1, icmp.first 1, icmp.error 1, other.first 1, other.single 1, other.multiple 1, adaptive.start 1, \
     adaptive.end 1, src.track 9)",
    "set limit { states 9, src-nodes 9, frags 9, tables 9, table-entries 9, pktdelay-pkts 9, anchors 9, eth-anchors 9 }",
    "set timeout { frag 9, interval 9 }",
    "pass in proto tcp modulate state",
    "block return-rst (ttl 5) in proto tcp user unknown group != unknown",
    "pass out proto tcp no state",
    "pass in inet proto icmp icmp-type { echoreq code 0, unreach code port-unr }",
    "pass in inet6 proto icmp6 icmp6-type { echoreq code 0, unreach }",
    "pass in inet route-to 10.0.0.9 sticky-address source-hash",
    "pass in on em0 reply-to (em0 192.0.2.9) inet from any to any",
    "pass in dup-to (em1 2001:db8::9) prefer-ipv6-nexthop inet",
    "pass out proto tcp synproxy state (max 1, pflow) probability 20%",
];

/// As in pfctl, the options behind the second pool of af-to are those of the first, where they are printed: each reading
/// of a print gives the first one those that the second has got meanwhile. Rules with two such pools without their options.
fn unmoved(print: &str) -> Vec<String> {
    let options = [
        "bitmask",
        "random",
        "round-robin",
        "least-states",
        "static-port",
        "sticky-address",
        "endpoint-independent",
    ];
    let with_value = ["source-hash", "map-e-portset"];
    let pools_alone = |pools: &str| {
        let words: Vec<&str> = pools.split(' ').collect();
        let is_kept = |n: &usize| {
            let is_value = *n > 0 && with_value.contains(&words[*n - 1]);
            !is_value && !options.contains(&words[*n]) && !with_value.contains(&words[*n])
        };
        let kept = (0..words.len()).filter(is_kept).map(|n| words[n]);
        kept.collect::<Vec<_>>().join(" ")
    };
    let line = |line: &str| match line.split_once(" af-to ") {
        Some((rule, pools)) if pools.contains(" to ") => {
            format!("{rule} af-to {}", pools_alone(pools))
        }
        _ => line.to_string(),
    };
    print.lines().map(line).collect()
}

#[test]
fn what_is_printed_is_read_as_the_same_rules() {
    let rules = manual_grammar();
    let seed = match std::env::var("FUGU_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) << 20 | 0xf1,
    };
    println!("seed {seed}");
    let mut sentences = Sentences {
        rules: &rules,
        random: Random(seed),
        used: BTreeSet::new(),
    };
    let systems = [false, true].map(|freebsd| Environment {
        freebsd,
        ..environment()
    });
    let options = Options::default();
    let mut accepted = BTreeSet::new();
    let mut printed = 0;
    let mut all = BTreeSet::new();
    rules.values().for_each(|expr| terminals(expr, &mut all));
    let mut last = 0;
    // Rare words may want a longer run.
    for n in 0..PRINTS * 10 {
        if n > PRINTS && all.iter().all(|word| accepted.contains(*word)) {
            break;
        }
        last = n;
        let mut words = Vec::new();
        sentences.used.clear();
        let line = match WRITTEN.get(n) {
            Some(line) => {
                let all = line.split(|c: char| c.is_whitespace() || "(){}<>,/".contains(c));
                sentences.used.extend(all.map(String::from));
                line.to_string()
            }
            None => {
                sentences.name("line", 0, &mut words);
                words.join(" ")
            }
        };
        let text = format!("{NAMED}{line}\n");
        let read = |text: &str| {
            let env = &systems[n % 2];
            pfctl_nv("text", text.as_bytes(), &EmptyFiles, env, &options)
        };
        let first = read(&text);
        // A code for IPv4 alone leaves type and code of IPv4 for IPv6, as in PF, and a print of the code tells no type.
        let typeless = ["port-unr, 3)", "return-icmp6(3)"].map(|t| first.stdout.contains(t));
        let typeless = text.contains("return-icmp (") && typeless.contains(&true)
            || first.stdout.contains("return-icmp(") && first.stdout.contains(", 3)");
        assert!(
            first.status == 0 || n >= WRITTEN.len(),
            "{line}: {}",
            first.stderr
        );
        if first.status != 0 || typeless {
            continue;
        }
        printed += 1;
        accepted.append(&mut sentences.used);
        let second = read(&first.stdout);
        assert!(
            second.status == 0 && unmoved(&second.stdout) == unmoved(&first.stdout),
            "seed {seed}: {text}\nis printed as\n{}\nand that as\n{}{}",
            first.stdout,
            second.stdout,
            second.stderr
        );
    }
    println!("{printed} of {last} accepted");
    let never: Vec<&&str> = all.iter().filter(|w| !accepted.contains(**w)).collect();
    assert!(never.is_empty(), "seed {seed}: never accepted: {never:?}");
}

// ---- docs/pf-differences.md ---------------------------------------------------------------------------------

/// Text of mdoc as one line of Markdown.
fn markdown(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let piece = match line.strip_prefix('.') {
            Some(".Pp") | Some("Pp") => continue,
            Some(request) => macro_words(request),
            None => plain(line),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text += &piece;
    }
    text.replace('|', "\\|")
}

/// `.Cm none , urgent` as `` `none`, `urgent` ``.
fn macro_words(request: &str) -> String {
    let mut words = request.split_whitespace();
    let quoted = match words.next() {
        Some("Dq") => return format!("\"{}\"", words.collect::<Vec<_>>().join(" ")),
        Some("Sx") => false,
        _ => true,
    };
    let mut out = String::new();
    let mut open = false;
    let mark = if quoted { "`" } else { "" };
    for word in words {
        let punctuation = matches!(word, "," | "." | ":" | ";");
        if punctuation && open {
            out += mark;
        } else if !punctuation {
            out += if out.is_empty() { "" } else { " " };
            out += if open { "" } else { mark };
        }
        open = !punctuation;
        out += &plain(word);
    }
    out + if open { mark } else { "" }
}

fn differences(manual: &str) -> String {
    let mut out = String::from(
        "# Differences from OpenBSD's pf.conf\n\n\
         Made of `man/pf.conf.5`, sections DIFFERENCES, NOT ENFORCED YET and TEST DATA, by a test of `pfconf`: change them \
         there.\n\n| what | how it is here |\n|---|---|\n",
    );
    for (what, body) in items(manual, ".Sh DIFFERENCES") {
        out += &format!("| {what} | {} |\n", markdown(&body));
    }
    out += "\n## Not enforced yet\n\nThe whole language is parsed, checked and printed. What the firewall cannot do yet \
        is refused when a tree is checked, with the words \"not supported yet\".\n\n| what | for example |\n|---|---|\n";
    for (what, body) in items(manual, ".Sh NOT ENFORCED YET") {
        let example = body.iter().find_map(|l| l.strip_prefix(".Dl "));
        let example = plain(example.unwrap_or_default()).replace('|', "\\|");
        out += &format!("| {what} | `{example}` |\n");
    }
    out += "\n## Test data of other systems\n\nCases of the parser suites of OpenBSD and FreeBSD that `fuguctl pfctl` does not \
        reproduce, and why.\n\n| cases | why |\n|---|---|\n";
    for (what, body) in items(manual, ".Sh TEST DATA") {
        out += &format!("| {what} | {} |\n", markdown(&body));
    }
    out
}

#[test]
fn the_table_of_differences_is_that_of_the_manual() {
    let path = root().join("docs/pf-differences.md");
    let want = differences(&manual());
    if std::env::var_os("FUGU_WRITE").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == want,
        "run FUGU_WRITE=1 cargo test -p pfconf --test manual"
    );
}
