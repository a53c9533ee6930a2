//! A short fuzz run on every test run: statements that use every production, mutated by a seeded generator, through
//! what the fuzz target of the same name checks. `FUGU_SEED` repeats a run.

#[path = "../../../tests/fuzz/targets/pfconf.rs"]
mod target;

const ROUNDS: usize = 12_000;

/// Lines that the mutations start from.
const LINES: &[&str] = &[
    "ext = em0",
    "ports = \"{ 22, 80:90, > 1023 }\"",
    "set block-policy return",
    "set limit { states 1000, src-nodes 2000 }",
    "set timeout { tcp.first 20, adaptive.start 0 }",
    "set skip on { lo0 em1 }",
    "set optimization aggressive",
    "set reassemble yes no-df",
    "set state-defaults pflow, no-sync",
    "set syncookies adaptive (start 25%, end 12%)",
    "set hostid 0x10",
    "table <t> const persist counters { 10.0.0.0/8 !10.1.0.0/16 em0:network } file \"t\"",
    "include \"i\"",
    "block return-icmp (host-unr, port-unr) in log (all, to pflog1) quick on ! em0 inet",
    "block return-rst (ttl 5) proto tcp",
    "pass in quick on { em0 em1 } inet proto { tcp udp } from { <t> !10.0.0.1 } port $ports to (em0:network:0)/24 port 22 tos ef",
    "pass out inet6 proto icmp6 from fe80::1%lo0 to any icmp6-type { echoreq code 0, unreach }",
    "pass in proto tcp to port 1 >< 9 flags S/SAFR user { root, > 5 } group != wheel synproxy state",
    "pass keep state (max 10, source-track rule, max-src-conn-rate 3/5, overload <t> flush global, tcp.closed 9)",
    "match out on em0 from self:0 nat-to { 192.0.2.7 192.0.2.8 } round-robin sticky-address",
    "match in on em0 proto tcp to em0 port 8000:8010 rdr-to 10.0.0.9 port 80:*",
    "match on em0 from 10.0.0.9 to any binat-to 192.0.2.9",
    "pass in inet6 from any to 64:ff9b::/96 af-to inet from 192.0.2.1",
    "pass in on em0 route-to 10.0.0.1 source-hash abc",
    "match scrub (no-df min-ttl 5 max-mss 1400 reassemble tcp random-id) set (prio (3, 5), tos af11, delay 3)",
    "pass proto udp tagged \"a b\" ! received-on em1 probability 12.5% label \"$if:$nr\" once rtable 0",
    "pass in from urpf-failed to no-route fragment allow-opts max-pkt-rate 10/2",
    "anchor \"x/*\" in on em0 proto tcp",
    "anchor foo out { \n pass from 10/8\n anchor {\n block\n }\n }",
    "antispoof log quick for { em0 (em1) lo0 } inet label l",
    "queue root on em0 bandwidth 10M, min 1M max 20M burst 90M for 100ms",
    "queue std parent root bandwidth 5M flows 100 quantum 300 qlimit 50 default",
    "state limiter s id 1 limit 10 rate 1/2",
    "source limiter s id 1 entries 5 limit 10 inet mask 24 table <t> above 5 below 2",
    "nat pass on em0 inet proto tcp from 10/8 to any port 80 tag X -> { (em0) 192.0.2.3 } port 1:9 static-port",
    "no rdr on em0 proto tcp to port 80",
    "rdr on em0 proto tcp to 192.0.2.1 port 80 -> <t> port 8080",
    "binat on em0 from 10.0.0.1 to any -> 192.0.2.1",
    "scrub in on em0 all no-df fragment reassemble",
    "pass in on em0 route-to { (em0 192.0.2.1), (em1 192.0.2.2) } round-robin inet from any",
    "pass in divert-to 127.0.0.1 port 8025",
    "rdr-anchor \"y\" on em0",
    "ether pass in on em0 proto 0x0800 from 00:11:22:33:44:55 l3 from 10.0.0.1 label e",
    "altq on em0 hfsc bandwidth 10Mb queue { a, b }",
];

const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    "!",
    "=",
    "/",
    ",",
    "-",
    "->",
    "\n",
    "\\\n",
    "#",
    "\"",
    "'",
    "$ext",
    "$",
    "any",
    "all",
    "self",
    "em0",
    "(em0)",
    "10.0.0.0/33",
    "::",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "inet6",
    "proto tcp",
    "port",
    "state",
    "\u{201c}",
    "\0",
    "\r\n",
    "no",
];

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }

    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..=self.next(4) {
            text.extend(LINES[self.next(LINES.len())].bytes());
            text.push(b'\n');
        }
        for _ in 0..self.next(5) {
            self.mutate(&mut text);
        }
        text
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        let at = self.next(text.len() + 1);
        let to = (at + self.next(12)).min(text.len());
        match self.next(4) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, PIECES[self.next(PIECES.len())].bytes())),
            2 => {
                let line = LINES[self.next(LINES.len())].as_bytes();
                let from = self.next(line.len());
                drop(text.splice(at..to, line[from..].iter().copied()));
            }
            _ => {
                let words: Vec<u8> = text[at..to].to_vec();
                drop(text.splice(at..at, words));
            }
        }
    }
}

#[test]
fn no_text_makes_the_compiler_panic_and_prints_are_stable() {
    let seed = match std::env::var("FUGU_SEED") {
        Ok(seed) => seed.parse().expect("FUGU_SEED is a number"),
        Err(_) => 0x9e37_79b9_7f4a_7c15,
    };
    println!("seed {seed}");
    let mut random = Random(seed);
    for line in LINES {
        target::run(line.as_bytes());
    }
    for round in 0..ROUNDS {
        let text = random.text();
        let shown = String::from_utf8_lossy(&text).into_owned();
        if std::panic::catch_unwind(|| target::run(&text)).is_err() {
            panic!("round {round} of seed {seed}:\n{shown}");
        }
    }
}
