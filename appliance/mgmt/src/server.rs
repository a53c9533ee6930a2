//! The management server: each connection of the local host gets an HTTP state machine, each request an answer from the
//! control core. Decides who may ask what, in this order: is the source refused for guessing, is there such a path, does
//! it know the method, is the proof good, is there room; only then is a body read.
//!
//! Owner: the control core, which calls [`Server::poll`] from its loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use control::api::{Api, Proof, Refused, Sample};

use crate::answers;
use crate::guard::{Guard, Verdict};
use crate::host::{HostConfig, LocalHost, Phase, Rank};
use crate::http::{BodyLength, Connection, Event, Head, Limits, Response};
use crate::metrics::{self, Labeled, counter, gauge};
use crate::routes::{self, Route};

/// Bodies received at once. Each may take [`Limits::body`] bytes of memory.
pub(crate) const UPLOADS_MAX: usize = 2;
/// Longest rules of an anchor, in bytes.
const ANCHOR_MAX: u64 = 1 << 20;
/// Longest body of a question, in bytes: a frame in hexadecimal.
const QUESTION_MAX: u64 = 64 << 10;
/// An upload without a token must be done after this when somebody else waits.
const UNPROVEN_UPLOAD_GRACE: Duration = Duration::from_secs(10);
/// Rounds of receive and send for one connection in one poll.
const ROUNDS_PER_POLL: usize = 8;

/// What can be set about the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerConfig {
    /// The local host below it.
    pub host: HostConfig,
    /// What a connection is held to.
    pub limits: Limits,
}

/// What the server did since start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerCounters {
    /// Answers by status code.
    pub answers: BTreeMap<u16, u64>,
    /// Proofs that were presented and wrong.
    pub auth_failures: u64,
    /// Requests refused because their source had guessed wrong too often.
    pub refused_sources: u64,
    /// Uploads refused because others were under way.
    pub refused_busy: u64,
}

/// One connection.
struct Session {
    /// The place's serial when it began.
    serial: u64,
    peer: IpAddr,
    http: Connection,
    upload: Option<Upload>,
    /// A valid token was shown, or a bundle with a good signature.
    proven: bool,
    closed: bool,
}

/// An upload under way.
struct Upload {
    proof: Proof,
    began: Duration,
}

/// Local host and HTTP together.
pub struct Server {
    host: LocalHost,
    limits: Limits,
    sessions: Vec<Option<Session>>,
    guard: Guard,
    counters: ServerCounters,
}

impl Server {
    /// A server on a host without addresses. `seed` must be unpredictable.
    pub fn new(config: ServerConfig, seed: u64) -> Self {
        let host = LocalHost::new(config.host, seed);
        let sessions = (0..host.places()).map(|_| None).collect();
        Server {
            host,
            limits: config.limits,
            sessions,
            guard: Guard::default(),
            counters: ServerCounters::default(),
        }
    }

    /// The host: addresses are set, packets delivered and fetched there.
    pub fn host(&mut self) -> &mut LocalHost {
        &mut self.host
    }

    /// What happened so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Does what is to be done now. Bounded work, except that an upload is applied here.
    pub fn poll(&mut self, now: Duration, api: &mut dyn Api) {
        self.host.poll(now);
        for place in 0..self.sessions.len() {
            self.tend(place, now, api);
        }
        self.host.poll(now);
    }

    /// When [`Server::poll`] should be called again if no packet is delivered before.
    pub fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        let http = self
            .sessions
            .iter()
            .flatten()
            .filter_map(|s| s.http.deadline())
            .min();
        self.host.poll_at(now).into_iter().chain(http).min()
    }

    /// Moves bytes between one connection and its state machine.
    fn tend(&mut self, place: usize, now: Duration, api: &mut dyn Api) {
        let Some(mut session) = self.session_at(place, now) else {
            return;
        };
        for _ in 0..ROUNDS_PER_POLL {
            let mut moved = self
                .host
                .receive(place, |bytes| session.http.feed(bytes, now));
            while let Some(event) = session.http.event() {
                moved = true;
                self.on_event(&mut session, event, now, api);
            }
            moved |= self.send(place, &mut session, now);
            if !moved {
                break;
            }
        }
        if self.host.peer_is_done(place) {
            session.http.peer_closed(now);
        }
        session.http.expire(now);
        if !session.http.receives_body() {
            session.upload = None;
        }
        self.send(place, &mut session, now);
        self.settle(place, session);
    }

    /// The session at a place: the one that is there, or a new one for a new connection.
    fn session_at(&mut self, place: usize, now: Duration) -> Option<Session> {
        let serial = self.host.serial(place);
        let old = self.sessions[place].take().filter(|s| s.serial == serial);
        if matches!(self.host.phase(place), Phase::Listening | Phase::HalfOpen) {
            return None;
        }
        let (peer, _) = self.host.remote(place)?;
        Some(old.unwrap_or_else(|| Session {
            serial,
            peer,
            http: Connection::new(self.limits, now),
            upload: None,
            proven: false,
            closed: false,
        }))
    }

    fn send(&mut self, place: usize, session: &mut Session, now: Duration) -> bool {
        let n = self.host.send(place, session.http.output());
        if n > 0 {
            session.http.sent(n, now);
        }
        n > 0
    }

    /// Closes what is over and says how much the rest deserves to stay.
    fn settle(&mut self, place: usize, mut session: Session) {
        if session.http.wants_close() && !session.closed {
            session.closed = true;
            self.host.close(place);
        }
        if session.http.is_over() {
            // Closed by both sides: nothing more is sent. Otherwise the peer still sends what nobody reads.
            if self.host.phase(place) == Phase::Open || !self.host.peer_is_done(place) {
                self.host.abort(place);
            }
            return;
        }
        // Answers that anybody may ask for hold no place: who does not read them would keep everybody else out.
        let answered = session.proven && !session.http.output().is_empty();
        let keep = session.upload.is_some() || answered;
        self.host
            .set_rank(place, if keep { Rank::Keep } else { Rank::Expendable });
        self.sessions[place] = Some(session);
    }
}

/// Requests.
impl Server {
    fn on_event(&mut self, session: &mut Session, event: Event, now: Duration, api: &mut dyn Api) {
        let answer = match event {
            Event::Head(head) => self.on_head(session, &head, now, api),
            Event::Body(head, body) => Some(match routes::find(&head.path) {
                Some(Route::Why) => answers::why(&body, api),
                Some(Route::Anchor) => {
                    let anchor = routes::anchor_of(&head.path).unwrap_or_default();
                    let proof = proof_of(&head).unwrap_or(Proof::Signature);
                    answers::anchor_edited(&api.set_anchor(anchor, &body, &proof))
                }
                _ => self.on_upload(session, &body, now, api),
            }),
        };
        if let Some(response) = answer {
            *self.counters.answers.entry(response.status).or_default() += 1;
            session.http.respond(&response, now);
        }
    }

    /// Answers, or accepts the body and returns nothing.
    fn on_head(
        &mut self,
        session: &mut Session,
        head: &Head,
        now: Duration,
        api: &mut dyn Api,
    ) -> Option<Response> {
        let Some(route) = routes::find(&head.path) else {
            return Some(Response::error(404, "there is nothing at this path"));
        };
        if !route.allows(&head.method) {
            let text = format!("{} is not possible here", head.method);
            return Some(Response::error(405, &text).with("Allow", route.allow()));
        }
        if route.is_public() {
            return Some(answers::get(route, &head.query, api));
        }
        if let Some(seconds) = self.guard.refused(session.peer, now) {
            self.counters.refused_sources += 1;
            let text = "too many wrong proofs from this address";
            return Some(Response::error(429, text).with("Retry-After", seconds.to_string()));
        }
        let proof = match proof_of(head) {
            Ok(proof) => proof,
            Err(text) => return Some(answers::unauthorized(text)),
        };
        if route == Route::Why || route == Route::Anchor && head.method == "PUT" {
            return self.on_question_head(session, head, &proof, now, api);
        }
        if route == Route::Bundle {
            return self.on_upload_head(session, head, proof, now, api);
        }
        if !api.may_read(&proof) {
            return Some(self.wrong_proof(session.peer, &proof, "read", now));
        }
        session.proven = true;
        let anchor = routes::anchor_of(&head.path);
        Some(match route {
            Route::Anchor if head.method == "DELETE" => {
                answers::anchor_edited(&api.reset_anchor(anchor.unwrap_or_default(), &proof))
            }
            Route::Anchor => answers::anchor(anchor.unwrap_or_default(), api),
            Route::Metrics => answers::metrics(metrics::page(api, self.samples())),
            Route::States | Route::Sources | Route::Tables if !is_reading(&head.method) => {
                answers::change(route, &head.query, api)
            }
            _ => answers::get(route, &head.query, api),
        })
    }

    /// The short body of a question, or the rules of an anchor.
    fn on_question_head(
        &mut self,
        session: &mut Session,
        head: &Head,
        proof: &Proof,
        now: Duration,
        api: &mut dyn Api,
    ) -> Option<Response> {
        let most = match routes::find(&head.path) {
            Some(Route::Anchor) => ANCHOR_MAX,
            _ => QUESTION_MAX,
        };
        match head.body {
            BodyLength::Known(n) if n <= most.min(self.limits.body as u64) => {}
            BodyLength::Known(_) => return Some(Response::error(413, "the body is too long")),
            _ => return Some(Response::error(411, "the body needs a Content-Length")),
        }
        if !api.may_read(proof) {
            return Some(self.wrong_proof(session.peer, proof, "ask", now));
        }
        session.proven = true;
        session.http.accept_body(now);
        None
    }

    fn on_upload_head(
        &mut self,
        session: &mut Session,
        head: &Head,
        proof: Proof,
        now: Duration,
        api: &mut dyn Api,
    ) -> Option<Response> {
        match head.body {
            BodyLength::None => {
                return Some(Response::error(411, "a bundle needs a Content-Length"));
            }
            BodyLength::Known(n) if n > self.limits.body as u64 => {
                let text = format!("a bundle may have {} bytes, not {n}", self.limits.body);
                return Some(Response::error(413, &text));
            }
            BodyLength::Known(_) | BodyLength::Chunked => {}
        }
        if !api.may_upload(&proof) {
            return Some(self.wrong_proof(session.peer, &proof, "upload", now));
        }
        if !self.has_room_for_upload(&proof, now) {
            self.counters.refused_busy += 1;
            let text = format!("{UPLOADS_MAX} uploads are under way already");
            return Some(Response::error(503, &text).with("Retry-After", "2"));
        }
        session.proven |= proof != Proof::Signature;
        session.upload = Some(Upload { proof, began: now });
        session.http.accept_body(now);
        None
    }

    fn on_upload(
        &mut self,
        session: &mut Session,
        body: &[u8],
        now: Duration,
        api: &mut dyn Api,
    ) -> Response {
        let proof = session.upload.take().map_or(Proof::Signature, |u| u.proof);
        let peer = session.peer;
        match api.apply_bundle(body, &proof) {
            Ok(applied) => {
                session.proven = true;
                log::info!(
                    "bundle {} from {peer}: generation {}",
                    applied.digest,
                    applied.generation
                );
                answers::applied(&applied)
            }
            Err(why) => {
                if let Refused::Unauthorized(text) = &why {
                    self.count_failure(peer, text, now);
                } else {
                    log::warn!("bundle from {peer} refused: {}", headline(&why));
                }
                answers::refused(&why)
            }
        }
    }

    /// True if one more body may come in. Whoever shows a token displaces one who did not; and among those who did not,
    /// one who dawdles is displaced, so that nobody can hold the door shut by uploading a byte at a time.
    fn has_room_for_upload(&mut self, proof: &Proof, now: Duration) -> bool {
        let uploads = || {
            self.sessions
                .iter()
                .enumerate()
                .filter_map(|(i, s)| Some((i, s.as_ref()?.upload.as_ref()?)))
        };
        if uploads().count() < UPLOADS_MAX {
            return true;
        }
        let unproven = uploads()
            .filter(|(_, u)| u.proof == Proof::Signature)
            .min_by_key(|(_, u)| u.began);
        let proven = *proof != Proof::Signature;
        let displaced = unproven
            .filter(|(_, u)| proven || now >= u.began + UNPROVEN_UPLOAD_GRACE)
            .map(|(i, _)| i);
        if let Some(place) = displaced {
            self.sessions[place] = None;
            self.host.abort(place);
        }
        displaced.is_some()
    }

    fn wrong_proof(&mut self, peer: IpAddr, proof: &Proof, what: &str, now: Duration) -> Response {
        match proof {
            Proof::Bearer(_) => {
                self.count_failure(peer, &format!("wrong token, wanted to {what}"), now);
                answers::unauthorized("the token is not valid")
            }
            // Nothing was shown, so nothing was guessed.
            Proof::Signature | Proof::Console => answers::unauthorized("a bearer token is needed"),
        }
    }

    /// Logged until the source is refused, so a guesser fills at most a screen of the log a minute.
    fn count_failure(&mut self, peer: IpAddr, text: &str, now: Duration) {
        self.counters.auth_failures += 1;
        log::warn!("refused {peer}: {text}");
        if self.guard.fail(peer, now) == Verdict::RefusedFromNow {
            log::warn!(
                "{peer} guessed wrong too often and is refused for {} s",
                crate::guard::REFUSE_FOR.as_secs()
            );
        }
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = self.samples_of_http();
        samples.extend(self.samples_of_host());
        samples
    }

    fn samples_of_http(&self) -> Vec<Sample> {
        let c = &self.counters;
        let mut out = vec![
            counter(
                "fugu_http_auth_failures_total",
                "Proofs that were presented and wrong.",
                c.auth_failures,
            ),
            counter(
                "fugu_http_refused_sources_total",
                "Requests refused because their source guessed too often.",
                c.refused_sources,
            ),
            counter(
                "fugu_http_refused_busy_total",
                "Uploads refused because others were under way.",
                c.refused_busy,
            ),
            counter(
                "fugu_http_connections_total",
                "Connections established.",
                self.host.counters().accepted,
            ),
            gauge(
                "fugu_http_connections",
                "Connections open.",
                self.sessions.iter().flatten().count() as f64,
            ),
        ];
        for (code, n) in &c.answers {
            out.push(
                counter("fugu_http_answers_total", "Answers by status code.", *n)
                    .label("code", code.to_string()),
            );
        }
        out
    }

    fn samples_of_host(&self) -> Vec<Sample> {
        let host = self.host.counters();
        let mut out = vec![
            counter(
                "fugu_local_receive_packets_total",
                "Packets delivered to the local host.",
                host.packets_in,
            ),
            counter(
                "fugu_local_transmit_packets_total",
                "Packets sent by the local host.",
                host.packets_out,
            ),
            counter(
                "fugu_local_half_open_ended_total",
                "Half-open connections that were ended.",
                host.half_open_ended,
            ),
            counter(
                "fugu_local_syn_cookies_sent_total",
                "SYNs answered with a cookie.",
                host.cookies_sent,
            ),
            counter(
                "fugu_local_syn_cookies_valid_total",
                "Connections that began with a cookie.",
                host.cookies_valid,
            ),
            counter(
                "fugu_local_evicted_total",
                "Connections ended because another needed the room.",
                host.evicted,
            ),
        ];
        let drops = [
            ("queue-full", host.dropped_queue_full),
            ("malformed", host.dropped_malformed),
            ("not-local", host.dropped_not_local),
        ];
        for (reason, n) in drops {
            out.push(
                counter(
                    "fugu_local_drops_total",
                    "Packets the local host dropped.",
                    n,
                )
                .label("reason", reason),
            );
        }
        out
    }
}

/// What the client shows. `Err` if it shows something of a kind that is not understood.
fn proof_of(head: &Head) -> Result<Proof, &'static str> {
    let Some(value) = &head.authorization else {
        return Ok(Proof::Signature);
    };
    match value.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() =>
        {
            Ok(Proof::Bearer(token.trim().to_string()))
        }
        _ => Err("the only scheme understood is Bearer"),
    }
}

/// One line for the log.
fn headline(why: &Refused) -> String {
    match why {
        Refused::Unauthorized(t)
        | Refused::Replayed(t)
        | Refused::TooLarge(t)
        | Refused::Failed(t) => t.clone(),
        Refused::Invalid(list) => match list
            .iter()
            .find(|d| d.severity == pfconf::diag::Severity::Error)
        {
            Some(first) => format!("{first} ({} messages)", list.len()),
            None => format!("{} messages", list.len()),
        },
    }
}

/// The method changes nothing.
fn is_reading(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}
