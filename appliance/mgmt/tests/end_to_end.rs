//! The whole management server with a client's TCP/IP stack back to back, on a clock that only the test moves: uploads,
//! authentication, slow and silent clients, floods of half-open connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use control::api::{Applied, PingReply, Pinger, Refused};
use control::fake::Fake;
use mgmt::{HostConfig, Server, ServerConfig};
use pfconf::diag::Diagnostic;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpRepr, TcpPacket, TcpRepr, TcpSeqNumber};

const SERVER: &str = "192.0.2.1";
const SERVER6: &str = "2001:db8::1";
const CLIENT: &str = "192.0.2.100";
const CLIENT6: &str = "2001:db8::100";

/// The client's wire.
#[derive(Default)]
struct Wire {
    rx: VecDeque<Vec<u8>>,
    tx: Vec<Vec<u8>>,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.rx.pop_front()?), Tx(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }
}

/// One exchange of the client: what it sends, what it has got.
struct Conversation {
    socket: SocketHandle,
    to_send: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
}

impl Conversation {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }

    /// The status codes of the answers so far.
    fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let lines = text.split("HTTP/1.1 ").skip(1);
        lines.map(|l| l[..3].parse().expect("status")).collect()
    }

    fn body(&self) -> String {
        let text = self.text();
        let (_, body) = text.rsplit_once("\r\n\r\n").unwrap_or(("", ""));
        body.to_string()
    }
}

/// Server, client, clock.
struct Lab {
    server: Server,
    api: Fake,
    iface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    now: Duration,
    next_port: u16,
    /// Packets of others, delivered with the client's.
    others: Vec<Vec<u8>>,
    /// What the server sent that was not for the client, by destination.
    to_others: BTreeMap<IpAddr, usize>,
    /// Every n-th packet is lost, in both directions.
    lose_every: Option<usize>,
    carried: usize,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Lab {
    fn new() -> Self {
        let mut server = Server::new(ServerConfig::default(), 0x5eed);
        server
            .host()
            .set_addresses(&[(ip(SERVER), 24), (ip(SERVER6), 64)]);
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = 99;
        let mut iface = Interface::new(config, &mut wire, Instant::ZERO);
        iface.update_ip_addrs(|a| {
            for (addr, len) in [(CLIENT, 24), (CLIENT6, 64)] {
                a.push(IpCidr::new(ip(addr).into(), len)).unwrap();
            }
        });
        Lab {
            server,
            api: Fake::default(),
            iface,
            wire,
            sockets: SocketSet::new(vec![]),
            now: Duration::from_secs(1),
            next_port: 40_000,
            others: Vec::new(),
            to_others: BTreeMap::new(),
            lose_every: None,
            carried: 0,
        }
    }

    fn connect_to(&mut self, server: &str) -> Conversation {
        let buffer = || tcp::SocketBuffer::new(vec![0; 128 * 1024]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        self.next_port += 1;
        let remote: (IpAddress, u16) = (ip(server).into(), 80);
        socket
            .connect(self.iface.context(), remote, self.next_port)
            .unwrap();
        Conversation {
            socket: self.sockets.add(socket),
            to_send: Vec::new(),
            sent: 0,
            got: Vec::new(),
        }
    }

    fn connect(&mut self) -> Conversation {
        self.connect_to(SERVER)
    }

    /// A conversation that sends `bytes` as fast as it can.
    fn saying(&mut self, bytes: impl Into<Vec<u8>>) -> Conversation {
        let mut c = self.connect();
        c.to_send = bytes.into();
        c
    }

    fn lost(&mut self) -> bool {
        self.carried += 1;
        self.lose_every
            .is_some_and(|n| self.carried.is_multiple_of(n))
    }

    /// One millisecond.
    fn tick(&mut self) {
        self.now += Duration::from_millis(1);
        let at = Instant::from_micros(self.now.as_micros() as i64);
        self.iface.poll(at, &mut self.wire, &mut self.sockets);
        for packet in std::mem::take(&mut self.wire.tx) {
            if !self.lost() {
                self.server.host().deliver(&packet);
            }
        }
        for packet in std::mem::take(&mut self.others) {
            self.server.host().deliver(&packet);
        }
        self.server.poll(self.now, &mut self.api);
        while let Some(packet) = self.server.host().next_packet() {
            let to = destination(&packet);
            if to != ip(CLIENT) && to != ip(CLIENT6) {
                *self.to_others.entry(to).or_default() += 1;
            } else if !self.lost() {
                self.wire.rx.push_back(packet);
            }
        }
    }

    fn pump(&mut self, c: &mut Conversation) {
        let socket = self.sockets.get_mut::<tcp::Socket>(c.socket);
        if c.sent < c.to_send.len() && socket.can_send() {
            c.sent += socket.send_slice(&c.to_send[c.sent..]).unwrap();
        }
        while socket.can_recv() {
            socket
                .recv(|b| (b.len(), c.got.extend_from_slice(b)))
                .unwrap();
        }
    }

    fn run_for(&mut self, c: &mut Conversation, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
            self.pump(c);
        }
    }

    /// Runs until the conversation has `n` whole answers; the time it took.
    fn until_answers(&mut self, c: &mut Conversation, n: usize) -> Duration {
        let began = self.now;
        while c.statuses().len() < n || !is_whole(&c.text()) {
            assert!(
                self.now < began + Duration::from_secs(120),
                "no answer: {:?}",
                c.text()
            );
            self.tick();
            self.pump(c);
        }
        self.now - began
    }

    fn ask(&mut self, request: impl Into<Vec<u8>>) -> Conversation {
        let mut c = self.saying(request);
        self.until_answers(&mut c, 1);
        c
    }

    fn state(&self, c: &Conversation) -> tcp::State {
        self.sockets.get::<tcp::Socket>(c.socket).state()
    }

    fn good_client_gets_through(&mut self) -> Duration {
        let mut c = self.saying(get("/v1/status", "secret"));
        let took = self.until_answers(&mut c, 1);
        assert_eq!(c.statuses(), [200]);
        self.sockets.get_mut::<tcp::Socket>(c.socket).abort();
        took
    }
}

fn destination(packet: &[u8]) -> IpAddr {
    match packet[0] >> 4 {
        4 => <[u8; 4]>::try_from(&packet[16..20]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&packet[24..40]).unwrap().into(),
    }
}

/// True if the last answer has its whole body.
fn is_whole(text: &str) -> bool {
    let Some(head) = text.rfind("HTTP/1.1 ") else {
        return false;
    };
    let Some((head, body)) = text[head..].split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("Content-Length: "));
    length.is_none_or(|n| body.len() >= n.parse().unwrap())
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: fw\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn put(token: Option<&str>, body: &[u8], extra: &str) -> Vec<u8> {
    let auth = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    let head = format!(
        "PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\n{auth}{extra}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A TCP segment from `source` to the API port.
fn segment(
    source: &str,
    port: u16,
    to: &str,
    control: smoltcp::wire::TcpControl,
    seq: u32,
    ack: Option<u32>,
) -> Vec<u8> {
    let caps = smoltcp::phy::ChecksumCapabilities::default();
    let tcp = TcpRepr {
        src_port: port,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: ack.map(|a| TcpSeqNumber(a as i32)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    };
    let (src, dst): (IpAddress, IpAddress) = (ip(source).into(), ip(to).into());
    let repr = IpRepr::new(
        src,
        dst,
        smoltcp::wire::IpProtocol::Tcp,
        tcp.buffer_len(),
        64,
    );
    let mut packet = vec![0; repr.buffer_len()];
    repr.emit(&mut packet[..], &caps);
    let header = repr.header_len();
    tcp.emit(
        &mut TcpPacket::new_unchecked(&mut packet[header..]),
        &src,
        &dst,
        &caps,
    );
    packet
}

fn syn(source: &str, port: u16) -> Vec<u8> {
    segment(
        source,
        port,
        SERVER,
        smoltcp::wire::TcpControl::Syn,
        7,
        None,
    )
}

#[test]
fn five_megabytes_are_uploaded_over_either_family() {
    for server in [SERVER, SERVER6] {
        let mut lab = Lab::new();
        let mut c = lab.connect_to(server);
        c.to_send = put(Some("secret"), &vec![7; 5_000_000], "");
        lab.until_answers(&mut c, 1);
        assert_eq!(c.statuses(), [200], "{}", c.text());
        assert_eq!(lab.api.uploads, [5_000_000]);
        let json: serde_json::Value = serde_json::from_str(&c.body()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"result": "applied", "generation": 4, "digest": "sha256:abcd", "warnings": []})
        );
    }
}

#[test]
fn an_upload_survives_loss() {
    let mut lab = Lab::new();
    lab.lose_every = Some(50);
    let c = lab.ask(put(Some("secret"), &vec![7; 300_000], ""));
    assert_eq!(c.statuses(), [200]);
    assert_eq!(lab.api.uploads, [300_000]);
}

#[test]
fn the_same_bundle_twice_is_no_change() {
    let mut lab = Lab::new();
    lab.api.apply = Ok(Applied {
        generation: 4,
        digest: "sha256:abcd".into(),
        changed: false,
        warnings: vec![Diagnostic::whole_file(
            "unused",
            "pf.conf",
            "macro x is not used",
        )],
    });
    let c = lab.ask(put(Some("secret"), b"x", ""));
    assert!(
        c.body().contains("\"result\":\"no-change\""),
        "{}",
        c.body()
    );
    assert!(c.body().contains("macro x is not used"));
}

#[test]
fn each_refusal_has_its_status() {
    let invalid = Diagnostic {
        severity: pfconf::diag::Severity::Error,
        code: "unknown-interface",
        file: "pf.conf".into(),
        line: 31,
        column: 24,
        length: 4,
        text: "unknown interface or group 'wan9'".into(),
        hint: Some("known here: wan0".into()),
        source: "pass in on wan9".into(),
    };
    for (refusal, status) in [
        (Refused::Unauthorized("signed by a stranger".into()), 401),
        (Refused::Replayed("older than the running one".into()), 409),
        (Refused::TooLarge("unpacks to too much".into()), 413),
        (Refused::Invalid(vec![invalid.clone()]), 422),
        (Refused::Failed("the disk is full".into()), 500),
    ] {
        let mut lab = Lab::new();
        lab.api.apply = Err(refusal);
        let c = lab.ask(put(Some("secret"), b"x", ""));
        assert_eq!(c.statuses(), [status]);
        if status == 422 {
            let json: serde_json::Value = serde_json::from_str(&c.body()).unwrap();
            let error = &json["errors"][0];
            assert_eq!(json["result"], "refused");
            assert_eq!(
                (
                    error["file"].as_str(),
                    error["line"].as_u64(),
                    error["column"].as_u64(),
                    error["severity"].as_str()
                ),
                (Some("pf.conf"), Some(31), Some(24), Some("error"))
            );
        }
    }
}

#[test]
fn without_a_proof_the_body_is_not_read() {
    for (token, extra) in [
        (None, ""),
        (Some("wrong"), ""),
        (None, "Authorization: Basic eDp5\r\n"),
    ] {
        let mut lab = Lab::new();
        let c = lab.ask(put(token, &vec![0; 1_000_000], extra));
        assert_eq!(c.statuses(), [401]);
        assert!(
            c.text().contains("WWW-Authenticate: Bearer"),
            "{}",
            c.text()
        );
        assert!(lab.api.uploads.is_empty());
    }
}

#[test]
fn a_signature_is_enough_where_a_key_is_trusted() {
    let mut lab = Lab::new();
    lab.api.accepts_signatures = true;
    assert_eq!(lab.ask(put(None, b"signed", "")).statuses(), [200]);
    assert_eq!(lab.api.uploads, [6]);
}

#[test]
fn curl_is_told_to_continue_or_to_stop_before_it_sends() {
    let mut lab = Lab::new();
    let head = |n: usize| {
        format!(
            "PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\nAuthorization: Bearer secret\r\nContent-Length: {n}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut c = lab.ask(head(3));
    assert_eq!(c.statuses(), [100]);
    c.to_send.extend_from_slice(b"abc");
    lab.until_answers(&mut c, 2);
    assert_eq!(c.statuses(), [100, 200]);
    let c = lab.ask(head(16 * 1024 * 1024 + 1));
    assert_eq!(c.statuses(), [413]);
}

#[test]
fn every_page_answers_and_needs_a_token() {
    let mut lab = Lab::new();
    for page in [
        "status",
        "info",
        "rules",
        "states",
        "states?limit=1",
        "interfaces",
        "routes",
        "neighbors",
        "tables",
    ] {
        let path = format!("/v1/{page}");
        let c = lab.ask(get(&path, "secret"));
        assert_eq!(c.statuses(), [200], "{path}");
        assert!(
            serde_json::from_str::<serde_json::Value>(&c.body()).is_ok(),
            "{path}: {}",
            c.body()
        );
        assert_eq!(
            lab.ask(format!("GET {path} HTTP/1.1\r\nHost: fw\r\n\r\n"))
                .statuses(),
            [401],
            "{path}"
        );
    }
    let info: serde_json::Value =
        serde_json::from_str(&lab.ask(get("/v1/info", "secret")).body()).unwrap();
    assert_eq!(info["reasons"]["match"], 62);
    let metrics = lab.ask(get("/metrics", "secret"));
    for line in [
        "fugu_pf_states 2",
        "pf_state_total 2",
        "fugu_pf_reason_total{reason=\"match\"} 62",
        "fugu_interface_receive_packets_total{interface=\"vio0\"} 100",
        "pf_rule_packets_in_total{nr=\"1\",label=\"web\",origin=\"pf.conf:2\"} 20",
        "fugu_http_answers_total{code=\"401\"} 9",
    ] {
        assert!(
            metrics.text().lines().any(|l| l == line),
            "{line} is not in\n{}",
            metrics.text()
        );
    }
}

#[test]
fn states_sources_and_tables_are_changed_by_whoever_has_the_token() {
    let mut lab = Lab::new();
    let ask = |lab: &mut Lab, method: &str, path: &str, token: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: fw\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let c = lab.ask(head);
        (c.statuses(), c.text())
    };
    for (method, path, said, done) in [
        (
            "DELETE",
            "/v1/states?src=10.0.0.0/8",
            "\"killed\":3",
            "kill Hosts { from: \"10.0.0.0/8\", to: None }",
        ),
        ("DELETE", "/v1/states?id=1f", "\"killed\":3", "kill Id(31)"),
        (
            "DELETE",
            "/v1/states?interface=em0",
            "\"done\":true",
            "kill All on em0",
        ),
        (
            "DELETE",
            "/v1/states?label=web&interface=em0",
            "\"killed\":3",
            "kill Label(\"web\") on em0",
        ),
        (
            "DELETE",
            "/v1/sources?src=::1",
            "\"killed\":2",
            "kill sources Some(\"::1\") None",
        ),
        (
            "POST",
            "/v1/tables?table=bad&add=10.0.0.1,::1",
            "\"added\":0",
            "table bad Add([\"10.0.0.1\", \"::1\"])",
        ),
    ] {
        let (statuses, text) = ask(&mut lab, method, path, "secret");
        assert!(statuses == [200] && text.contains(said), "{path}: {text}");
        assert_eq!(lab.api.done.last().map(String::as_str), Some(done));
    }
    // What is not done says so, and how far it is.
    lab.api.kills = vec![control::fake::kill(5, false, 40)];
    let (statuses, text) = ask(&mut lab, "DELETE", "/v1/states?all=1", "secret");
    let said = "\"killed\":5,\"done\":false,\"percent\":40";
    assert!(statuses == [202] && text.contains(said), "{text}");
    lab.api.kills = vec![control::fake::kill(7, true, 100)];
    let (statuses, text) = ask(&mut lab, "GET", "/v1/kills", "secret");
    assert!(
        statuses == [200] && text.contains("[{\"kill\":1,\"what\":\"-F states\""),
        "{text}"
    );
    let changes = lab.api.done.len();
    for (method, path, token, status) in [
        ("DELETE", "/v1/states?src=10.0.0.0/8", "wrong", 401),
        ("DELETE", "/v1/states?all=2", "secret", 400),
        ("DELETE", "/v1/states", "secret", 400),
        ("POST", "/v1/tables?add=10.0.0.1", "secret", 400),
        ("POST", "/v1/tables?table=bad", "secret", 400),
        ("DELETE", "/v1/tables?table=bad", "secret", 405),
    ] {
        assert_eq!(
            ask(&mut lab, method, path, token).0,
            [status],
            "{method} {path}"
        );
    }
    assert_eq!(lab.api.done.len(), changes);
}

/// A part of a list would be believed to be all of it.
#[test]
fn a_list_that_is_not_whole_is_refused_and_a_box_that_stands_still_is_not_ready() {
    let mut lab = Lab::new();
    for path in ["/v1/states", "/v1/neighbors", "/v1/stations"] {
        lab.api.lack = Some("worker 1 does not answer".into());
        let c = lab.ask(get(path, "secret"));
        assert_eq!(c.statuses(), [503], "{path}");
        assert!(c.text().contains("not complete: worker 1 does not answer"));
        lab.api.lack = None;
        assert_eq!(lab.ask(get(path, "secret")).statuses(), [200], "{path}");
    }
    assert_eq!(lab.ask(get("/readyz", "")).statuses(), [200]);
    lab.api.status.workers[0].stalled = true;
    let c = lab.ask(get("/readyz", ""));
    assert_eq!(c.statuses(), [503]);
    assert!(c.text().contains("not ready: worker 0 stands still"));
}

#[test]
fn wrong_paths_methods_and_limits_are_named() {
    let mut lab = Lab::new();
    assert_eq!(lab.ask(get("/nothing", "secret")).statuses(), [404]);
    let c = lab.ask("POST /v1/bundle HTTP/1.1\r\nHost: fw\r\n\r\n");
    assert_eq!(c.statuses(), [405]);
    assert!(c.text().contains("Allow: PUT\r\n"));
    let c = lab.ask("DELETE /v1/status HTTP/1.1\r\nHost: fw\r\n\r\n");
    assert!(c.text().contains("Allow: GET, HEAD\r\n"));
    assert_eq!(
        lab.ask(get("/v1/states?limit=many", "secret")).statuses(),
        [400]
    );
    let c = lab.ask("PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\nAuthorization: Bearer secret\r\n\r\n");
    assert_eq!(c.statuses(), [411]);
}

#[test]
fn health_is_for_everybody_and_readiness_follows_the_policy() {
    let mut lab = Lab::new();
    let ask = |lab: &mut Lab, path: &str| {
        lab.ask(format!("GET {path} HTTP/1.1\r\nHost: fw\r\n\r\n"))
            .statuses()
    };
    assert_eq!(ask(&mut lab, "/healthz"), [200]);
    assert_eq!(ask(&mut lab, "/readyz"), [200]);
    lab.api.status.generation = 0;
    assert_eq!(ask(&mut lab, "/readyz"), [503]);
    assert_eq!(ask(&mut lab, "/healthz"), [200]);
}

#[test]
fn requests_in_a_row_are_served_in_order_on_one_connection() {
    let mut lab = Lab::new();
    let three = [
        get("/v1/status", "secret"),
        get("/nothing", "x"),
        get("/v1/rules", "secret"),
    ]
    .concat();
    let mut c = lab.saying(three);
    lab.until_answers(&mut c, 3);
    assert_eq!(c.statuses(), [200, 404, 200]);
    assert_eq!(lab.server.host().counters().accepted, 1);
}

#[test]
fn guessing_is_refused_for_a_while_even_with_the_right_token() {
    let mut lab = Lab::new();
    for _ in 0..10 {
        assert_eq!(lab.ask(get("/v1/status", "guess")).statuses(), [401]);
    }
    let c = lab.ask(get("/v1/status", "secret"));
    assert_eq!(c.statuses(), [429]);
    assert!(c.text().contains("Retry-After: "));
    assert_eq!(lab.server.counters().auth_failures, 10);
    lab.run_for(&mut { c }, Duration::from_secs(61));
    assert_eq!(lab.ask(get("/v1/status", "secret")).statuses(), [200]);
}

#[test]
fn a_thousand_half_open_connections_do_not_keep_a_client_out() {
    let mut lab = Lab::new();
    for i in 0..1000u32 {
        let source = format!("198.51.{}.{}", i / 250, i % 250 + 1);
        lab.others.push(syn(&source, 1024 + i as u16));
        if i % 50 == 0 {
            lab.tick();
        }
    }
    let took = lab.good_client_gets_through();
    assert!(took < Duration::from_millis(500), "{took:?}");
    // And while the flood goes on.
    let mut c = lab.saying(get("/v1/status", "secret"));
    for i in 0..1000u32 {
        for j in 0..20 {
            lab.others.push(syn(
                &format!("198.51.{}.{}", i % 250, j + 1),
                2000 + i as u16,
            ));
        }
        lab.tick();
        lab.pump(&mut c);
    }
    assert_eq!(c.statuses(), [200]);
    let counters = lab.server.host().counters();
    assert!(
        counters.cookies_sent > 20_000 && counters.cookies_valid >= 1,
        "{counters:?}"
    );
    // What is left of them is gone after the time for half-open connections.
    lab.run_for(&mut c, Duration::from_secs(6));
    lab.good_client_gets_through();
}

#[test]
fn a_connection_that_began_with_a_cookie_carries_megabytes() {
    for (server, flood) in [(SERVER, "198.51.100.1"), (SERVER6, "198.51.100.2")] {
        let mut lab = Lab::new();
        for port in 1..100 {
            lab.others.push(syn(flood, port));
        }
        lab.tick();
        let mut c = lab.connect_to(server);
        c.to_send = [
            put(Some("secret"), &vec![7; 2_000_000], ""),
            get("/v1/rules", "secret").into(),
        ]
        .concat();
        lab.until_answers(&mut c, 2);
        assert_eq!(c.statuses(), [200, 200]);
        assert_eq!(lab.server.host().counters().cookies_valid, 1);
        assert_eq!(lab.api.uploads, [2_000_000]);
        // It closes as others do.
        lab.sockets.get_mut::<tcp::Socket>(c.socket).close();
        lab.run_for(&mut c, Duration::from_millis(50));
        assert_eq!(lab.state(&c), tcp::State::TimeWait);
    }
}

#[test]
fn a_guessed_proof_opens_nothing() {
    let mut lab = Lab::new();
    for port in 1..100 {
        lab.others.push(syn("198.51.100.1", port));
    }
    lab.tick();
    for guess in 0..1000u32 {
        let ack = Some(guess.wrapping_mul(0x9e37_79b9));
        lab.others.push(segment(
            "198.51.100.7",
            9,
            SERVER,
            smoltcp::wire::TcpControl::None,
            8,
            ack,
        ));
        lab.tick();
    }
    assert_eq!(lab.server.host().counters().cookies_valid, 0);
    assert_eq!(lab.server.host().counters().accepted, 0);
}

#[test]
fn slow_requests_are_ended_and_do_not_keep_a_client_out() {
    let mut lab = Lab::new();
    let mut slow: Vec<Conversation> = (0..60)
        .map(|_| lab.saying("GET /v1/status HTTP/1.1\r\n"))
        .collect();
    for second in 0..12 {
        for c in &mut slow {
            c.to_send
                .extend_from_slice(format!("X-{second}: y\r\n").as_bytes());
        }
        for _ in 0..200 {
            lab.tick();
            for c in &mut slow {
                let socket = lab.sockets.get::<tcp::Socket>(c.socket);
                if socket.may_send() {
                    lab.pump(c);
                }
            }
        }
        assert!(lab.good_client_gets_through() < Duration::from_millis(500));
    }
    let mut c = lab.connect();
    lab.run_for(&mut c, Duration::from_secs(15));
    let open = slow
        .iter()
        .filter(|c| lab.state(c) == tcp::State::Established)
        .count();
    assert_eq!(open, 0);
}

#[test]
fn who_reads_no_answers_does_not_keep_a_client_out() {
    let mut lab = Lab::new();
    // More answers than fit into the buffers of both sides, to questions that need no token.
    let questions = "GET /healthz HTTP/1.1\r\nHost: fw\r\n\r\n".repeat(3000);
    let mut deaf: Vec<Conversation> = (0..60).map(|_| lab.saying(questions.as_str())).collect();
    for _ in 0..500 {
        lab.tick();
        for c in &mut deaf {
            let socket = lab.sockets.get_mut::<tcp::Socket>(c.socket);
            if socket.can_send() {
                c.sent += socket.send_slice(&c.to_send[c.sent..]).unwrap();
            }
        }
    }
    assert!(lab.good_client_gets_through() < Duration::from_millis(500));
}

#[test]
fn silent_connections_are_closed() {
    let mut lab = Lab::new();
    let mut c = lab.connect();
    lab.run_for(&mut c, Duration::from_secs(9));
    assert_eq!(lab.state(&c), tcp::State::Established);
    lab.run_for(&mut c, Duration::from_secs(4));
    assert_ne!(lab.state(&c), tcp::State::Established);
    assert!(c.got.is_empty());
}

#[test]
fn a_stalled_upload_is_ended_and_its_room_is_free_again() {
    let mut lab = Lab::new();
    let begin = "PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\nAuthorization: Bearer secret\r\nContent-Length: 1000\r\n\r\nabc";
    let (mut a, mut b) = (lab.saying(begin), lab.saying(begin));
    lab.run_for(&mut a, Duration::from_millis(20));
    lab.run_for(&mut b, Duration::from_millis(20));
    let third = lab.ask(put(Some("secret"), b"x", ""));
    assert_eq!(third.statuses(), [503]);
    lab.run_for(&mut a, Duration::from_secs(11));
    lab.pump(&mut b);
    assert_eq!((a.statuses(), b.statuses()), (vec![408], vec![408]));
    assert_eq!(lab.ask(put(Some("secret"), b"x", "")).statuses(), [200]);
}

#[test]
fn uploads_without_a_token_make_room_for_one_with() {
    let mut lab = Lab::new();
    lab.api.accepts_signatures = true;
    let begin = "PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\nContent-Length: 1000\r\n\r\nabc";
    let (mut a, mut b) = (lab.saying(begin), lab.saying(begin));
    lab.run_for(&mut a, Duration::from_millis(20));
    lab.run_for(&mut b, Duration::from_millis(20));
    assert_eq!(lab.ask(put(None, b"signed", "")).statuses(), [503]);
    assert_eq!(lab.ask(put(Some("secret"), b"x", "")).statuses(), [200]);
}

#[test]
fn pings_are_answered_and_closed_ports_refused() {
    let mut lab = Lab::new();
    let mut echo = vec![
        0x45, 0, 0, 36, 0, 1, 0, 0, 64, 1, 0, 0, 192, 0, 2, 100, 192, 0, 2, 1, // IPv4, ICMP
        8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    checksum_at(&mut echo, 0, 20, 10);
    checksum_at(&mut echo, 20, 36, 22);
    lab.server.host().deliver(&echo);
    lab.server.poll(lab.now, &mut lab.api);
    let reply = lab.server.host().next_packet().expect("echo reply");
    assert_eq!(
        (reply[20], &reply[28..], &reply[16..20]),
        (0, &echo[28..], &[192, 0, 2, 100][..])
    );

    let mut socket = tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; 100]),
        tcp::SocketBuffer::new(vec![0; 100]),
    );
    let remote: (IpAddress, u16) = (ip(SERVER).into(), 81);
    socket.connect(lab.iface.context(), remote, 555u16).unwrap();
    let handle = lab.sockets.add(socket);
    for _ in 0..5 {
        lab.tick();
    }
    assert_eq!(
        lab.sockets.get::<tcp::Socket>(handle).state(),
        tcp::State::Closed
    );
}

/// The Internet checksum (RFC 1071) over `from..to`, stored at `at`.
fn checksum_at(packet: &mut [u8], from: usize, to: usize, at: usize) {
    let sum: u32 = packet[from..to]
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[at..at + 2].copy_from_slice(&folded.to_be_bytes());
}

#[test]
fn ping_from_the_box_measures_the_client() {
    for to in [CLIENT, CLIENT6] {
        let mut lab = Lab::new();
        let mut pinger = lab.server.host().pinger();
        pinger.start(ip(to), 2).unwrap();
        let mut replies = Vec::new();
        for _ in 0..3000 {
            lab.tick();
            match pinger.poll() {
                Some(more) => replies.extend(more),
                None => break,
            }
        }
        assert_eq!(replies.len(), 2, "{to}");
        for (i, reply) in replies.iter().enumerate() {
            match reply {
                PingReply::Answer {
                    bytes,
                    seq,
                    ttl,
                    rtt,
                } => {
                    assert_eq!((*bytes, usize::from(*seq), *ttl), (64, i, 64));
                    assert!(
                        *rtt > Duration::ZERO && *rtt < Duration::from_millis(5),
                        "{rtt:?}"
                    );
                }
                PingReply::Timeout { .. } => panic!("{to}: {reply:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_for_us_is_counted_and_ignored() {
    let mut lab = Lab::new();
    let stranger = segment(
        CLIENT,
        1,
        "203.0.113.1",
        smoltcp::wire::TcpControl::Syn,
        1,
        None,
    );
    let spoofed = segment(
        "127.0.0.1",
        1,
        SERVER,
        smoltcp::wire::TcpControl::Syn,
        1,
        None,
    );
    for packet in [&stranger[..], &spoofed, b"", b"\x45\0", &[0xff; 100]] {
        lab.server.host().deliver(packet);
    }
    lab.tick();
    let counters = lab.server.host().counters();
    assert_eq!(
        (counters.dropped_not_local, counters.dropped_malformed),
        (1, 4)
    );
    assert_eq!(counters.packets_out, 0);
}

#[test]
fn a_flood_in_one_poll_is_bounded() {
    let mut lab = Lab::new();
    for i in 0..2000u16 {
        lab.server.host().deliver(&syn(CLIENT, i + 1));
    }
    let counters = lab.server.host().counters();
    assert_eq!(counters.packets_in, 2000);
    assert!(counters.dropped_queue_full >= 1400, "{counters:?}");
}

#[test]
fn connections_to_an_address_that_is_gone_end() {
    let mut lab = Lab::new();
    let mut c = lab.saying(get("/v1/status", "secret"));
    lab.until_answers(&mut c, 1);
    lab.server.host().set_addresses(&[(ip("192.0.2.2"), 24)]);
    c.to_send
        .extend_from_slice(get("/v1/status", "secret").as_bytes());
    lab.run_for(&mut c, Duration::from_secs(1));
    assert_eq!(c.statuses(), [200], "nothing more on the old address");
    let mut c = lab.connect_to("192.0.2.2");
    c.to_send = get("/v1/status", "secret").into();
    lab.until_answers(&mut c, 1);
}

#[test]
fn sleeping_until_poll_at_is_enough() {
    let mut lab = Lab::new();
    let mut c = lab.connect();
    lab.run_for(&mut c, Duration::from_millis(50));
    // Nobody moves, so nothing but the header time-out is left to wait for.
    let at = lab.server.poll_at(lab.now).expect("a deadline");
    assert!(
        at > lab.now + Duration::from_secs(9) && at < lab.now + Duration::from_secs(11),
        "{:?} at {:?}",
        at,
        lab.now
    );
    let config = HostConfig::default();
    assert!(config.connections * (config.receive_buffer + config.send_buffer) <= 4 << 20);
}
