//! The parser suites of OpenBSD and FreeBSD (`../shared/pf-regress`) through [`pfconf::pfctl`]: how many pass may
//! only rise. Prints the names of the others. Run one case with `FUGU_CORPUS_ONLY=pf42 … -- --nocapture`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use net::KifId;
use pfconf::pfctl::{Output, pfctl_nv};
use pfconf::{EnvAddress, EnvInterface, Environment, Files, Optimization, Options};

/// Cases that pass today, by group. Raise them when they rise; never lower them.
const FLOOR: &[(&str, usize)] = &[
    ("opt", 34),
    ("pf", 52),
    ("selfpf", 53),
    ("pfail", 26),
    ("pfopt", 2),
    ("pfsimple", 1),
    ("freebsd", 71),
    ("freebsd-fail", 4),
];

fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let dir = std::env::var_os("FUGU_SHARED").map_or(root, PathBuf::from);
    let data = dir.join("pf-regress");
    data.is_dir().then_some(data)
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(name)).ok()
    }
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = |line: &str| {
        let line = line.split('#').next().unwrap_or("");
        line.split_whitespace().map(String::from).collect()
    };
    text.lines()
        .map(words)
        .filter(|w: &Vec<String>| !w.is_empty())
        .collect()
}

fn colon_names(path: &Path) -> Vec<(String, u32)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let entry = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?.to_string();
        Some((name, parts.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// The fixture: an etc tree as small as can be.
fn environment(etc: &Path) -> Environment {
    let mut env = Environment::default();
    for words in lines(&etc.join("services")) {
        let Some((port, proto)) = words[1].split_once('/') else {
            continue;
        };
        let proto = match proto {
            "tcp" => 6,
            "udp" => 17,
            _ => continue,
        };
        for name in [&words[0]].into_iter().chain(&words[2..]) {
            env.services
                .push((name.clone(), proto, port.parse().unwrap()));
        }
    }
    for words in lines(&etc.join("protocols")) {
        for name in [&words[0]].into_iter().chain(&words[2..]) {
            let number = words[1].parse();
            env.protocols.extend(number.map(|n| (name.clone(), n)));
        }
    }
    for words in lines(&etc.join("hosts")) {
        let address: IpAddr = words[0].parse().unwrap();
        for name in &words[1..] {
            env.hosts.entry(name.clone()).or_default().push(address);
        }
    }
    env.users = colon_names(&etc.join("passwd"));
    env.groups = colon_names(&etc.join("group"));
    let mut names: Vec<PathBuf> = fs::read_dir(etc)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    for path in names {
        let Some(name) = path
            .file_name()
            .and_then(|n| n.to_str()?.strip_prefix("hostname."))
        else {
            continue;
        };
        env.interfaces
            .push(interface(name, &path, env.interfaces.len() as u16));
    }
    env
}

fn interface(name: &str, path: &Path, kif: u16) -> EnvInterface {
    let mut found = EnvInterface {
        name: name.into(),
        kif: KifId(kif),
        groups: Vec::new(),
        addresses: Vec::new(),
        loopback: name.starts_with("lo"),
    };
    for words in lines(path) {
        match words[0].as_str() {
            "group" => found.groups.push(words[1].clone()),
            "inet" | "inet6" => {
                let (address, bits) = match words[1].split_once('/') {
                    Some((address, bits)) => (address, bits.parse().unwrap()),
                    None => (words[1].as_str(), mask_bits(&words[2])),
                };
                found
                    .addresses
                    .push(EnvAddress::new(address.parse().unwrap(), bits));
            }
            _ => {}
        }
    }
    found
}

fn mask_bits(mask: &str) -> u8 {
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => u32::from(mask).leading_ones() as u8,
        Err(_) => mask.parse().unwrap(),
    }
}

/// FreeBSD's print turned into OpenBSD's, as `pf-regress/run` does it.
fn bsd_form(text: &str, ports: &HashMap<String, u16>) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let mut words: Vec<String> = words.into_iter().map(String::from).collect();
        for n in 1..words.len() {
            let after = words[n - 1] == "port"
                || n > 1 && words[n - 2] == "port" && words[n - 1].len() <= 2;
            if let (true, Some(port)) = (after, ports.get(&words[n])) {
                words[n] = port.to_string();
            }
        }
        let mut line = words.join(" ");
        if let Some(rest) = line.strip_suffix(" keep state") {
            line = rest.into();
        }
        line = line.replace("( ", "(").replace(" )", ")");
        if !line.contains("flags S/SA keep state (") {
            line = line.replace("flags S/SA keep state", "flags S/SA");
        }
        out += &line;
        out.push('\n');
    }
    out
}

struct Case {
    group: &'static str,
    name: String,
    got: String,
    want: String,
}

impl Case {
    fn passed(&self) -> bool {
        match self.group {
            // A regular expression; those in use only escape parentheses.
            "freebsd-fail" => self.got.contains(&self.want.replace('\\', "")),
            _ => self.got == self.want,
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The bare rules of a print, with the names of automatic tables blanked.
fn rules_of(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.trim();
        let line = match line.strip_prefix('@').and_then(|l| l.split_once(' ')) {
            Some((number, rule)) if number.bytes().all(|b| b.is_ascii_digit()) => rule,
            _ => line,
        };
        let first = line.split(' ').next().unwrap_or("");
        if !["pass", "block", "match", "anchor"].contains(&first) {
            continue;
        }
        let mut line = line.to_string();
        if let Some(at) = line.find("<__automatic_") {
            let end = line[at..].find('>').map_or(line.len(), |n| at + n);
            let name = &line[at + 1..end];
            if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                line.replace_range(at..end, "<__automatic_");
            }
        }
        out += &without_counts(&line);
        out.push('\n');
    }
    out
}

/// `(lo0:1)` and `<t:*>`, which the suite recorded from a kernel, as `(lo0)` and `<t>`.
fn without_counts(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(':') {
        let count = rest[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '*');
        let counted = count.len() + 1 < rest.len() - at && count.starts_with([')', '>']);
        out += &rest[..at + usize::from(!counted)];
        rest = if counted { count } else { &rest[at + 1..] };
    }
    out + rest
}

fn inputs(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut inputs: Vec<PathBuf> = all
        .filter(|p| p.extension().is_some_and(|e| e == "in"))
        .collect();
    inputs.sort();
    inputs
}

fn openbsd(data: &Path, cases: &mut Vec<Case>) {
    let env = environment(&data.join("etc"));
    let dir = data.join("openbsd");
    let with = |text: &[u8], options: &Options| -> Output {
        pfctl_nv("stdin", text, &Folder(dir.clone()), &env, options)
    };
    let run = |text: &[u8]| with(text, &Options::default());
    let basic = Options {
        optimization: Optimization::Basic,
        ..Options::default()
    };
    for path in inputs(&dir) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let input = fs::read(&path).unwrap();
        let ok = path.with_extension("ok");
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if !ok.exists() && kind != "pfsimple" {
            continue;
        }
        let want = read(&ok);
        let mut case = |group, name, got, want| {
            cases.push(Case {
                group,
                name,
                got,
                want,
            })
        };
        match kind {
            "pf" => {
                let optimized = path.with_extension("optimized");
                if optimized.exists() {
                    let got = rules_of(&with(&input, &basic).stdout);
                    case(
                        "opt",
                        format!("opt{name}"),
                        got,
                        rules_of(&read(&optimized)),
                    );
                }
                case("pf", name.clone(), run(&input).stdout, want.clone());
                case(
                    "selfpf",
                    format!("self{name}"),
                    run(want.as_bytes()).stdout,
                    want,
                );
            }
            "pfail" => {
                let out = run(&input);
                case("pfail", name, out.stderr + &out.stdout, want);
            }
            "pfopt" => case("pfopt", name, run(&input).stdout, want),
            "pfsimple" => case("pfsimple", name, run(&input).status.to_string(), "0".into()),
            _ => {}
        }
    }
}

fn freebsd(data: &Path, cases: &mut Vec<Case>) {
    let env = Environment {
        freebsd: true,
        ..environment(&data.join("etc-freebsd"))
    };
    let dir = data.join("freebsd");
    let openbsd = environment(&data.join("etc"));
    let ports: HashMap<String, u16> = openbsd
        .services
        .iter()
        .rev()
        .map(|(name, _, port)| (name.clone(), *port))
        .collect();
    for path in inputs(&dir) {
        let name = format!("fbsd-{}", path.file_stem().unwrap().to_str().unwrap());
        let out = pfctl_nv(
            path.to_str().unwrap(),
            &fs::read(&path).unwrap(),
            &Folder(dir.clone()),
            &env,
            &Options::default(),
        );
        let got = out.stderr + &out.stdout;
        let (ok, fail) = (path.with_extension("ok"), path.with_extension("fail"));
        if ok.exists() {
            let (got, want) = (bsd_form(&got, &ports), bsd_form(&read(&ok), &ports));
            cases.push(Case {
                group: "freebsd",
                name,
                got,
                want,
            });
        } else if fail.exists() {
            let want = read(&fail).trim().to_string();
            cases.push(Case {
                group: "freebsd-fail",
                name,
                got,
                want,
            });
        }
    }
}

fn show(case: &Case) {
    println!("---- {}", case.name);
    let (got, want): (Vec<&str>, Vec<&str>) =
        (case.got.lines().collect(), case.want.lines().collect());
    for line in want.iter().filter(|l| !got.contains(l)).take(8) {
        println!("  want {line}");
    }
    for line in got.iter().filter(|l| !want.contains(l)).take(8) {
        println!("  got  {line}");
    }
    if got.len() == want.len() && got.iter().all(|l| want.contains(l)) {
        println!("  the order differs");
    }
}

#[test]
fn the_parser_suites_pass_as_far_as_they_did() {
    let Some(data) = shared() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut cases = Vec::new();
    openbsd(&data, &mut cases);
    freebsd(&data, &mut cases);
    let only = std::env::var("FUGU_CORPUS_ONLY").ok();
    let mut score: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for case in &cases {
        let entry = score.entry(case.group).or_default();
        entry.1 += 1;
        entry.0 += usize::from(case.passed());
        if !case.passed() && only.as_ref().is_none_or(|o| *o == case.name) {
            show(case);
        }
    }
    let passed: usize = score.values().map(|s| s.0).sum();
    for (group, (passed, all)) in &score {
        println!("{group:13} {passed:4} of {all}");
    }
    println!("{passed} of {} pass", cases.len());
    for (group, floor) in FLOOR {
        let passed = score.get(group).map_or(0, |s| s.0);
        assert!(
            passed >= *floor,
            "{group}: {passed} pass, {floor} did before"
        );
    }
}
