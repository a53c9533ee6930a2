//! Floods of SYN segments from addresses that do not exist, against what PF has for them: honest clients are served
//! meanwhile, and the server hears nothing of the flood.

use hosts::Running;
use hosts::service::Web;
use net_tests::clients::{fetch, url_at};
use net_tests::{
    Etc, Failure, INSIDE, Namespace, Plan, Port, ROUTER_OUTSIDE, Result, Site, skip, until,
    until_within,
};
use std::time::Duration;

/// Segments of a flood: a few seconds of it.
const FLOOD: u64 = 20_000;
/// Pages that the honest client gets while the flood goes on.
const PAGES: usize = 20;
/// Segments that the server may hear: a page costs about ten, and opening lists a few.
const SEGMENTS: u64 = 2_000;

/// Cookies are given out until a key ends in quiet times; two keys of 15 seconds, and some patience.
const FLOOD_ENDS: Duration = Duration::from_secs(60);
/// An address whose host never answers.
const SILENT: &str = "10.0.1.99";

/// The service behind the box, on its own address and behind a redirection; `{}` is what the rules do about floods.
const RULES: &str = "\
{set}
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass in on ap0 inet proto tcp to 10.0.1.2 port 80 {state}
pass in on ap0 inet proto tcp to (ap0) port 8080 rdr-to 10.0.1.2 port 80 {state}
pass in on ap0 inet proto tcp to 10.0.1.99 port 80 {state}
pass out on ap1 inet proto tcp to { 10.0.1.2 10.0.1.99 } port 80
";

struct Scene {
    site: Site,
    _web: Web,
}

impl Scene {
    /// Answers to addresses that do not exist go to the outside host.
    fn set(set: &str, state: &str) -> Result<Self> {
        let rules = RULES.replace("{set}", set).replace("{state}", state);
        let site = Site::open(&Plan {
            etc: Etc::with_rules(&rules).with("mygate", "192.0.2.2\n"),
            ..Plan::default()
        })?;
        let page = [("word", b"inside".to_vec())];
        let _web = Web::serve(site.host(Port::Inside), &[80], &page)?;
        let scene = Self { site, _web };
        scene.honest(2)?;
        Ok(scene)
    }

    fn outside(&self) -> &Namespace {
        self.site.host(Port::Outside)
    }

    /// Half of the pages from the server's address, half from the redirected one.
    fn honest(&self, pages: usize) -> Result<()> {
        for n in 0..pages {
            let (to, port) = [(INSIDE, 80), (ROUTER_OUTSIDE, 8080)][n % 2];
            assert_eq!(fetch(self.outside(), &url_at(to, port, "word"))?, "inside");
        }
        Ok(())
    }

    /// Begins to flood these addresses and ports; bounded in count.
    fn flood(&self, to: &[(&str, u16)]) -> Result<Vec<Running>> {
        let count = (FLOOD / to.len() as u64).to_string();
        let one = |(to, port): &(&str, u16)| {
            let words = format!("hping3 -q -n -S --rand-source -i u300 -c {count} -p {port} {to}");
            self.outside().spawn(&words.split(' ').collect::<Vec<_>>())
        };
        to.iter().map(one).collect()
    }

    /// TCP segments that the server has heard.
    fn heard(&self) -> Result<u64> {
        let said = self.site.inside(&["cat", "/proc/net/snmp"])?;
        let mut lines = said.lines().filter(|line| line.starts_with("Tcp: "));
        let (names, numbers) = (lines.next(), lines.next());
        let columns = names
            .zip(numbers)
            .map(|(a, b)| a.split(' ').zip(b.split(' ')));
        let found = columns.and_then(|mut all| all.find(|(name, _)| *name == "InSegs"));
        let number = found.and_then(|(_, number)| number.parse().ok());
        number.ok_or_else(|| Failure(format!("no InSegs: {said}")))
    }

    /// Honest clients are served while the flood goes on; what the server heard meanwhile.
    fn served_in_a_flood(&self) -> Result<u64> {
        let before = self.heard()?;
        let mut flood = self.flood(&[(INSIDE, 80), (ROUTER_OUTSIDE, 8080)])?;
        let mut rounds = 0;
        loop {
            self.honest(PAGES)?;
            rounds += 1;
            let mut ended = true;
            for tool in &mut flood {
                ended &= tool.child().try_wait()?.is_some();
            }
            if ended {
                break;
            }
        }
        let heard = self.heard()? - before;
        println!(
            "{} pages in a flood of {FLOOD}; the server heard {heard} segments",
            rounds * PAGES
        );
        assert!(heard < SEGMENTS + 20 * (rounds * PAGES) as u64, "{heard}");
        Ok(heard)
    }

    /// Floods that were detected, cookies sent, cookies that came back.
    fn cookies(&self) -> Result<[u64; 3]> {
        let names = [
            "synfloods detected",
            "syncookies sent",
            "syncookies validated",
        ];
        let mut counts = [0; 3];
        for (count, name) in counts.iter_mut().zip(names) {
            *count = self.site.limit(name)?;
        }
        Ok(counts)
    }
}

#[test]
fn syncookies_always_make_no_state_for_a_flood() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let scene = Scene::set("set syncookies always", "")?;
    scene.served_in_a_flood()?;
    let [_, sent, valid] = scene.cookies()?;
    let states = scene.site.states()?;
    println!("{sent} cookies sent, {valid} came back, {states} states");
    assert!(sent > FLOOD / 2, "{sent}");
    assert!(valid >= PAGES as u64, "{valid}");
    assert!(states < FLOOD / 2, "{states}");
    Ok(())
}

#[test]
fn adaptive_syncookies_begin_with_the_flood_and_end_after_it() -> Result<()> {
    if skip() {
        return Ok(());
    }
    // Connections of those who ask about the flood must not fill the table either.
    let set = "set limit states 2000\n\
               set timeout { tcp.first 3 tcp.closing 2 tcp.finwait 2 tcp.closed 1 interval 1 }\n\
               set syncookies adaptive (start 25%, end 12%)";
    let scene = Scene::set(set, "")?;
    assert_eq!(scene.cookies()?, [0; 3]);
    // Only connections that nobody answers are half open, and a server of today answers.
    let inside = scene.site.host(Port::Inside);
    inside.address(&format!("{SILENT}/24"))?;
    inside.ip(&["route", "add", "blackhole", "default", "table", "99"])?;
    inside.ip(&["rule", "add", "from", SILENT, "table", "99"])?;
    let mut flood = scene.flood(&[(SILENT, 80)])?;
    until("syncookies", || Ok((scene.cookies()?[0] > 0).then_some(())))?;
    scene.honest(PAGES)?;
    for tool in &mut flood {
        tool.child().wait()?;
    }
    let [floods, sent, valid] = scene.cookies()?;
    println!("{floods} flood detected, {sent} cookies sent, {valid} came back");
    assert!(sent > 1000 && valid > 0, "{sent} {valid}");
    assert_eq!(scene.site.reason("state-limit")?, 0);
    // Half-open states end; then connections are made without a cookie again.
    until_within(FLOOD_ENDS, "the end of syncookies", || {
        let before = scene.site.limit("syncookies sent")?;
        scene.honest(2)?;
        Ok((scene.site.limit("syncookies sent")? == before).then_some(()))
    })
}

#[test]
fn a_proxy_for_handshakes_keeps_a_flood_from_the_server() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let scene = Scene::set("set timeout { tcp.first 5 interval 1 }", "synproxy state")?;
    scene.served_in_a_flood()?;
    println!("{} states", scene.site.states()?);
    Ok(())
}
