//! One HTTP connection: any bytes in pieces of any length, with time passing, never panic, and a body never grows beyond
//! its limit. A zero byte in the input ends a piece and lets a second pass.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mgmt::http::{BodyLength, Connection, Event, Limits, Response};

const BODY_MAX: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        body: BODY_MAX,
        ..Limits::default()
    };
    let mut now = Duration::ZERO;
    let mut connection = Connection::new(limits, now);
    for piece in data.split(|b| *b == 0) {
        feed(&mut connection, piece, now);
        now += Duration::from_secs(1);
        connection.expire(now);
    }
    connection.peer_closed(now);
});

fn feed(connection: &mut Connection, mut bytes: &[u8], now: Duration) {
    loop {
        let taken = connection.feed(bytes, now);
        bytes = &bytes[taken..];
        let mut moved = taken > 0;
        while let Some(event) = connection.event() {
            moved = true;
            answer(connection, event, now);
        }
        let ready = connection.output().len();
        connection.sent(ready, now);
        if !moved && ready == 0 {
            return;
        }
    }
}

fn answer(connection: &mut Connection, event: Event, now: Duration) {
    match event {
        Event::Head(head) if head.body != BodyLength::None => connection.accept_body(now),
        Event::Head(_) => connection.respond(&Response::error(404, "nothing"), now),
        Event::Body(_, body) => {
            assert!(body.len() <= BODY_MAX);
            connection.respond(&Response::new(200, "text/plain", body), now);
        }
    }
}
