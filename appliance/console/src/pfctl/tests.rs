//! `pfctl` on the console: what it prints for given facts, as OpenBSD prints it.

use super::states::state;
use super::*;
use control::api::Count;
use control::api::StateEnd;
use control::fake::Fake;

fn pfctl(line: &str) -> Result<String, String> {
    pfctl_on(&mut Fake::default(), line)
}

fn pfctl_on(api: &mut Fake, line: &str) -> Result<String, String> {
    match run(&crate::words::split(line), api)? {
        Output::Text(text) => Ok(text),
        _ => Err("no text".into()),
    }
}

fn check(line: &str, expected: &str) {
    let out = pfctl(line).unwrap();
    assert_eq!(out, expected, "pfctl {line}:\n{out}");
}

#[test]
fn rules_at_three_levels() {
    check(
        "-sr",
        "block return all\n\
         pass in on vio0 inet proto tcp from any to any port = 80 flags S/SA label \"web\"\n",
    );
    check(
        "-vsr",
        "block return all\n\
         \x20 [ Evaluations: 20        Packets: 15        Bytes: 1500        States: 0     ]\n\
         \x20 [ Inserted: uid 0 pid 1 State Creations: 0     ]\n\
         pass in on vio0 inet proto tcp from any to any port = 80 flags S/SA label \"web\"\n\
         \x20 [ Evaluations: 40        Packets: 30        Bytes: 3000        States: 1     ]\n\
         \x20 [ Inserted: uid 0 pid 1 State Creations: 3     ]\n",
    );
    let out = pfctl("-vvsr").unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        (lines[0], lines[3]),
        ("@0 block return all", "  [ From: pf.conf:1 ]")
    );
    assert_eq!(lines[7], "  [ From: pf.conf:2 ]");
}

#[test]
fn more_states_than_are_shown_are_told_of() {
    let mut api = Fake::default();
    api.states = vec![api.states[0].clone(); STATES_MAX];
    api.info.states = STATES_MAX as u64;
    let note = |api: &mut Fake| {
        let out = pfctl_on(api, "-ss").unwrap();
        out.lines()
            .last()
            .map(|l| l.starts_with("pfctl:").then(|| l.to_string()))
    };
    assert_eq!(note(&mut api), Some(None));
    api.info.states = 1_234_567;
    let said = "pfctl: the list is not complete: these are 100000 of 1234567 states";
    assert_eq!(note(&mut api), Some(Some(said.into())));
}

#[test]
fn states_at_three_levels() {
    check(
        "-ss",
        "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
         all udp 2001:db8::1[5353] -> 2001:db8::2[53]       SINGLE:MULTIPLE\n",
    );
    check(
        "-vvss",
        "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
         \x20  [2000 + 32768]  [1000 + 65535]\n\
         \x20  age 01:02:05, expires in 23:59:50, 10:8 pkts, 1000:800 bytes, rule 1\n\
         \x20  id: 000000005f000001 creatorid: 00000000 worker: 0\n\
         all udp 2001:db8::1[5353] -> 2001:db8::2[53]       SINGLE:MULTIPLE\n\
         \x20  age 01:02:05, expires in 23:59:50, 10:8 pkts, 1000:800 bytes, rule 1\n\
         \x20  id: 000000005f000001 creatorid: 00000000 worker: 0\n",
    );
}

#[test]
fn a_proxied_state_and_options_of_states_are_shown_as_pfctl_does() {
    let mut api = Fake::default();
    api.states.truncate(1);
    api.states[0].peers = ("PROXY:SRC".into(), "CLOSED".into());
    api.states[0].flags = vec!["sloppy", "pflow", "no-sync"];
    let out = state(&api.states[0], 1);
    assert!(out.contains("51000       PROXY:SRC\n"), "{out}");
    assert!(out.ends_with(", rule 1, sloppy, pflow\n"), "{out}");
}

#[test]
fn translations_stand_in_parentheses() {
    let mut api = Fake::default();
    let end = |addr: &str, port| StateEnd {
        addr: addr.parse().unwrap(),
        port,
        rdomain: 0,
    };
    api.states[0].translated_dst = Some(end("10.0.0.5", 8080));
    api.states[1].translated_src = Some(end("2001:db8:5::1", 5353));
    assert_eq!(
        pfctl_on(&mut api, "-ss").unwrap(),
        "all tcp 10.0.0.5:8080 (192.0.2.1:80) <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
         all udp 2001:db8::1[5353] (2001:db8:5::1[5353]) -> 2001:db8::2[53]       SINGLE:MULTIPLE\n"
    );
    let inside = |end: StateEnd| StateEnd { rdomain: 4, ..end };
    api.states[1].translated_src = Some(inside(end("2001:db8:5::1", 5353)));
    api.states[1].translated_dst = Some(inside(end("2001:db8::2", 53)));
    let out = pfctl_on(&mut api, "-ss").unwrap();
    assert!(
        out.ends_with(
            "all udp 2001:db8::1[5353] ((4) 2001:db8:5::1[5353]) -> 2001:db8::2[53] ((4) 2001:db8::2[53])       SINGLE:MULTIPLE\n"
        ),
        "{out}"
    );
    api.states.truncate(1);
    api.states[0].translated_src = Some(end("2001:db8::9", 51000));
    api.states[0].translated_dst = Some(end("2001:db8::5", 80));
    assert_eq!(
        pfctl_on(&mut api, "-ss").unwrap(),
        "all tcp 192.0.2.1:80 (2001:db8::5[80]) -> 198.51.100.7:51000 (2001:db8::9[51000])       \
         ESTABLISHED:ESTABLISHED\n"
    );
}

#[test]
fn the_originator_of_an_incoming_state_comes_last() {
    let mut api = Fake::default();
    api.states.truncate(1);
    api.states[0].peers = ("FIN_WAIT_2".into(), "ESTABLISHED".into());
    api.states[0].windows = Some([(1, 2, 3), (4, 5, 6)]);
    let out = pfctl_on(&mut api, "-vss").unwrap();
    let lines: Vec<&str> = out.lines().take(2).collect();
    assert_eq!(
        lines,
        [
            "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:FIN_WAIT_2",
            "   [4 + 5] wscale 6  [1 + 2] wscale 3"
        ]
    );
}

#[test]
fn info_as_openbsd_lays_it_out() {
    check(
        "-si",
        concat!(
            "Status: Enabled for 0 days 00:01:02              Debug: err\n",
            "\n",
            "State Table                          Total             Rate\n",
            "  current entries                        2               \n",
            "  half-open tcp                          1               \n",
            "  searches                             620           10.0/s\n",
            "  inserts                               31            0.5/s\n",
            "  removals                              29            0.5/s\n",
            "Counters\n",
            "  match                                 62            1.0/s\n",
            "  bad-offset                             0            0.0/s\n",
            "  short                                  1            0.0/s\n",
        ),
    );
}

#[test]
fn info_of_the_logged_interface() {
    let mut api = Fake::default();
    let mut interface = api.interfaces[0].clone();
    interface.pf[0][0][0] = Count {
        packets: 3,
        bytes: 300,
    };
    interface.pf[0][0][1] = Count {
        packets: 1,
        bytes: 60,
    };
    interface.pf[1][1][0] = Count {
        packets: 7,
        bytes: 700,
    };
    api.info.loginterface = Some(interface);
    let out = pfctl_on(&mut api, "-s info").unwrap();
    let block: Vec<&str> = out.lines().skip(2).take(10).collect();
    assert_eq!(
        block,
        [
            "Interface Stats for vio0              IPv4             IPv6",
            "  Bytes In                             360                0",
            "  Bytes Out                              0              700",
            "  Packets In",
            "    Passed                               3                0",
            "    Blocked                              1                0",
            "  Packets Out",
            "    Passed                               0                7",
            "    Blocked                              0                0",
            "",
        ]
    );
}

#[test]
fn tables_limits_timeouts_labels_interfaces() {
    check("-sT", "bruteforce\n");
    check("-vsT", "-pa-r--\tbruteforce\n");
    check(
        "-vvsT",
        concat!(
            "-pa-r--\tbruteforce\n",
            "\tAddresses:   2\n",
            "\tCleared:     01:01:01 ago\n",
            "\tReferences:  [ Anchors: 0                  Rules: 1                  ]\n",
            "\tEvaluations: [ NoMatch: 4                  Match: 6                  ]\n",
            "\tIn/Block:    [ Packets: 0                  Bytes: 0                  ]\n",
            "\tIn/Match:    [ Packets: 0                  Bytes: 0                  ]\n",
            "\tIn/Pass:     [ Packets: 0                  Bytes: 0                  ]\n",
            "\tIn/XPass:    [ Packets: 0                  Bytes: 0                  ]\n",
            "\tOut/Block:   [ Packets: 0                  Bytes: 0                  ]\n",
            "\tOut/Match:   [ Packets: 0                  Bytes: 0                  ]\n",
            "\tOut/Pass:    [ Packets: 0                  Bytes: 0                  ]\n",
            "\tOut/XPass:   [ Packets: 0                  Bytes: 0                  ]\n",
        ),
    );
    check("-t bruteforce -T show", "   10.0.0.0/8\n  !10.1.0.0/16\n");
    check("-tbruteforce -Tshow", "   10.0.0.0/8\n  !10.1.0.0/16\n");
    check(
        "-sm",
        "states        hard limit   100000\nsrc-nodes     hard limit    10000\n",
    );
    check(
        "-st",
        "tcp.first                   120s\nadaptive.start            60000 states\n",
    );
    check("-sl", "web 40 30 3000 20 2000 10 1000 3\n");
    check("-sI", "vio0\nvio1\n");
    check("-sI -i vio1", "vio1\n");
    check("-sq", "");
}

#[test]
fn options_combine_as_pfctl_takes_them() {
    let rules = pfctl("-sr").unwrap();
    for line in ["-s rules", "-srules", "-s r", "-nsr", "-N -q -sr"] {
        assert_eq!(pfctl(line).unwrap(), rules, "{line}");
    }
    assert_eq!(pfctl("-v -v -s r"), pfctl("-vvsr"));
    assert_eq!(pfctl("-sr -ss").unwrap(), rules + &pfctl("-ss").unwrap());
    assert_ne!(pfctl("-ss"), pfctl("-sS"), "case tells states from Sources");
}

#[test]
fn all_has_titles_and_json_is_json() {
    let out = pfctl("-sa").unwrap();
    let titles: Vec<&str> = out.lines().filter(|l| l.ends_with(':')).collect();
    assert_eq!(
        titles,
        [
            "FILTER RULES:",
            "STATES:",
            "INFO:",
            "LABEL COUNTERS:",
            "TIMEOUTS:",
            "LIMITS:",
            "TABLES:"
        ]
    );
    for line in [
        "-sr",
        "-ss",
        "-si",
        "-sT",
        "-st",
        "-sm",
        "-t bruteforce -T show",
    ] {
        let out = pfctl(&format!("{line} --json")).unwrap();
        assert!(
            serde_json::from_str::<serde_json::Value>(&out).is_ok(),
            "{line}: {out}"
        );
    }
}

#[test]
fn errors_name_the_word_that_is_wrong() {
    for (line, says) in [
        (
            "",
            "pfctl: nothing to do; -s shows things, such as -sr, -ss, -si",
        ),
        ("-s", "pfctl: -s: a word is missing after it"),
        (
            "-s rulez",
            "pfctl: -s: 'rulez' cannot be shown; did you mean 'rules'?",
        ),
        ("rules", "pfctl: 'rules' is no option"),
        ("-vxs r", "pfctl: '-x' in '-vxs' is no option"),
        ("-d", "pfctl: '-d' in '-d': the filter is always enabled"),
        (
            "-T show",
            "pfctl: -T: the table is missing; name it with -t",
        ),
        (
            "-t bruteforce",
            "pfctl: -t: what to do with it is missing; -T show",
        ),
        (
            "-t brutforce -T show",
            "pfctl: 'brutforce': Table does not exist.; did you mean 'bruteforce'?",
        ),
        (
            "-t bruteforce -T load",
            "pfctl: -T: 'load' is no command for a table",
        ),
    ] {
        assert_eq!(pfctl(line), Err(says.to_string()), "{line}");
    }
}

#[test]
fn addresses_that_have_counted_show_it_and_others_show_since_when() {
    let mut api = Fake::default();
    let mut counts = [[Count::default(); 3]; 2];
    counts[0][2] = Count {
        packets: 12,
        bytes: 3456,
    };
    api.tables[0].counts[0] = Some(counts);
    let out = pfctl_on(&mut api, "-t bruteforce -T show -v").unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 10);
    for (at, line) in [
        (0, "   10.0.0.0/8"),
        (1, "\tCleared:     00:01:00 ago"),
        (
            4,
            "\tIn/Pass:     [ Packets: 12                 Bytes: 3456               ]",
        ),
        (
            7,
            "\tOut/Pass:    [ Packets: 0                  Bytes: 0                  ]",
        ),
        (8, "  !10.1.0.0/16"),
        (9, "\tCleared:     00:01:00 ago"),
    ] {
        assert_eq!(lines[at], line);
    }
}

#[test]
fn a_limit_that_is_none_is_called_so() {
    let mut api = Fake {
        limits: vec![("src-nodes".into(), u32::MAX.into())],
        ..Fake::default()
    };
    assert_eq!(
        pfctl_on(&mut api, "-sm").unwrap(),
        "src-nodes     unlimited\n"
    );
}
