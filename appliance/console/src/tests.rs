//! Sessions at the console, as a terminal shows them.

use super::*;

use control::fake::Fake;
use proptest::prelude::*;

/// A terminal of so many columns, with all that scrolled off.
struct Terminal {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    bells: usize,
}

impl Terminal {
    fn new() -> Self {
        Terminal {
            lines: vec![Vec::new()],
            row: 0,
            column: 0,
            bells: 0,
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        for c in String::from_utf8_lossy(bytes).chars() {
            match c {
                '\r' => self.column = 0,
                '\n' => {
                    self.row += 1;
                    self.lines
                        .resize(self.lines.len().max(self.row + 1), Vec::new());
                }
                '\x08' => self.column = self.column.checked_sub(1).expect("backspace in column 0"),
                '\x07' => self.bells += 1,
                c => {
                    let line = &mut self.lines[self.row];
                    line.resize(line.len().max(self.column + 1), ' ');
                    line[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }

    /// All lines, without blanks at their ends.
    fn text(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|l| l.iter().collect::<String>().trim_end().to_string())
            .collect()
    }

    fn last(&self) -> String {
        self.text().pop().unwrap()
    }
}

struct Session {
    console: Console,
    api: Fake,
    terminal: Terminal,
    now: Duration,
}

impl Session {
    fn on(mut api: Fake) -> Self {
        let mut console = Console::new(ROWS, COLUMNS, Box::new(|bytes| bytes.fill(9)));
        console.start(&mut api);
        let mut session = Session {
            console,
            api,
            terminal: Terminal::new(),
            now: Duration::ZERO,
        };
        session.settle();
        session
    }

    fn new() -> Self {
        Session::on(Fake::default())
    }

    fn settle(&mut self) {
        let out = self.console.take_output();
        self.terminal.show(&out);
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.console.feed(text.as_bytes(), &mut self.api, self.now);
        self.settle();
        self
    }

    /// Types a line and returns what is printed for it, without the next prompt.
    fn answer(&mut self, line: &str) -> Vec<String> {
        let before = self.terminal.row;
        self.types(&format!("{line}\r"));
        let text = self.terminal.text();
        text[before + 1..self.terminal.row].to_vec()
    }
}

fn many_rules(n: u32) -> Fake {
    let mut api = Fake::default();
    let rule = api.rules[0].clone();
    api.rules = (0..n)
        .map(|nr| control::api::RuleView {
            nr,
            text: format!("block in on vio{nr} all"),
            ..rule.clone()
        })
        .collect();
    api
}

#[test]
fn a_session_begins_with_a_prompt() {
    let s = Session::new();
    assert_eq!(
        s.terminal.text(),
        ["", "Fugu 0.1.0 on fw1", "help lists the commands.", "fw1>"]
    );
    assert_eq!(s.terminal.column, 5);
}

#[test]
fn a_previous_death_is_told() {
    let mut api = Fake::default();
    api.status.epitaph = Some("worker 0: assertion".into());
    let s = Session::on(api);
    assert!(
        s.terminal
            .text()
            .contains(&"The previous run died: worker 0: assertion".to_string())
    );
}

#[test]
fn commands_print_and_the_prompt_comes_back() {
    let mut s = Session::new();
    assert_eq!(s.answer("version"), ["Fugu 0.1.0"]);
    assert_eq!(s.answer("uptime"), ["up 1 day, 02:03:04"]);
    assert_eq!(s.answer(""), [""; 0]);
    assert_eq!(
        s.answer("pfctl -ss"),
        [
            "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED",
            "all udp 2001:db8::1[5353] -> 2001:db8::2[53]       SINGLE:MULTIPLE"
        ]
    );
    assert_eq!(s.terminal.last(), "fw1>");
    assert_eq!(s.answer("show log"), ["forwarding", "vio1: link down"]);
    assert_eq!(
        s.answer("show drops"),
        ["short                                  1"]
    );
    assert_eq!(
        s.answer("show status"),
        [
            "Fugu 0.1.0 on fw1, up 1 day, 02:03:04",
            "forwarding   yes",
            "policy       generation 3, from token, sha256:00ff",
            "states       2 of 100000",
            "buffers      512 of 8192 in use",
            "worker 0     cpu 1, 25% busy, 150 packets, generation 3",
            "uploads      0 refused",
        ]
    );
}

#[test]
fn every_show_command_has_json() {
    let mut s = Session::new();
    s.types("pager off\r");
    for command in [
        "pfctl -sr",
        "pfctl -ss",
        "pfctl -si",
        "ifconfig",
        "ifconfig vio0",
        "route show",
        "netstat -i",
        "netstat -r",
        "arp -a",
        "ndp -a",
        "show status",
        "show log",
        "show drops",
        "version",
        "uptime",
    ] {
        let out = s.answer(&format!("{command} --json")).join("\n");
        assert!(
            serde_json::from_str::<serde_json::Value>(&out).is_ok(),
            "{command}: {out}"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    let mut s = Session::new();
    for (line, says) in [
        (
            "pfclt -sr",
            "'pfclt': no such command; did you mean 'pfctl'?",
        ),
        (
            "configure",
            "'configure': no such command; help lists what there is",
        ),
        (
            "help me",
            "help: 'me': no such command; help lists what there is",
        ),
        ("version now", "version: 'now' is too much"),
        ("reboot now", "reboot: 'now' is too much"),
        ("show", "show: a word is missing; status, log or drops"),
        (
            "show stats",
            "show: 'stats' cannot be shown; did you mean 'status'?",
        ),
        ("show log all", "show: 'all' is too much"),
        ("ping", "ping: the address is missing"),
        (
            "ping -c 0 192.0.2.1",
            "ping: -c: '0' is not a number from 1 to 999",
        ),
        ("ping -c", "ping: -c: '' is not a number from 1 to 999"),
        (
            "ping -f 192.0.2.1",
            "ping: '-f' is no option; there is -c COUNT",
        ),
        ("ping gw", "ping: 'gw' is not an IP address"),
        ("token", "token: a word is missing; set or clear"),
        (
            "token sett",
            "token: 'sett' is not understood; did you mean 'set'?",
        ),
        (
            "token set hunter2hunter2",
            "token: set: the token is asked for, not given in the command",
        ),
        ("key delete x", "key: 'delete' is not understood"),
        (
            "key remove 0123",
            "key: remove: '0123' is not trusted anyway",
        ),
        ("pager maybe", "pager: 'maybe' is neither on nor off"),
        ("resize 24", "resize: COLUMNS is missing"),
        ("resize 24 7", "resize: '7' is not a number from 20 to 500"),
        (
            "management vio7 192.0.2.1/24",
            "management: 'vio7': no such interface; did you mean 'vio0'?",
        ),
        (
            "management vio0 192.0.2.1",
            "management: '192.0.2.1': the prefix length is missing, as in 192.0.2.1/24",
        ),
        (
            "management vio0 192.0.2.1/24 192.0.3.1",
            "management: '192.0.3.1' is not in the network of 192.0.2.1/24",
        ),
        ("| count", "'|': a command is missing before it"),
        (
            "version | cuont",
            "'cuont' is no filter; did you mean 'count'?; there are match PATTERN and count",
        ),
    ] {
        assert_eq!(s.answer(line), [says], "{line}");
    }
    assert!(s.api.done.is_empty());
}

#[test]
fn pipes_match_and_count() {
    let mut s = Session::on(many_rules(100));
    assert_eq!(s.answer("pfctl -sr | match vio1$"), [""; 0]);
    assert_eq!(
        s.answer("pfctl -sr | match \"vio1 all\""),
        ["block in on vio1 all"]
    );
    assert_eq!(s.answer("pfctl -sr | count"), ["100"]);
    assert_eq!(s.answer("pfctl -sr | match vio9 | count"), ["11"]);
}

#[test]
fn help_fits_a_screen_and_explains_each_command() {
    let mut s = Session::new();
    let lines = s.answer("help");
    assert!(lines.len() < usize::from(ROWS), "{} lines", lines.len());
    assert!(lines.iter().all(|l| l.len() < usize::from(COLUMNS)));
    for command in commands::COMMANDS {
        s.types("pager off\r");
        let lines = s.answer(&format!("help {}", command.name));
        assert!(
            lines[0].starts_with(&format!("usage: {}", command.name)),
            "{lines:?}"
        );
        assert_eq!(lines[1], command.summary);
    }
}

#[test]
fn editing_shows_what_is_meant() {
    let mut s = Session::new();
    s.types("vershun\x08\x08\x08ion");
    assert_eq!(s.terminal.last(), "fw1> version");
    s.types("\x01pf\x05!\x1b[D\x1b[D");
    assert_eq!(
        (s.terminal.last().as_str(), s.terminal.column),
        ("fw1> pfversion!", 13)
    );
    s.types("\x15");
    assert_eq!(
        (s.terminal.last().as_str(), s.terminal.column),
        ("fw1> n!", 5)
    );
    s.types("\x03");
    assert_eq!(s.terminal.text().iter().rev().nth(1).unwrap(), "fw1> ^C");
    assert_eq!(s.terminal.last(), "fw1>");
    s.types("uptime\rversion\r\x1b[A\x1b[A");
    assert_eq!(s.terminal.last(), "fw1> uptime");
    s.types("\x03\x12ver");
    assert_eq!(s.terminal.last(), "(search) ver: version");
    s.types("\r");
    assert!(
        s.terminal
            .text()
            .iter()
            .rev()
            .nth(1)
            .unwrap()
            .contains("Fugu 0.1.0")
    );
}

#[test]
fn a_long_line_scrolls_within_its_row() {
    let mut s = Session::new();
    let long: String = (0..200)
        .map(|i| char::from(b'a' + (i % 26) as u8))
        .collect();
    s.types(&long);
    let row = s.terminal.row;
    assert!(s.terminal.lines[row].len() < usize::from(COLUMNS));
    assert_eq!(s.console.editor.text(), long);
    assert!(
        s.terminal.last().ends_with(&long[180..]),
        "{}",
        s.terminal.last()
    );
    s.types("\x01");
    assert!(s.terminal.last().starts_with("fw1> abcdefgh"));
    assert_eq!((s.terminal.row, s.terminal.column), (row, 5));
}

#[test]
fn a_typed_character_costs_a_byte() {
    let mut s = Session::new();
    s.console.feed(b"pfctl -s", &mut s.api, s.now);
    assert_eq!(s.console.take_output(), b"pfctl -s");
    s.console.feed(b"\x7f", &mut s.api, s.now);
    assert_eq!(s.console.take_output(), b"\x08 \x08");
}

#[test]
fn tab_completes_commands_options_and_names() {
    let mut s = Session::new();
    for (typed, line) in [
        ("pf\t", "fw1> pfctl"),
        ("ifconfig vio\t", "fw1> ifconfig vio"),
        ("ifconfig vio1\t", "fw1> ifconfig vio1"),
        ("pfctl -t b\t", "fw1> pfctl -t bruteforce"),
        ("pfctl -s la\t", "fw1> pfctl -s labels"),
        ("route s\t-inet6\t", "fw1> route show -inet6"),
        ("pfctl -sr | m\t", "fw1> pfctl -sr | match"),
        ("show st\t", "fw1> show status"),
    ] {
        s.types(typed);
        assert_eq!(s.terminal.last(), line, "{typed:?}");
        s.types("\x15\x0b");
    }
    let bells = s.terminal.bells;
    s.types("zz\t");
    assert_eq!(s.terminal.bells, bells + 1);
}

#[test]
fn a_second_tab_and_a_question_mark_list_what_there_is() {
    let mut s = Session::new();
    s.types("p\t");
    let text = s.terminal.text();
    assert_eq!(
        &text[text.len() - 3..],
        ["fw1> p", "pfctl  ping   pager", "fw1> p"]
    );
    s.types("\x15netstat ?");
    let text = s.terminal.text();
    assert_eq!(
        &text[text.len() - 6..],
        [
            "fw1> netstat",
            "  -i           interface counters",
            "  -r           routes",
            "  -s           statistics",
            "  --json       as JSON",
            "fw1> netstat"
        ]
    );
    assert_eq!(s.terminal.column, 13);
    s.types("\x15version zz?");
    assert!(
        s.terminal
            .text()
            .iter()
            .any(|l| l.contains("Nothing that is known"))
    );
}

#[test]
fn names_beyond_ascii_are_left_alone() {
    let mut s = Session::new();
    s.api.tables[0].name = "büro".into();
    s.types("pfctl -t b\t");
    assert_eq!(s.terminal.last(), "fw1> pfctl -t b");
}

#[test]
fn a_question_mark_in_a_pattern_is_a_question_mark() {
    let mut s = Session::new();
    s.types("version | match a?");
    assert_eq!(s.terminal.last(), "fw1> version | match a?");
    s.types("\x15\"?");
    assert_eq!(s.terminal.last(), "fw1> \"?");
}

#[test]
fn long_output_stops_at_each_screen() {
    let mut s = Session::on(many_rules(60));
    s.types("pfctl -sr\r");
    assert_eq!(s.terminal.last(), "--More--");
    let shown = |s: &Session| {
        s.terminal
            .text()
            .iter()
            .filter(|l| l.starts_with("block"))
            .count()
    };
    assert_eq!(shown(&s), 23);
    s.types("\r");
    assert_eq!(shown(&s), 24);
    s.types(" ");
    assert_eq!((shown(&s), s.terminal.last().as_str()), (47, "--More--"));
    s.types("x");
    assert_eq!(shown(&s), 47);
    s.types(" ");
    assert_eq!((shown(&s), s.terminal.last().as_str()), (60, "fw1>"));
    assert!(!s.terminal.text().iter().any(|l| l.contains("--More--b")));
    s.types("pfctl -sr\rq");
    assert_eq!((shown(&s), s.terminal.last().as_str()), (83, "fw1>"));
    s.types("pager off\rpfctl -sr\r");
    assert_eq!((shown(&s), s.terminal.last().as_str()), (143, "fw1>"));
}

#[test]
fn output_of_exactly_a_screen_does_not_stop() {
    for (rules, last) in [(22, "fw1>"), (23, "fw1>"), (24, "--More--")] {
        let mut s = Session::on(many_rules(rules));
        s.types("pfctl -sr\r");
        assert_eq!(s.terminal.last(), last, "{rules}");
    }
}

#[test]
fn messages_do_not_disturb_the_line_being_edited() {
    let mut s = Session::new();
    s.types("pfctl -ss\x1b[D\x1b[D");
    s.console.print_async("vio0: link down\nvio0: link up");
    s.settle();
    let text = s.terminal.text();
    assert_eq!(
        &text[text.len() - 3..],
        ["vio0: link down", "vio0: link up", "fw1> pfctl -ss"]
    );
    assert_eq!(s.terminal.column, 12);
    s.types("v");
    assert_eq!(s.terminal.last(), "fw1> pfctl -vss");
}

#[test]
fn messages_do_not_disturb_the_pager_or_a_secret() {
    let mut s = Session::on(many_rules(60));
    s.types("pfctl -sr\r");
    s.console.print_async("vio0: link down");
    s.settle();
    assert_eq!(s.terminal.last(), "--More--");
    s.types("qtoken set\rsecret-secret");
    s.console.print_async("vio0: link up");
    s.settle();
    assert_eq!(s.terminal.last(), "New token (empty generates one):");
    assert!(!s.terminal.text().join("").contains("secret-secret"));
}

#[test]
fn ping_prints_as_it_goes_and_sums_up() {
    let mut s = Session::new();
    s.types("ping -c 2 192.0.2.254\r");
    for _ in 0..5 {
        s.now += PING_STEP;
        s.console.poll(s.now, &mut s.api);
    }
    s.settle();
    let text = s.terminal.text();
    assert_eq!(
        &text[4..],
        [
            "PING 192.0.2.254 (192.0.2.254): 56 data bytes",
            "64 bytes from 192.0.2.254: icmp_seq=0 ttl=255 time=1.234 ms",
            "no answer from 192.0.2.254: icmp_seq=1",
            "--- 192.0.2.254 ping statistics ---",
            "2 packets transmitted, 1 packets received, 50.0% packet loss",
            "round-trip min/avg/max/std-dev = 1.234/1.234/1.234/0.000 ms",
            "fw1>",
        ]
    );
    assert_eq!(s.api.done, ["ping 192.0.2.254 2"]);
}

#[test]
fn ping_is_stopped_by_control_c() {
    let mut s = Session::new();
    s.types("ping 192.0.2.254\rx");
    s.console.poll(s.now, &mut s.api);
    assert!(s.console.poll_at(s.now).is_some());
    s.types("\x03");
    assert_eq!(s.api.done, ["ping 192.0.2.254 65535", "ping stop"]);
    assert_eq!(s.terminal.last(), "fw1>");
    assert_eq!(s.console.poll_at(s.now), None);
    s.api.ping = Err("this box has no IPv6 address to ping ::2 from".into());
    assert_eq!(
        s.answer("ping ::2"),
        ["ping: this box has no IPv6 address to ping ::2 from"]
    );
}

/// These showed an empty list, or what was there of it, and nothing else.
#[test]
fn a_list_that_is_not_whole_says_so_in_its_last_line() {
    let mut s = Session::new();
    s.types("pager off\r");
    s.api.lack = Some("worker 1 does not answer".into());
    for command in [
        "pfctl -ss",
        "pfctl -ss --json",
        "arp -a",
        "ndp -a --json",
        "bridge",
    ] {
        let name = command.split(' ').next().unwrap();
        let said = format!("{name}: the list is not complete: worker 1 does not answer");
        assert_eq!(s.answer(command).pop(), Some(said), "{command}");
    }
    assert_eq!(
        s.answer("arp 192.0.2.99"),
        ["arp: 192.0.2.99 -- no entry, but the list is not complete: worker 1 does not answer"]
    );
    assert_eq!(
        s.answer("arp -d 192.0.2.99"),
        ["arp: 192.0.2.99 is not deleted: worker 1 does not answer"]
    );
    s.api.status.workers[0].stalled = true;
    let status = s.answer("show status");
    let line = status.iter().find(|l| l.starts_with("worker 0"));
    assert!(
        line.is_some_and(|l| l.contains("STANDS STILL")),
        "{status:?}"
    );
}

#[test]
fn a_kill_is_left_to_itself_with_control_c() {
    let mut s = Session::new();
    let kill = |killed, percent| control::fake::kill(killed, percent == 100, percent);
    s.api.kills = vec![kill(1, 0), kill(2, 10), kill(3, 20)];
    s.types("pfctl -F states\r");
    assert!(s.console.poll_at(s.now).is_some());
    s.types("\x03");
    let text = s.terminal.text();
    assert_eq!(
        &text[text.len() - 4..],
        [
            "killed 2 states so far, 10% of the table looked at",
            "^C",
            "killed 3 states so far, 20% of the table looked at; it goes on, pfctl -s kills shows it",
            "fw1>",
        ]
    );
    assert_eq!(s.console.poll_at(s.now), None);
    // It was done when ^C came, or is done the next time anybody looks.
    for answers in [
        vec![kill(1, 0), kill(2, 10), kill(4, 100)],
        vec![kill(1, 0), kill(4, 100)],
    ] {
        s.api.kills = answers;
        s.types("pfctl -F states\r\x03");
        let text = s.terminal.text();
        assert!(text.contains(&"4 states cleared".to_string()), "{text:?}");
        s.types("\x03");
    }
}

#[test]
fn the_terminal_is_asked_for_its_size() {
    let mut s = Session::new();
    s.console.feed(b"resize\r", &mut s.api, s.now);
    assert!(s.console.take_output().ends_with(b"\x1b[6n\x1b8"));
    s.types("\x1b[50;132R");
    assert_eq!((s.console.rows, s.console.columns), (50, 132));
    s.types("\r");
    assert!(s.terminal.text().iter().any(|l| l.contains("132x50")));
    s.console.feed(b"resize\r", &mut s.api, s.now);
    s.console.poll(s.now + SIZE_WAIT, &mut s.api);
    let out = String::from_utf8(s.console.take_output()).unwrap();
    assert!(
        out.contains("does not tell its size; 132x50 stays."),
        "{out}"
    );
    s.types("resize 30 90\r");
    assert_eq!((s.console.rows, s.console.columns), (30, 90));
}

#[test]
fn tokens_are_typed_twice_unseen_or_made_and_shown_once() {
    let mut s = Session::new();
    s.types("token set\rshort\r");
    assert!(
        s.terminal
            .text()
            .contains(&"A token has 16 to 128 characters, not 5.".to_string())
    );
    s.types(
        "correct-horse-battery\rsomething-else\rcorrect-horse-battery\rcorrect-horse-battery\r",
    );
    let text = s.terminal.text();
    assert!(text.contains(&"The two are not the same.".to_string()));
    assert!(text.contains(&"The token is set.".to_string()));
    assert!(!text.join("").contains("horse"));
    assert_eq!(s.api.done, ["token \"correct-horse-battery\""]);
    s.types("\x1b[A\x1b[A");
    assert_eq!(
        s.terminal.last(),
        "fw1> token set",
        "a secret is not in the history"
    );
    s.types("\x15token set\r\r");
    let token = format!("fugu_{}", "j".repeat(32));
    assert!(s.terminal.text().contains(&format!("  {token}")));
    assert_eq!(s.api.done[1], format!("token {token:?}"));
}

#[test]
fn second_thoughts() {
    for (command, done) in [
        ("reboot", "reboot"),
        ("halt", "halt"),
        ("token clear", "token \"\""),
    ] {
        for (answer, happens) in [
            ("\r", false),
            ("n\r", false),
            ("what\r", false),
            ("\x03", false),
            ("y\r", true),
        ] {
            let mut s = Session::new();
            s.types(&format!("{command}\r{answer}"));
            let expected: &[&str] = if happens { &[done] } else { &[] };
            assert_eq!(s.api.done, expected, "{command} {answer:?}");
            assert_eq!(s.terminal.last(), "fw1>");
        }
    }
}

#[test]
fn keys_are_pasted_listed_and_removed() {
    let mut s = Session::new();
    assert_eq!(s.answer("key list"), ["No key is trusted."]);
    s.types("key add\runtrusted comment: ops\r\nRWQxyz\r\n");
    assert_eq!(s.api.done, ["trust \"untrusted comment: ops\\nRWQxyz\\n\""]);
    assert_eq!(s.answer("key list"), ["0123456789abcdef  test key"]);
    s.types("key remove 0123456789abcdef\ry\r");
    assert_eq!(s.api.done[1], "distrust 0123456789abcdef");
    s.api.refuse_change = Some("not base64".into());
    assert_eq!(
        s.answer("key add xyz"),
        ["The key is not trusted: not base64"]
    );
}

#[test]
fn the_replay_floor_is_shown_and_reset_when_asked_twice() {
    let mut s = Session::new();
    assert_eq!(
        s.answer("key floor"),
        ["Signed bundles must be later than 2026-11-21T22:15:16Z."]
    );
    s.types("key floor reset\rn\r");
    assert!(s.api.done.is_empty());
    s.types("key floor reset\ry\r");
    assert_eq!(s.api.done, ["reset replay floor"]);
    assert_eq!(
        s.answer("key floor"),
        ["No signed bundle was accepted yet; any date will do."]
    );
}

#[test]
fn the_wizard_asks_checks_sums_up_and_applies() {
    let mut api = Fake {
        wizard: true,
        ..Fake::default()
    };
    api.interfaces[0].link = false;
    let mut s = Session::on(api);
    assert_eq!(
        s.terminal.text()[2..],
        [
            "Nothing is configured yet, so everything is blocked.",
            "This sets the address at which the box is managed. ^C leaves without any change.",
            "",
            "Ports:",
            "  vio0     52:54:00:00:00:01  no link          0000:00:03.0 net_virtio",
            "  vio1     52:54:00:00:00:02  link, 1000 Mb/s  0000:00:04.0 net_virtio",
            "",
            "Management interface [vio1]:",
        ]
    );
    s.types("em0\r");
    assert!(
        s.terminal
            .text()
            .contains(&"'em0' is not one of the ports: vio0 vio1".to_string())
    );
    s.types("\r192.0.2.1\r192.0.2.1/24\r10.0.0.1\r192.0.2.254\r");
    assert_eq!(
        s.terminal.last(),
        "Token for the API (empty generates one):"
    );
    let before = s.terminal.row;
    s.types("\r");
    assert_eq!(
        s.terminal.text()[before + 1..],
        [
            "",
            "  interface  vio1",
            "  address    192.0.2.1/24",
            "  gateway    192.0.2.254",
            "  token      will be generated and shown once",
            "",
            "Apply this? [Y/n]"
        ]
    );
    assert!(s.api.done.is_empty());
    s.types("\r");
    assert_eq!(s.api.done[0], "management vio1 192.0.2.1/24 192.0.2.254");
    assert!(s.api.done[1].starts_with("token \"fugu_"));
    assert_eq!(s.terminal.last(), "fw1>");
}

#[test]
fn the_wizard_can_be_left_and_restarted_and_takes_a_typed_token() {
    let mut s = Session::on(Fake {
        wizard: true,
        ..Fake::default()
    });
    s.types("\r\x03");
    assert!(
        s.terminal
            .text()
            .contains(&"Nothing was changed. setup starts again.".to_string())
    );
    assert_eq!(s.terminal.last(), "fw1>");
    s.types("setup\r\r2001:db8::5/64\r\rcorrect-horse-battery\rcorrect-horse-battery\rn\r");
    assert!(s.api.done.is_empty());
    s.types("setup\r\r2001:db8::5/64\r\rcorrect-horse-battery\rcorrect-horse-battery\ry\r");
    assert_eq!(
        s.api.done,
        [
            "management vio0 2001:db8::5/64 none",
            "token \"correct-horse-battery\""
        ]
    );
    assert!(!s.terminal.text().join("").contains("horse"));
    assert!(
        s.terminal
            .text()
            .iter()
            .any(|l| l.contains("fuguctl push http://[2001:db8::5] BUNDLE"))
    );
}

#[test]
fn what_the_box_says_cannot_move_the_cursor() {
    let mut api = Fake::default();
    api.status.hostname = "\x1b[2Jfw\r".into();
    api.log = vec!["a\x1b[31mb\x07".into()];
    let mut s = Session::on(api);
    assert_eq!(s.answer("show log"), ["a?[31mb?"]);
    assert!(!s.console.prompt.contains('\x1b'));
}

#[test]
fn exit_begins_anew_without_history() {
    let mut s = Session::new();
    s.types("version\rexit\r");
    assert_eq!(s.terminal.last(), "fw1>");
    s.types("\x1b[A");
    assert_eq!(s.terminal.last(), "fw1>");
    s.types("\x04");
    assert_eq!(
        s.terminal
            .text()
            .iter()
            .filter(|l| l.contains("help lists"))
            .count(),
        3
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn arbitrary_bytes_never_panic_and_the_line_stays_in_its_row(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::sample::select(vec![
                "pfctl -ss", "ifconfig ", "\r", "\t", "?", "\x1b[A", "\x1b[D", "\x12", "\x03", "\x04", "setup\r", "token set\r",
                "ping 192.0.2.1\r", " ", "|", "match .*", "\x1b[99;20R", "resize\r", "key add\r", "help\r", "\x0b", "\x17",
            ]).prop_map(|s| s.as_bytes().to_vec()),
        ], 0..40),
    ) {
        let mut api = many_rules(40);
        let mut console = Console::new(ROWS, COLUMNS, Box::new(|_| {}));
        console.start(&mut api);
        for (i, piece) in pieces.iter().enumerate() {
            let now = Duration::from_millis(100 * i as u64);
            console.feed(piece, &mut api, now);
            console.poll(now, &mut api);
            if i % 7 == 0 {
                console.print_async("a message");
            }
            let (line, column) = console.bottom_line();
            prop_assert!(line.len() < usize::from(console.columns) && column <= line.len());
            console.take_output();
        }
    }
}

#[test]
fn rules_of_an_anchor_are_pasted_and_flushed() {
    let mut s = Session::new();
    s.types("pfctl -a foo -f -\rpass in\rblock out\r.\r");
    s.types("pfctl -a bar -F rules\r");
    let set = |path: &str, text: &str| (path.to_string(), text.to_string());
    assert_eq!(
        s.api.anchors_set,
        [set("foo", "pass in\nblock out\n"), set("bar", "")]
    );
    for (line, says) in [
        ("pfctl -f -", "the main rules come with a bundle"),
        ("pfctl -a foo -f /etc/x", "only - is possible here"),
    ] {
        let said = s.answer(line).join(" ");
        assert!(said.contains(says), "{line}: {said}");
    }
}
