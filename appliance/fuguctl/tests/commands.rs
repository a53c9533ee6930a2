//! Whole commands: arguments in, exit status, output and files out.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuguctl::{Environment, run};

/// 2026-11-21T22:15:16Z.
const NOW: Duration = Duration::from_secs(1_795_299_316);

struct Ran {
    status: u8,
    out: String,
    err: String,
}

fn fuguctl(arguments: &[&str]) -> Ran {
    with_token(None, arguments)
}

fn with_token(token: Option<&str>, arguments: &[&str]) -> Ran {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let environment = Environment {
        token: token.map(str::to_string),
        now: UNIX_EPOCH + NOW,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&arguments, &environment, &mut out, &mut err);
    Ran {
        status,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// A directory with a small etc tree, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fuguctl-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("etc")).unwrap();
        let scratch = Scratch(path);
        scratch.write("etc/hostname.em0", "inet 192.0.2.1/24\n");
        let rules = "block all\npass out\npass in on em0 proto tcp to port 80\n";
        scratch.write("etc/pf.conf", rules);
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = fuguctl(&["push", "--help"]);
    assert_eq!(help.status, 0);
    assert!(help.out.starts_with("usage: fuguctl COMMAND"));
    assert!(fuguctl(&["--version"]).out.starts_with("fuguctl "));
    let nothing = fuguctl(&[]);
    assert_eq!((nothing.status, nothing.out.as_str()), (2, ""));
}

#[test]
fn a_good_tree_passes_as_a_directory_and_as_a_bundle() {
    let dir = Scratch::new("good");
    let (etc, file) = (dir.path("etc"), dir.path("b.tgz"));
    let checked = fuguctl(&["check", &etc]);
    assert_eq!((checked.status, checked.err.as_str()), (0, ""));
    assert_eq!(checked.out, format!("{etc}: ok, 1 interface, 3 rules\n"));
    let built = fuguctl(&["bundle", "build", &etc, "-o", &file]);
    assert_eq!(built.status, 0, "{}", built.err);
    assert!(built.out.contains(": 2 files, "), "{}", built.out);
    assert_eq!(fuguctl(&["check", &file]).status, 0);
    let json = fuguctl(&["check", "--json", &file]).out;
    assert!(json.contains("\"result\": \"ok\""), "{json}");
}

#[test]
fn why_names_the_line_that_decides() {
    let scratch = Scratch::new("why");
    let tree = scratch.path("etc");
    let ask = |packet| fuguctl(&["why", "--etc", &tree, packet]);
    let ran = ask("in on em0 tcp 192.0.2.9:1000 > 192.0.2.1:80");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "192.0.2.9:1000 > 192.0.2.1:80 tcp flags S, 40 bytes\n  \
         arrives  on em0\n\
         screen   in on em0\n  \
         state    none: the rules are asked\n  \
         match    @0 block drop all  pf.conf:1\n  \
         match    @2 pass in on em0 proto tcp from any to any port = 80 flags S/SA  pf.conf:3\n  \
         decides  @2 pass in on em0 proto tcp from any to any port = 80 flags S/SA  pf.conf:3\n  \
         state    made: the packets that follow pass by it\n  \
         ends     it is for the box itself\n\
         LOCAL by pf.conf:3: pass in on em0 proto tcp from any to any port = 80 flags S/SA\n"
    );
    let ran = ask("in on em0 udp 192.0.2.9:1000 > 192.0.2.1:53");
    assert!(
        ran.out.ends_with("BLOCK by pf.conf:1: block drop all\n"),
        "{}",
        ran.out
    );
    let ran = ask("in on em7 udp 192.0.2.9:1000 > 192.0.2.1:53");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("there is no interface 'em7'"),
        "{}",
        ran.err
    );
    let ran = fuguctl(&[
        "why",
        "--json",
        "--etc",
        &tree,
        "in on em0 icmp 192.0.2.9 > 192.0.2.1",
    ]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["verdict"], "block");
    assert_eq!(value["decisions"][0]["origin"], "pf.conf:1");
}

#[test]
fn a_bad_tree_is_refused_with_every_place() {
    let dir = Scratch::new("bad");
    dir.write("etc/hostname.em0", "inet 192.0.2.1\nmut 1500\n");
    let etc = dir.path("etc");
    let checked = fuguctl(&["check", &etc]);
    assert_eq!((checked.status, checked.out.as_str()), (1, ""));
    let lines: Vec<&str> = checked.err.lines().collect();
    assert_eq!(
        lines[0],
        "hostname.em0:1:15: error: no netmask after 192.0.2.1"
    );
    assert!(
        checked
            .err
            .contains("\nhostname.em0:2:1: error: unknown word 'mut'\n")
    );
    assert!(
        checked.err.contains("\n   | ^^^ did you mean 'mtu'?\n"),
        "{}",
        checked.err
    );
    assert_eq!(*lines.last().unwrap(), format!("{etc}: 2 errors"));
    let json = fuguctl(&["check", "--json", &etc]);
    assert_eq!((json.status, json.err.as_str()), (1, ""));
    assert!(json.out.contains("\"result\": \"refused\""));
    assert!(json.out.contains("\"column\": 15"));
}

#[test]
fn rules_are_compiled_against_the_tree_s_own_names() {
    let dir = Scratch::new("rules");
    dir.write("etc/mygate", "192.0.2.254\n");
    dir.write("etc/bad", "198.51.100.0/24\n");
    dir.write("etc/hosts", "192.0.2.7 mail\n");
    dir.write(
        "etc/pf.conf",
        "set skip on lo\ntable <bad> persist file \"/etc/bad\"\nblock in on egress from <bad>\n\
         pass in on em0 proto tcp to mail port { smtp, submission }\npass out from em0:network\n",
    );
    let etc = dir.path("etc");
    let checked = fuguctl(&["check", "-v", &etc]);
    assert_eq!((checked.status, checked.err.as_str()), (0, ""));
    assert!(
        checked.out.contains("to 192.0.2.7 port = 587 "),
        "{}",
        checked.out
    );
    assert!(
        checked.out.contains("from 192.0.2.0/24 "),
        "{}",
        checked.out
    );
    assert!(
        checked.out.ends_with(": ok, 1 interface, 4 rules\n"),
        "{}",
        checked.out
    );

    dir.write(
        "etc/pf.conf",
        "block in on em1\npass in on em0 port smtpp\nblok\n",
    );
    let checked = fuguctl(&["check", &etc]);
    assert_eq!(checked.status, 1);
    let places = ["pf.conf:1:", "pf.conf:2:", "pf.conf:3:1: error: "];
    for place in places {
        assert!(checked.err.contains(place), "{place}: {}", checked.err);
    }

    fs::remove_file(dir.0.join("etc/pf.conf")).unwrap();
    let checked = fuguctl(&["check", &etc]);
    assert_eq!(checked.status, 1);
    assert!(
        checked
            .err
            .starts_with("pf.conf: error: there is no pf.conf"),
        "{}",
        checked.err
    );
}

#[test]
fn what_cannot_be_read_is_another_exit_status_than_what_is_refused() {
    let dir = Scratch::new("unreadable");
    let missing = fuguctl(&["check", &dir.path("nothing")]);
    assert_eq!(missing.status, 2);
    assert!(missing.err.contains("nothing: "), "{}", missing.err);
    dir.write("garbage.tgz", "garbage");
    let garbage = fuguctl(&["check", &dir.path("garbage.tgz")]);
    assert_eq!(garbage.status, 1);
    assert!(garbage.err.contains("not a gzip file"), "{}", garbage.err);
}

#[test]
fn keys_sign_and_verify_and_are_never_overwritten() {
    let dir = Scratch::new("sign");
    let [public, secret, file, other] =
        ["k.pub", "k.sec", "b.tgz", "o.tgz"].map(|name| dir.path(name));
    let made = fuguctl(&["keygen", "-p", &public, "-s", &secret, "-c", "office"]);
    assert_eq!(made.status, 0, "{}", made.err);
    let mode = fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&public).unwrap();
    assert!(text.starts_with("untrusted comment: office public key\n"));
    let again = fuguctl(&["keygen", "-p", &public, "-s", &secret]);
    assert_eq!(again.status, 2);
    assert_eq!(fs::read_to_string(&public).unwrap(), text);

    fuguctl(&["bundle", "build", &dir.path("etc"), "-o", &file]);
    let unsigned = fuguctl(&["bundle", "verify", "-p", &public, &file]);
    assert_eq!(unsigned.status, 1);
    assert!(unsigned.err.ends_with(": not signed\n"), "{}", unsigned.err);
    let signed = fuguctl(&["bundle", "sign", "-s", &secret, "-o", &other, &file]);
    assert_eq!(signed.status, 0, "{}", signed.err);
    assert!(signed.out.contains("signed 2026-11-21T22:15:16Z by key "));
    let verified = fuguctl(&["bundle", "verify", "-p", &public, &other]);
    assert_eq!(verified.status, 0, "{}", verified.err);
    assert!(
        verified.out.contains("(k.sec), 2 files"),
        "{}",
        verified.out
    );
    let shown = fuguctl(&["bundle", "show", &other]);
    assert!(
        shown.out.contains("       18  hostname.em0\n"),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("says to be signed by key "),
        "{}",
        shown.out
    );
    let in_place = fuguctl(&["bundle", "sign", "-s", &secret, &file]);
    assert_eq!(in_place.status, 0, "{}", in_place.err);
    assert_eq!(fs::read(&file).unwrap(), fs::read(&other).unwrap());
    let swapped = fuguctl(&["bundle", "sign", "-s", &public, &file]);
    assert_eq!(swapped.status, 2);
    assert!(
        swapped.err.contains("the secret one (.sec) is wanted"),
        "{}",
        swapped.err
    );
}

/// An appliance that gives one answer; returns its URL and what it was sent.
fn appliance(status: u16, body: &str) -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        while !complete(&got) {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the client closed early");
            got.extend_from_slice(&buffer[..n]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        got
    });
    (url, handle)
}

/// Head and as much body as it announces.
fn complete(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |digits| digits.parse().unwrap());
    request.len() >= end + 4 + length
}

fn push(dir: &Scratch, status: u16, body: &str) -> Ran {
    let (url, handle) = appliance(status, body);
    let ran = with_token(Some("secret"), &["push", &url, &dir.path("etc")]);
    let sent = handle.join().unwrap();
    let head = String::from_utf8_lossy(&sent);
    assert!(head.starts_with("PUT /v1/bundle HTTP/1.1\r\n"));
    assert!(head.contains("Authorization: Bearer secret\r\n"));
    let built = bundle::build(Path::new(&dir.path("etc"))).unwrap();
    assert!(sent.ends_with(&built), "the body is the bundle");
    ran
}

#[test]
fn push_says_what_the_appliance_says() {
    let dir = Scratch::new("push");
    let ran = push(
        &dir,
        200,
        r#"{"result":"applied","generation":7,"digest":"sha256:ab","warnings":[
            {"severity":"warning","file":"pf.conf","line":2,"column":1,"text":"odd","hint":null}]}"#,
    );
    assert_eq!(ran.status, 0);
    assert_eq!(ran.out, "applied: generation 7, sha256:ab\n");
    assert_eq!(ran.err, "pf.conf:2:1: warning: odd\n");

    let ran = push(
        &dir,
        200,
        r#"{"result":"no-change","generation":7,"digest":"sha256:ab","warnings":[]}"#,
    );
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "no change: generation 7, sha256:ab\n")
    );

    let ran = push(
        &dir,
        422,
        r#"{"result":"refused","errors":[
            {"severity":"error","code":"x","file":"pf.conf","line":2,"column":6,"length":3,"text":"unknown word 'oot'","hint":"did you mean 'out'?","source":"pass oot"},
            {"severity":"error","code":"y","file":"mygate","line":1,"column":1,"text":"no\u001b[2J"}]}"#,
    );
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert!(
        ran.err
            .starts_with("pf.conf:2:6: error: unknown word 'oot'\n 2 | pass oot\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("mygate:1:1: error: no"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'));
    assert!(
        ran.err.ends_with("refused, nothing changed: 2 errors\n"),
        "{}",
        ran.err
    );
}

#[test]
fn each_refusal_has_its_exit_status() {
    let dir = Scratch::new("refusals");
    for (http, status) in [(401, 3), (403, 3), (409, 1), (413, 1), (500, 2), (404, 2)] {
        let ran = push(&dir, http, r#"{"error":"because"}"#);
        assert_eq!(ran.status, status, "{http}");
        assert!(ran.err.ends_with(": because\n"), "{}", ran.err);
    }
    let ran = push(&dir, 502, "<html>");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.ends_with("unexpected answer, HTTP status 502\n"),
        "{}",
        ran.err
    );
}

#[test]
fn push_needs_a_server_a_file_and_a_sound_token() {
    let dir = Scratch::new("trouble");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let etc = dir.path("etc");
    assert_eq!(fuguctl(&["push", &nobody, &etc]).status, 2);
    assert_eq!(fuguctl(&["push", "https://fw", &etc]).status, 2);
    assert_eq!(fuguctl(&["push", &nobody, &dir.path("nothing")]).status, 2);
    let odd = with_token(Some("two words"), &["push", &nobody, &etc]);
    assert_eq!(
        (odd.status, odd.err.as_str()),
        (2, "fuguctl: $FUGU_TOKEN: not a token\n")
    );
}

const STATUS: &str = r#"{"version":"0.1.0","hostname":"fw1","forwarding":true,"generation":7,
    "digest":"sha256:ab","origin":"token","uptime_s":93784,"states":12,"states_limit":100000,
    "workers":[{"id":0}],"buffers_total":8192,"buffers_used":64,"uploads_refused":1,"epitaph":null}"#;

#[test]
fn status_is_for_people_or_for_programs() {
    let dir = Scratch::new("status");
    dir.write("token", "from-file\n");
    let (url, handle) = appliance(200, STATUS);
    let ran = fuguctl(&["status", "--token-file", &dir.path("token"), &url]);
    let asked = String::from_utf8(handle.join().unwrap()).unwrap();
    assert!(asked.contains("Bearer from-file\r\n"), "{asked}");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(ran.out.contains("forwarding  yes\n"), "{}", ran.out);
    assert!(
        ran.out.contains("uptime      1 day 2:03:04\n"),
        "{}",
        ran.out
    );
    let (url, handle) = appliance(200, STATUS);
    let ran = fuguctl(&["status", "--json", &url]);
    handle.join().unwrap();
    assert!(ran.out.contains("\"generation\": 7"), "{}", ran.out);
    let (url, handle) = appliance(401, r#"{"error":"no valid token"}"#);
    let ran = fuguctl(&["status", &url]);
    handle.join().unwrap();
    assert_eq!(ran.status, 3);
}

#[test]
fn pfctl_prints_checks_and_shows_without_a_kernel() {
    let dir = Scratch::new("pfctl");
    dir.write("etc/hostname.lo0", "inet 127.0.0.1/8\n");
    dir.write(
        "etc/pf.conf",
        "x = em0\ntable <t> persist { 10/8 }\nset limit states 5\nblock in from { <t> $y }\n\
         pass out on $x from em0:network\n",
    );
    let (etc, file) = (dir.path("etc"), dir.path("etc/pf.conf"));
    let nv = [
        "pfctl",
        "--etc",
        &etc,
        "-nv",
        "-D",
        "y=10.0.0.1",
        "-f",
        &file,
    ];
    let printed = "x = \"em0\"\ntable <t> persist { 10.0.0.0/8 }\nset limit states 5\n\
        block drop in from <t> to any\nblock drop in inet from 10.0.0.1 to any\n\
        pass out on em0 inet from 192.0.2.0/24 to any flags S/SA\n";
    let ran = fuguctl(&nv);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, printed);
    let numbered = fuguctl(&["pfctl", "--etc", &etc, "-nvvDy=::1", "-f", &file]);
    assert!(
        numbered
            .out
            .contains("\n@0 block drop in from <t:0> to any\n")
    );

    let show = |what: &str| fuguctl(&["pfctl", "--etc", &etc, "-Dy=::1", what, "-f", &file]).out;
    assert_eq!(show("-sT"), "t\n");
    assert!(show("-sm").starts_with("states        hard limit        5\n"));
    assert!(show("-st").contains("\nadaptive.start                0 states\n"));
    assert!(show("-sr").starts_with("block drop in from <t> to any\nblock drop in inet6 from ::1"));
    assert_eq!(show("-sn"), "");
}

#[test]
fn pfctl_says_what_is_wrong_in_pfctls_words() {
    let dir = Scratch::new("pfctl-wrong");
    dir.write("bad", "pass in from $nothing\npass\npass on em0 port 80\n");
    let file = dir.path("bad");
    let ran = fuguctl(&["pfctl", "-nvf", &file]);
    let want = format!(
        "{file}:1: macro 'nothing' not defined\n{file}:1: syntax error\n{file}:3: syntax error\n"
    );
    assert_eq!(
        (ran.status, ran.err.as_str(), ran.out.as_str()),
        (1, want.as_str(), "")
    );
    let ran = fuguctl(&["pfctl", "-nf", "/nowhere/pf.conf"]);
    let want = "pfctl: pushfile: /nowhere/pf.conf: No such file or directory\n\
        pfctl: cannot open the main config file!: No such file or directory\n";
    assert_eq!((ran.status, ran.err.as_str()), (1, want));
    for (arguments, want) in [
        (&["-f", "x"][..], "pfctl: nothing is loaded from here: "),
        (&["-sr"], "pfctl: -s needs the rules here: "),
        (&["-ss"], "pfctl: only a running appliance has states: "),
        (&["-e"], "pfctl: -e needs a running appliance: "),
        (
            &["-nf", "x", "y"],
            "pfctl: unknown command line argument: y ...\nusage: ",
        ),
    ] {
        let mut words = vec!["pfctl"];
        words.extend(arguments);
        let ran = fuguctl(&words);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{arguments:?}");
        assert!(ran.err.starts_with(want), "{}", ran.err);
    }
    let quiet = fuguctl(&["pfctl", "-ne"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
}

#[test]
fn pfctl_loads_anchors_and_chooses_parts() {
    let dir = Scratch::new("pfctl-parts");
    let inner = dir.path("inner");
    dir.write("inner", "pass in\n");
    dir.write(
        "old",
        &format!(
            "set limit states 5\nnat on em0 inet from 10/8 to any -> 192.0.2.1\npass\n\
             load anchor x from \"{inner}\"\n"
        ),
    );
    let file = dir.path("old");
    let whole = fuguctl(&["pfctl", "-nvf", &file]);
    let nat = "nat on em0 inet from 10.0.0.0/8 to any -> 192.0.2.1\n";
    let pass = "pass all flags S/SA keep state\npass in all flags S/SA keep state\n";
    assert_eq!(whole.out, format!("set limit states 5\n{nat}{pass}"));
    assert_eq!(whole.err, format!("\nLoading anchor x from {inner}\n"));
    assert_eq!(fuguctl(&["pfctl", "-nvNf", &file]).out, nat);
    assert_eq!(fuguctl(&["pfctl", "-nvRf", &file]).out, pass);
    assert_eq!(
        fuguctl(&["pfctl", "-nvOf", &file]).out,
        "set limit states 5\n"
    );
    std::fs::remove_file(&inner).unwrap();
    let missing = fuguctl(&["pfctl", "-nf", &file]);
    assert_eq!(missing.status, 1);
    assert!(
        missing.err.ends_with("pfctl: load anchors\n"),
        "{}",
        missing.err
    );
}

/// Two trees that differ in everything that `diff` knows.
fn two_trees(name: &str) -> Scratch {
    let dir = Scratch::new(name);
    fs::create_dir_all(dir.0.join("new")).unwrap();
    dir.write("new/hostname.em0", "# same\ninet 192.0.2.1/24\n");
    dir.write("new/mygate", "192.0.2.254\n");
    dir.write("etc/bad", "198.51.100.0/24\n203.0.113.7\n");
    dir.write("new/bad", "198.51.100.0/25\n203.0.113.7\n");
    dir.write(
        "etc/pf.conf",
        "ext = em0\ntable <bad> file \"/etc/bad\"\nblock in on $ext from <bad>\n\
         pass in on $ext proto tcp to port 22 label ssh\nblock in quick inet6\npass out\n",
    );
    dir.write(
        "new/pf.conf",
        "wan = em0\ntable <bad> file \"/etc/bad\"\nset limit states 5000\nblock in quick inet6\n\
         block in on $wan from <bad>\npass in on $wan proto tcp to port 2222 label ssh\n\
         pass out\npass in proto icmp\n",
    );
    dir
}

#[test]
fn trees_are_compared_by_meaning() {
    let dir = two_trees("diff");
    let (a, b) = (dir.path("etc"), dir.path("new"));
    let found = fuguctl(&["diff", &a, &b]);
    assert_eq!((found.status, found.err.as_str()), (1, ""));
    let want = format!(
        "--- {a}\n+++ {b}\n+ file mygate\n\
         ~ default -> pf.conf:3: set limit states: 100000 -> 5000\n\
         ~ pf.conf:2 -> pf.conf:2: table <bad>\n    - 198.51.100.128/25\n\
         > pf.conf:3 -> pf.conf:5: moved\n    block drop in on em0 from <bad> to any\n\
         ~ pf.conf:4 -> pf.conf:6: to port\n\
         \x20 - pass in on em0 proto tcp from any to any port = 22 flags S/SA label \"ssh\"\n\
         \x20                                                   ^^\n\
         \x20 + pass in on em0 proto tcp from any to any port = 2222 flags S/SA label \"ssh\"\n\
         \x20                                                   ^^^^\n\
         + pf.conf:8: pass in proto icmp all\n\
         rules: 1 added, 1 changed, 1 moved; 1 table differs; 1 option differs; 1 file differs\n"
    );
    assert_eq!(found.out, want);
    let same = fuguctl(&["diff", &a, &a]);
    assert_eq!(
        (same.status, same.out),
        (0, format!("{a} and {a} mean the same\n"))
    );

    // A bundle is a tree.
    let bundle = dir.path("b.tgz");
    fuguctl(&["bundle", "build", &b, "-o", &bundle]);
    assert_eq!(fuguctl(&["diff", &b, &bundle]).status, 0);
    // A file is the rules of the other side's tree, or of the directory that it lies in.
    let file = dir.path("new/pf.conf");
    assert_eq!(fuguctl(&["diff", &b, &file]).status, 0);
    assert_eq!(fuguctl(&["diff", &file, &file]).status, 0);
    let rules = fuguctl(&["diff", &a, &file]).out;
    assert!(
        rules.contains(&format!("+ {file}:8: pass in proto icmp all\n")),
        "{rules}"
    );
    assert!(!rules.contains("table <bad>"), "{rules}");
}

#[test]
fn a_comparison_for_programs_has_every_part() {
    let dir = two_trees("diff-json");
    let (a, b) = (dir.path("etc"), dir.path("new"));
    let found = fuguctl(&["diff", "--json", &a, &b]);
    assert_eq!(found.status, 1);
    let value: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(value["result"], "different");
    assert_eq!(value["files"][0]["name"], "mygate");
    assert_eq!(value["options"][0]["before"]["default"], true);
    assert_eq!(value["options"][0]["after"]["line"], 3);
    assert_eq!(value["tables"][0]["removed"][0], "198.51.100.128/25");
    let rules = value["rules"].as_array().unwrap();
    let words: Vec<&str> = rules.iter().filter_map(|r| r["change"].as_str()).collect();
    assert_eq!(words, ["moved", "changed", "added"]);
    assert_eq!(rules[1]["fields"][0], "to port");
    assert_eq!(rules[2]["before"], serde_json::Value::Null);
    let same = fuguctl(&["diff", "--json", &a, &a]);
    assert!(same.out.contains("\"result\": \"same\""));
}

#[test]
fn what_has_errors_cannot_be_compared() {
    let dir = Scratch::new("diff-bad");
    dir.write("bad", "pass\nblokc in\n");
    let (etc, bad) = (dir.path("etc"), dir.path("bad"));
    let found = fuguctl(&["diff", &etc, &bad]);
    assert_eq!((found.status, found.out.as_str()), (2, ""));
    assert!(
        found.err.starts_with(&format!("{bad}:2:1: error: ")),
        "{}",
        found.err
    );
    assert!(
        found
            .err
            .ends_with("1 error; only rulesets without errors can be compared\n"),
        "{}",
        found.err
    );
    assert_eq!(fuguctl(&["diff", &etc, &dir.path("nothing")]).status, 2);
    fs::remove_file(dir.0.join("etc/pf.conf")).unwrap();
    let found = fuguctl(&["diff", &etc, &etc]);
    assert_eq!(found.status, 2);
    assert!(
        found.err.ends_with("there is no pf.conf in it\n"),
        "{}",
        found.err
    );
}

#[test]
fn who_locks_himself_out_is_told_with_the_rule() {
    let dir = Scratch::new("lockout");
    let etc = dir.path("etc");
    for (rules, management, want) in [
        ("pass\n", "", None),
        ("block\npass in on em0 proto tcp to port 80\n", "", None),
        (
            "block\npass in on em0 proto tcp from 203.0.113.0/24 to em0 port 80\n",
            "management = em0\n",
            None,
        ),
        (
            "block return\npass out\n",
            "",
            Some(
                "pf.conf:1: warning: this rule locks you out: nobody reaches the management API, tcp port 80 on any interface\n    pass in on em0 proto tcp to self port 80\n",
            ),
        ),
        (
            "pass\nblock in on em1\n",
            "management = em1\n",
            Some(
                "pf.conf:2: warning: this rule locks you out: nobody reaches the management API, tcp port 80 on em1\n    pass in on em1 proto tcp to self port 80\n",
            ),
        ),
        (
            "pass\nblock in on em0 proto tcp to port 8080\n",
            "management = em0\napi-port = 8080\n",
            Some(
                "pf.conf:2: warning: this rule locks you out: nobody reaches the management API, tcp port 8080 on em0\n    pass in on em0 proto tcp to self port 8080\n",
            ),
        ),
        (
            "pass\n",
            "management = em2\n",
            Some("pf.conf: warning: nobody can reach the management API: no address on em2\n"),
        ),
    ] {
        dir.write("etc/hostname.em1", "inet 10.0.0.1/24\n");
        dir.write("etc/hostname.em2", "up\n");
        dir.write("etc/pf.conf", rules);
        dir.write("etc/fugu.conf", management);
        let checked = fuguctl(&["check", &etc]);
        assert_eq!(checked.status, 0, "{}", checked.err);
        assert_eq!(checked.err, want.unwrap_or_default(), "{rules}{management}");
    }
    // A name that nothing bears is one mistake.
    dir.write("etc/fugu.conf", "management = em7\n");
    let err = fuguctl(&["check", &etc]).err;
    assert!(
        err.starts_with("fugu.conf: warning: management: no interface 'em7'"),
        "{err}"
    );
    assert_eq!(err.matches("warning").count(), 1, "{err}");
}

#[test]
fn check_warns_of_what_is_right_but_hardly_meant() {
    let dir = Scratch::new("lint");
    dir.write(
        "etc/hostname.em1",
        "inet 198.51.100.2/24\n!route add default 198.51.100.1\n",
    );
    dir.write("etc/mygate", "192.0.2.254\n");
    dir.write(
        "etc/pf.conf",
        "block\npass in quick on em0\npass in on em0 proto tcp to port 22\npass in on em1 proto tcp to port 80\n",
    );
    let etc = dir.path("etc");
    let checked = fuguctl(&["check", &etc]);
    assert_eq!(checked.status, 0, "{}", checked.err);
    let shadowed = "pf.conf:3:1: warning: no packet reaches this rule: pf.conf:2 takes them all\n \
         3 | pass in on em0 proto tcp to port 22\n   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ pass in quick on em0 all flags S/SA\n";
    assert!(checked.err.contains(shadowed), "{}", checked.err);
    let reply = "pf.conf:4:1: warning: connections come in on em1, but their answers leave by em0, where the default route is\n";
    assert!(checked.err.contains(reply), "{}", checked.err);
    assert!(
        checked.err.contains(" add: reply-to 198.51.100.1\n"),
        "{}",
        checked.err
    );
    let json = fuguctl(&["check", "--json", &etc]).out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let codes: Vec<&str> = value["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|d| d["code"].as_str())
        .collect();
    assert!(
        codes.contains(&"shadowed-rule") && codes.contains(&"no-reply-to"),
        "{codes:?}"
    );
}
