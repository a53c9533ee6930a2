//! The commands: names, help, completion, and what each does. Commands of BSD keep their names, options and output;
//! what is Fugu's own is marked so in `docs/console.md`.

mod access;
mod show;

use std::net::IpAddr;

use control::api::Api;

use self::access::{key, management, token};
use self::show::{show, uptime, version};
use crate::bridge;
use crate::dialog::{Action, Setup};
use crate::explain;
use crate::follow::Follow;
use crate::json::without_json;
use crate::net;
use crate::netchange;
use crate::output::Output;
use crate::pfctl;
use crate::tcpdump::{self, Begun};
use crate::words::did_you_mean;

/// Echo requests of `ping -c` at most: a quarter of an hour. Without -c it runs until ^C.
const PINGS_MAX: u16 = 999;

/// A suggestion and what it means.
pub(crate) type Candidates = Vec<(String, &'static str)>;

type Run = fn(&[String], &mut dyn Api) -> Result<Output, String>;
type Complete = fn(&[String], &mut dyn Api) -> Candidates;

/// One command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    usage: &'static str,
    pub(crate) summary: &'static str,
    details: &'static str,
    run: Run,
    complete: Complete,
}

/// All of them, in the order of `help`.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "help",
        usage: "help [COMMAND]",
        summary: "list the commands, or explain one",
        details: "Tab completes, ? lists what can come next.\n\
                  After any command: | match PATTERN shows lines that match, | count counts them.\n\
                  In a pattern ^ and $ are the ends of the line, . is any character, * repeats the one before.",
        run: help,
        complete: |_, _| {
            COMMANDS
                .iter()
                .map(|c| (c.name.to_string(), c.summary))
                .collect()
        },
    },
    Command {
        name: "pfctl",
        usage: "pfctl [-v] -s WHAT [-i IF] [--json]  |  pfctl -t TABLE -T COMMAND ADDRESS  |  pfctl -a ANCHOR -f -",
        summary: "show rules, states, counters and tables; edit tables, kill states",
        details: "-sr rules, -ss states, -si info, -sT Tables, -st timeouts, -sm memory, -sl labels, -sI Interfaces, -sa all.\n\
                  -sS Sources, -sL Limiters. -v adds counters, -vv numbers and ids: pfctl -vvsr.\n\
                  -t T -T add, delete, replace, flush, test, zero, expire. -k kills states, -K source nodes,\n\
                  -F states, Sources or Tables clears them all. -s kills shows how far kills are.\n\
                  -sA anchors; -a ANCHOR -f - takes rules for an anchor, -a ANCHOR -F rules empties it.",
        run: pfctl::command,
        complete: pfctl::completions,
    },
    Command {
        name: "ifconfig",
        usage: "ifconfig [IF | GROUP] [--json]  |  ifconfig IF WORDS  |  ifconfig -g GROUP [[-]carpdemote [N]]",
        summary: "show interfaces, or change one until the next apply",
        details: "WORDS are those of hostname.IF: up, down, mtu N, group G, -group G, inet ADDR/BITS [alias], inet ADDR delete.\n\
                  show status lists what was changed; netstart takes it back.",
        run: |words, api| net::ifconfig(words, api).map(Output::Text),
        complete: |_, api| interface_names(api),
    },
    Command {
        name: "bridge",
        usage: "bridge [BRIDGE] [--json]  |  bridge BRIDGE addr | flush | flushall | deladdr ADDR | WORDS",
        summary: "show which stations are behind bridges, or forget them",
        details: "With words after the bridge it is ifconfig. flush forgets what was learned, flushall static stations too.",
        run: bridge_or_ifconfig,
        complete: |before, api| match before.len() {
            0 => api
                .interfaces()
                .into_iter()
                .filter(|i| matches!(i.made, control::api::MadeOf::Bridge(_)))
                .map(|i| (i.name, "bridge"))
                .collect(),
            _ => list(&[
                ("addr", "its stations"),
                ("flush", "forget those that were learned"),
                ("flushall", "forget all"),
                ("deladdr", "forget one"),
                JSON,
            ]),
        },
    },
    Command {
        name: "route",
        usage: "route [-T N] show [-inet | -inet6] [-label NAME] [--json]  |  route get ADDRESS  |  route add | delete | change DEST GATEWAY",
        summary: "show a routing table, or change it until the next apply",
        details: "show status lists what was changed; netstart takes it back.",
        run: |words, api| net::route(words, api).map(Output::Text),
        complete: |before, _| match before.len() {
            0 => list(&[
                ("show", "the routing table"),
                ("get", "the way to an address"),
                ("add", "a route, until the next apply"),
                ("delete", "a route, until the next apply"),
                ("change", "a route, until the next apply"),
            ]),
            _ => list(&[("-inet", "IPv4 only"), ("-inet6", "IPv6 only"), JSON]),
        },
    },
    Command {
        name: "netstat",
        usage: "netstat -i | -r | -s [--json]",
        summary: "show interface counters, routes, or statistics",
        details: "",
        run: |words, api| net::netstat(words, api).map(Output::Text),
        complete: |_, _| {
            list(&[
                ("-i", "interface counters"),
                ("-r", "routes"),
                ("-s", "statistics"),
                JSON,
            ])
        },
    },
    Command {
        name: "arp",
        usage: "arp -a | ADDRESS [--json]  |  arp -d ADDRESS  |  arp -s ADDRESS STATION [pub]",
        summary: "show IPv4 neighbors, set or forget one",
        details: "-s sets the station of a neighbor until the next apply; with pub the box answers for the address.",
        run: |words, api| net::neighbors("arp", true, words, api).map(Output::Text),
        complete: |_, _| list(&[("-a", "all of them"), JSON]),
    },
    Command {
        name: "ndp",
        usage: "ndp -a | ADDRESS [--json]  |  ndp -d ADDRESS  |  ndp -s ADDRESS STATION [proxy]",
        summary: "show IPv6 neighbors, set or forget one",
        details: "-s sets the station of a neighbor until the next apply; with proxy the box answers for the address.",
        run: |words, api| net::neighbors("ndp", false, words, api).map(Output::Text),
        complete: |_, _| list(&[("-a", "all of them"), JSON]),
    },
    Command {
        name: "netstart",
        usage: "netstart",
        summary: "the network as the files have it: takes back what was typed",
        details: "After ifconfig and route have changed it. An apply does the same.",
        run: |words, api| netchange::netstart(words, api).map(Output::Text),
        complete: |_, _| Vec::new(),
    },
    Command {
        name: "ping",
        usage: "ping [-c COUNT] ADDRESS",
        summary: "send echo requests from this box",
        details: "Without -c until ^C.",
        run: ping,
        complete: |_, _| list(&[("-c", "how many")]),
    },
    Command {
        name: "why",
        usage: "why [in on IF | out] PROTO SRC > DST [flags F] [--json]",
        summary: "what would happen to a packet, and which line decides",
        details: "why in on em0 tcp 198.51.100.7:51000 > 203.0.113.5:445 flags S\n\
                  After the addresses: flags, icmp-type, code, tos, ttl, size, tagged. IPv6 with a port: [2001:db8::1]:80.\n\
                  The packet goes through the code that live packets go through, with copies of the states; nothing is sent.",
        run: |words, api| explain::why(words, api).map(Output::Text),
        complete: |before, api| match before.last().map(String::as_str) {
            None => list(&[
                ("in", "a packet that comes in"),
                ("out", "a packet of this box"),
            ]),
            Some("in") => list(&[("on", "where it comes in")]),
            Some("on") => interface_names(api),
            _ => list(&[
                ("tcp", ""),
                ("udp", ""),
                ("icmp", ""),
                ("icmp6", ""),
                ("flags", "TCP flags, such as S"),
                JSON,
            ]),
        },
    },
    Command {
        name: "trace",
        usage: "trace [-c COUNT] [-t SECONDS] [on IF] [PROTO] [host ADDR] [port PORT] [--json]",
        summary: "follow live packets step by step",
        details: "Ten packets, or as many as -c says, for a minute, or as long as -t says; ^C ends it.\n\
                  on, inet, inet6, tcp, udp, icmp, icmp6, host, src, dst, port, sport, dport choose packets.",
        run: explain::trace,
        complete: |before, api| match before.last().map(String::as_str) {
            Some("on") => interface_names(api),
            _ => list(&[
                ("-c", "so many packets"),
                ("-t", "so many seconds"),
                ("on", "an interface"),
                ("tcp", ""),
                ("udp", ""),
                ("host", "an address or network"),
                ("port", "a port"),
                JSON,
            ]),
        },
    },
    Command {
        name: "tcpdump",
        usage: "tcpdump -i pflog0 [-n] [-e] [-t | -ttt] [-c COUNT] [--json]  |  tcpdump -r pflog0 ...",
        summary: "show packets that rules log",
        details: "-i shows packets as they are logged until ^C or -c, -r those that are still kept in memory.\n\
                  -e shows the rule, -ttt the time since the packet before, -t none. Only pflog interfaces can be shown.",
        run: dump,
        complete: |_, _| {
            list(&[
                ("-i", "a pflog interface, such as pflog0"),
                ("-r", "what is kept of it"),
                ("-e", "with the rule"),
                ("-n", "as always here"),
                ("-t", "without time"),
                ("-ttt", "with the time since the packet before"),
                ("-c", "so many packets"),
                JSON,
            ])
        },
    },
    Command {
        name: "show",
        usage: "show status | log | drops [--json]",
        summary: "show health, the last log lines, or why packets were dropped",
        details: "",
        run: show,
        complete: |_, _| {
            list(&[
                ("status", "health and identity"),
                ("log", "the last log lines"),
                ("drops", "dropped packets by reason"),
                JSON,
            ])
        },
    },
    Command {
        name: "version",
        usage: "version [--json]",
        summary: "show the version",
        details: "",
        run: version,
        complete: |_, _| list(&[JSON]),
    },
    Command {
        name: "uptime",
        usage: "uptime [--json]",
        summary: "show how long the box is up",
        details: "",
        run: uptime,
        complete: |_, _| list(&[JSON]),
    },
    Command {
        name: "setup",
        usage: "setup",
        summary: "ask for management address and token",
        details: "The questions of the first boot, again.",
        run: |words, api| no_words("setup", words).map(|()| Output::Ask(Setup::begin(api))),
        complete: nothing,
    },
    Command {
        name: "management",
        usage: "management IF ADDRESS/PREFIX [GATEWAY]",
        summary: "set the management address",
        details: "Takes effect at once and is stored.",
        run: management,
        complete: |before, api| {
            if before.is_empty() {
                interface_names(api)
            } else {
                Vec::new()
            }
        },
    },
    Command {
        name: "token",
        usage: "token set | clear",
        summary: "set or remove the token of the API",
        details: "set asks for one without showing it, or generates one and shows it once. Only a hash is stored.",
        run: token,
        complete: |before, _| match before.len() {
            0 => list(&[
                ("set", "ask for one, or generate one"),
                ("clear", "remove it"),
            ]),
            _ => Vec::new(),
        },
    },
    Command {
        name: "key",
        usage: "key list | add | remove ID | floor [reset]",
        summary: "keys whose signed bundles are accepted",
        details: "add asks for the two lines of a signify .pub file. A signed bundle must be newer than floor says.",
        run: key,
        complete: |before, api| match before.first().map(String::as_str) {
            None => list(&[
                ("list", "trusted keys"),
                ("add", "trust a key"),
                ("remove", "stop trusting a key"),
                ("floor", "date that signed bundles must be later than"),
            ]),
            Some("remove") => api
                .trusted_keys()
                .into_iter()
                .map(|(id, _)| (id, "trusted key"))
                .collect(),
            Some("floor") => list(&[("reset", "forget that date")]),
            Some(_) => Vec::new(),
        },
    },
    Command {
        name: "pager",
        usage: "pager on | off",
        summary: "stop after each screen of output, or do not",
        details: "Turn it off for scripts.",
        run: pager,
        complete: |_, _| list(&[("on", "stop after each screen"), ("off", "do not")]),
    },
    Command {
        name: "resize",
        usage: "resize [ROWS COLUMNS]",
        summary: "ask the terminal for its size, or tell it",
        details: "A serial line does not know the size of what is behind it; 80x24 is assumed.",
        run: resize,
        complete: nothing,
    },
    Command {
        name: "clear",
        usage: "clear",
        summary: "clear the screen",
        details: "",
        run: |words, _| no_words("clear", words).map(|()| Output::Clear),
        complete: nothing,
    },
    Command {
        name: "reboot",
        usage: "reboot",
        summary: "restart the box",
        details: "Asks first.",
        run: |words, _| no_words("reboot", words).map(|()| Output::confirm(Action::Reboot)),
        complete: nothing,
    },
    Command {
        name: "halt",
        usage: "halt",
        summary: "stop the box",
        details: "Asks first.",
        run: |words, _| no_words("halt", words).map(|()| Output::confirm(Action::Halt)),
        complete: nothing,
    },
    Command {
        name: "exit",
        usage: "exit",
        summary: "end this session",
        details: "Forgets the history of commands.",
        run: |words, _| no_words("exit", words).map(|()| Output::Exit),
        complete: nothing,
    },
];

const JSON: (&str, &str) = ("--json", "as JSON");

/// Runs a command with its words.
pub(crate) fn run(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let Some((name, words)) = words.split_first() else {
        return Ok(Output::Text(String::new()));
    };
    match find(name) {
        Some(command) => (command.run)(words, api),
        None => Err(unknown(name)),
    }
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

fn unknown(name: &str) -> String {
    let hint = did_you_mean(name, COMMANDS.iter().map(|c| c.name));
    let hint = if hint.is_empty() {
        "; help lists what there is".to_string()
    } else {
        hint
    };
    format!("'{name}': no such command{hint}")
}

/// `bridge [BRIDGE]`; `bridge BRIDGE WORDS` is `ifconfig BRIDGE WORDS`.
fn bridge_or_ifconfig(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let text = match without_json(words).0.len() {
        0..=1 => bridge::table(words, api),
        _ => net::ifconfig(words, api),
    };
    text.map(Output::Text)
}

/// `tcpdump WORDS`
fn dump(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    Ok(match tcpdump::run(words, api)? {
        Begun::Replayed(text) => Output::Text(text),
        Begun::Live(dump) => Output::Follow(Follow::Log(dump)),
    })
}

/// What can come after these words.
pub(crate) fn candidates(before: &[String], api: &mut dyn Api) -> Candidates {
    match before.split_first() {
        None => COMMANDS
            .iter()
            .map(|c| (c.name.to_string(), c.summary))
            .collect(),
        Some((name, rest)) => find(name).map_or(Vec::new(), |c| (c.complete)(rest, api)),
    }
}

fn list(items: &[(&'static str, &'static str)]) -> Candidates {
    items
        .iter()
        .map(|(name, help)| ((*name).to_string(), *help))
        .collect()
}

fn nothing(_: &[String], _: &mut dyn Api) -> Candidates {
    Vec::new()
}

fn interface_names(api: &mut dyn Api) -> Candidates {
    api.interfaces()
        .into_iter()
        .map(|i| (i.name, "interface"))
        .collect()
}

fn no_words(command: &str, words: &[String]) -> Result<(), String> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(format!("{command}: '{word}' is too much")),
    }
}

fn help(words: &[String], _: &mut dyn Api) -> Result<Output, String> {
    let Some(name) = words.first() else {
        let lines = COMMANDS
            .iter()
            .map(|c| format!("{:<12} {}\n", c.name, c.summary));
        return Ok(Output::Text(lines.collect()));
    };
    let command = find(name).ok_or_else(|| format!("help: {}", unknown(name)))?;
    let mut out = format!("usage: {}\n{}\n", command.usage, command.summary);
    if !command.details.is_empty() {
        out += command.details;
        out.push('\n');
    }
    Ok(Output::Text(out))
}

fn ping(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let mut count = u16::MAX;
    let mut target = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if let Some(n) = word.strip_prefix("-c") {
            let n = if n.is_empty() {
                rest.next().map_or("", String::as_str)
            } else {
                n
            };
            count = match n.parse() {
                Ok(n) if (1..=PINGS_MAX).contains(&n) => n,
                _ => {
                    return Err(format!(
                        "ping: -c: '{n}' is not a number from 1 to {PINGS_MAX}"
                    ));
                }
            };
        } else if word.starts_with('-') {
            return Err(format!("ping: '{word}' is no option; there is -c COUNT"));
        } else if target.is_some() {
            return Err(format!("ping: '{word}' is too much"));
        } else {
            let addr = word
                .parse()
                .map_err(|_| format!("ping: '{word}' is not an IP address"))?;
            target = Some(addr);
        }
    }
    let target: IpAddr = target.ok_or("ping: the address is missing")?;
    api.ping_start(target, count)
        .map_err(|why| format!("ping: {why}"))?;
    Ok(Output::Ping(target))
}

fn pager(words: &[String], _: &mut dyn Api) -> Result<Output, String> {
    match words {
        [word] if word == "on" => Ok(Output::Pager(true)),
        [word] if word == "off" => Ok(Output::Pager(false)),
        [] => Err("pager: a word is missing; on or off".into()),
        [word, ..] => Err(format!("pager: '{word}' is neither on nor off")),
    }
}

fn resize(words: &[String], _: &mut dyn Api) -> Result<Output, String> {
    let number = |word: &String, from: u16| match word.parse::<u16>() {
        Ok(n) if (from..=500).contains(&n) => Ok(n),
        _ => Err(format!(
            "resize: '{word}' is not a number from {from} to 500"
        )),
    };
    match words {
        [] => Ok(Output::AskSize),
        [rows, columns] => Ok(Output::Size(number(rows, 2)?, number(columns, 20)?)),
        [_] => Err("resize: COLUMNS is missing".into()),
        [_, _, extra, ..] => Err(format!("resize: '{extra}' is too much")),
    }
}
