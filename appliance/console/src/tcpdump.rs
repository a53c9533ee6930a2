//! `tcpdump` of pflog interfaces: the options that everybody types, the lines that everybody knows. Read first:
//! tcpdump(8) of OpenBSD, pflog(4).

use control::api::{Api, LoggedPacket};

use crate::json;

/// How packets are printed, and which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dump {
    /// Number of the pflog interface.
    to: u8,
    /// `-e`: with the rule.
    rule: bool,
    /// How many `-t`.
    times: u8,
    /// `-c`
    left: Option<u32>,
    json: bool,
    /// The next serial.
    next: u64,
    /// When the packet before was logged.
    before_ms: Option<u64>,
}

/// What `tcpdump` has begun.
pub(crate) enum Begun {
    /// Everything that was logged.
    Replayed(String),
    /// What is logged from now on.
    Live(Dump),
}

/// Runs `tcpdump WORDS`.
pub(crate) fn run(words: &[String], api: &mut dyn Api) -> Result<Begun, String> {
    let (mut dump, replay) = parse(words)?;
    if replay {
        let text = dump.poll(api).unwrap_or_default();
        return Ok(Begun::Replayed(text));
    }
    dump.next = api.pflog(u64::MAX).1;
    Ok(Begun::Live(dump))
}

/// The options, and true for `-r`.
fn parse(words: &[String]) -> Result<(Dump, bool), String> {
    let mut dump = Dump::default();
    let mut source = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--json" {
            dump.json = true;
            continue;
        }
        let letters = word.strip_prefix('-').filter(|l| !l.is_empty());
        let letters = letters.ok_or_else(|| {
            format!("tcpdump: '{word}': filters are not known here; | match chooses lines")
        })?;
        for (at, letter) in letters.char_indices() {
            let mut value = || match &letters[at + letter.len_utf8()..] {
                "" => words.next().map(String::as_str),
                rest => Some(rest),
            };
            match letter {
                'n' | 'l' | 'q' | 'v' => continue,
                'e' => dump.rule = true,
                't' => dump.times += 1,
                'i' | 'r' => {
                    let name = value().ok_or("tcpdump: the interface is missing")?;
                    dump.to = interface(name)?;
                    source = Some(letter);
                    break;
                }
                'c' => {
                    let n = value().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    dump.left = Some(n.ok_or("tcpdump: -c: a number is missing")?);
                    break;
                }
                _ => {
                    return Err(format!(
                        "tcpdump: '-{letter}' in '{word}' is no option here"
                    ));
                }
            }
        }
    }
    let source = source.ok_or("tcpdump: which interface? -i pflog0")?;
    Ok((dump, source == 'r'))
}

/// `pflog0`, or the file that pflogd would write.
fn interface(name: &str) -> Result<u8, String> {
    let bare = name.strip_prefix("/var/log/").unwrap_or(name);
    let number = bare.strip_prefix("pflog").ok_or(()).and_then(|n| {
        if n.is_empty() {
            Ok(0)
        } else {
            n.parse().map_err(|_| ())
        }
    });
    number.map_err(|()| {
        format!("tcpdump: '{name}': only pflog interfaces can be shown, such as pflog0")
    })
}

impl Dump {
    /// Lines for the packets that have come; none when there were as many as asked for.
    pub(crate) fn poll(&mut self, api: &mut dyn Api) -> Option<String> {
        if self.left == Some(0) {
            return None;
        }
        let (records, next) = api.pflog(self.next);
        self.next = next;
        let mut out = String::new();
        let to = self.to;
        for record in records.iter().filter(|r| r.to == to) {
            if self.left == Some(0) {
                break;
            }
            self.left = self.left.map(|left| left - 1);
            out += &self.line(record);
        }
        Some(out)
    }

    fn line(&mut self, record: &LoggedPacket) -> String {
        let view = record.view();
        if self.json {
            return json::text(&view);
        }
        let time = self.time(record.time_ms);
        let rule = if self.rule {
            view.head()
        } else {
            String::new()
        };
        format!("{time}{rule}{}\n", view.packet)
    }

    fn time(&mut self, now_ms: u64) -> String {
        let before = self.before_ms.replace(now_ms).unwrap_or(now_ms);
        match self.times {
            0 => clock(now_ms % 86_400_000, "") + " ",
            1 => String::new(),
            2 => format!("{}.{:03}000 ", now_ms / 1000, now_ms % 1000),
            _ => clock(now_ms.saturating_sub(before), "") + " ",
        }
    }
}

/// `hh:mm:ss.ffffff`
fn clock(ms: u64, after: &str) -> String {
    let s = ms / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}000{after}",
        s / 3600,
        s / 60 % 60,
        s % 60,
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::fake::Fake;

    fn logged(serial: u64, time_ms: u64, to: u8) -> LoggedPacket {
        let mut header = vec![0; 100];
        header[2] = 1;
        header[4..7].copy_from_slice(b"em0");
        (header[39], header[60]) = (3, 1);
        header[40..44].fill(0xff);
        // UDP from 10.0.0.1:53 to 10.0.0.2:1000.
        let bytes = vec![
            0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 3,
            232, 0, 8, 0, 0,
        ];
        LoggedPacket {
            serial,
            time_ms,
            to,
            len: 28,
            header,
            bytes,
        }
    }

    fn text(line: &str, api: &mut Fake) -> String {
        match run(&crate::words::split(line), api) {
            Ok(Begun::Replayed(text)) => text,
            Ok(_) => panic!("follows"),
            Err(error) => error,
        }
    }

    #[test]
    fn packets_are_printed_as_tcpdump_does() {
        let mut api = Fake {
            logged: vec![
                logged(0, 3_723_004, 0),
                logged(1, 3_724_504, 0),
                logged(2, 0, 1),
            ],
            ..Fake::default()
        };
        let packet = "10.0.0.1.53 > 10.0.0.2.1000: udp 0";
        let rule = "rule 3/(match) block in on em0: ";
        assert_eq!(
            text("-n -e -ttt -r /var/log/pflog", &mut api),
            format!("00:00:00.000000 {rule}{packet}\n00:00:01.500000 {rule}{packet}\n")
        );
        assert_eq!(
            text("-r pflog0 -c 1", &mut api),
            format!("01:02:03.004000 {packet}\n")
        );
        assert_eq!(text("-tner pflog1", &mut api), format!("{rule}{packet}\n"));
        assert!(text("-i em0", &mut api).contains("only pflog"));
        assert!(text("-i pflog0 port 80", &mut api).contains("'port'"));
        assert!(text("-e", &mut api).contains("which interface"));
    }

    #[test]
    fn what_comes_is_followed_until_there_were_enough() {
        let mut api = Fake {
            logged: vec![logged(0, 0, 0)],
            ..Fake::default()
        };
        let words = crate::words::split("-tc 1 -i pflog0");
        let Ok(Begun::Live(mut follow)) = run(&words, &mut api) else {
            panic!("follows");
        };
        assert_eq!(follow.poll(&mut api).as_deref(), Some(""));
        api.logged.push(logged(1, 0, 0));
        assert_eq!(follow.poll(&mut api).map(|t| t.lines().count()), Some(1));
        assert_eq!(follow.poll(&mut api), None);
    }
}
