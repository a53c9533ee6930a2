//! What the control core says, as HTTP answers. The JSON is documented in `docs/api.md`; fields are only ever added.

use control::api::{
    Api, Applied, Killing, Listed, LoggedPacket, NotKilled, Question, Refused, TableEdit,
};
use pfconf::diag::Diagnostic;
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::Response;
use crate::routes::{Route, query_value};

/// States in an answer if the client names no limit.
pub(crate) const STATES_DEFAULT: usize = 1000;
/// States in an answer at most: about 4 MB of JSON.
pub(crate) const STATES_MAX: usize = 10_000;

/// Content type of the text form 0.0.4 that Prometheus reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a GET that is allowed.
pub(crate) fn get(route: Route, query: &str, api: &mut dyn Api) -> Response {
    match route {
        Route::Status => as_json(&api.status()),
        Route::Info => as_json(&api.pf_info()),
        Route::Rules => as_json(&api.rules()),
        Route::Interfaces => as_json(&api.interfaces()),
        Route::Routes => as_json(&api.routes()),
        Route::Neighbors => listed(api.neighbors()),
        Route::Stations => listed(api.stations()),
        Route::Tables => as_json(&api.tables()),
        Route::Sources => as_json(&api.sources()),
        Route::Limiters => as_json(&api.limiters()),
        Route::Anchors => as_json(&api.anchors()),
        Route::Kills => as_json(&api.kills()),
        Route::Pflog => pflog(query, api),
        Route::States => match states_limit(query) {
            Ok(limit) => listed(api.states(limit)),
            Err(text) => Response::error(400, &text),
        },
        Route::Health => text(200, "ok\n"),
        Route::Ready => ready(api),
        // Metrics need counters of the server and are made there; a bundle is not read back yet.
        Route::Metrics | Route::Bundle | Route::Why | Route::Anchor => {
            Response::error(404, "not found")
        }
    }
}

/// A list if it is all there is. An array has no place to say what is missing, and a part of it would be believed.
fn listed<T: Serialize>(listed: Listed<T>) -> Response {
    match listed.all() {
        Ok(entries) => as_json(&entries),
        Err(note) => Response::error(503, &note).with("Retry-After", "2"),
    }
}

/// The answer to a DELETE or POST that is allowed: what is meant stands in the query.
pub(crate) fn change(route: Route, query: &str, api: &mut dyn Api) -> Response {
    let value = |name| query_value(query, name);
    let done = match route {
        Route::States => return kill(query, api),
        Route::Sources => api.kill_sources(value("src"), value("redirect")),
        Route::Tables => return edited(query, api),
        _ => return Response::error(405, "nothing can be changed here"),
    };
    match done {
        Ok(killed) => json_of(200, &json!({ "killed": killed })),
        Err(text) => Response::error(400, &text),
    }
}

/// Kills states. 202 if that is not done after a moment: `GET /v1/kills` then says how far it is.
fn kill(query: &str, api: &mut dyn Api) -> Response {
    let begun = killing(query).map_err(NotKilled::Wrong);
    match begun.and_then(|which| api.kill_states(&which, query_value(query, "interface"))) {
        Ok(view) => json_of(if view.done { 200 } else { 202 }, &view),
        Err(NotKilled::Wrong(text)) => Response::error(400, &text),
        Err(busy) => Response::error(503, &busy.to_string()).with("Retry-After", "2"),
    }
}

/// Which states: one of `src` (and `dst`), `label`, `id`; `all=1` for all of them, or `interface` alone.
fn killing(query: &str) -> Result<Killing, String> {
    let value = |name| query_value(query, name).map(String::from);
    if let Some(from) = value("src") {
        let to = value("dst");
        return Ok(Killing::Hosts { from, to });
    }
    if let Some(label) = value("label") {
        return Ok(Killing::Label(label));
    }
    if let Some(text) = value("id") {
        let id = u64::from_str_radix(text.trim_start_matches("0x"), 16);
        return id
            .map(Killing::Id)
            .map_err(|_| format!("id: '{text}' is no id of a state"));
    }
    match value("all").as_deref() {
        Some("1") => Ok(Killing::All),
        None if value("interface").is_some() => Ok(Killing::All),
        _ => Err("which states? src=, label=, id=, interface= or all=1".into()),
    }
}

/// `table=NAME` and one of `add`, `delete`, `replace`, `test` with addresses between commas, `expire=SECONDS`,
/// `flush=1`, `kill=1`, `zero=1` or `zero` with addresses.
fn edited(query: &str, api: &mut dyn Api) -> Response {
    let Some(table) = query_value(query, "table") else {
        return Response::error(400, "which table? table=NAME");
    };
    let list = |name| {
        let words = query_value(query, name)?.split(',');
        let words = words.filter(|w| !w.is_empty());
        Some(words.map(String::from).collect::<Vec<String>>())
    };
    let seconds = query_value(query, "expire").and_then(|s| s.parse().ok());
    let edits = [
        list("add").map(TableEdit::Add),
        list("delete").map(TableEdit::Delete),
        list("replace").map(TableEdit::Replace),
        list("test").map(TableEdit::Test),
        seconds.map(TableEdit::Expire),
        query_value(query, "flush").map(|_| TableEdit::Flush),
        query_value(query, "kill").map(|_| TableEdit::Kill),
        list("zero").map(|which| TableEdit::Zero(addresses(which))),
    ];
    let Some(edit) = edits.into_iter().flatten().next() else {
        let text = "what to do? add=, delete=, replace=, test=, expire=, flush=1, kill=1 or zero=1";
        return Response::error(400, text);
    };
    match api.edit_table(table, &edit) {
        Ok(edited) => as_json(&edited),
        Err(text) => Response::error(400, &text),
    }
}

/// `1` stands for all.
fn addresses(mut which: Vec<String>) -> Vec<String> {
    which.retain(|word| word != "1");
    which
}

/// `/metrics`
pub(crate) fn metrics(text: String) -> Response {
    Response::new(200, PROMETHEUS, text)
}

/// Ready means: a policy is loaded and packets are forwarded.
fn ready(api: &mut dyn Api) -> Response {
    let status = api.status();
    if let Some(worker) = status.workers.iter().find(|w| w.stalled) {
        return text(
            503,
            &format!("not ready: worker {} stands still\n", worker.id),
        );
    }
    match (status.forwarding, status.generation) {
        (true, 1..) => text(200, "ready\n"),
        (true, 0) => text(503, "not ready: no policy is loaded\n"),
        (false, _) => text(503, "not ready: packets are not forwarded yet\n"),
    }
}

fn states_limit(query: &str) -> Result<usize, String> {
    let Some(value) = query_value(query, "limit") else {
        return Ok(STATES_DEFAULT);
    };
    match value.parse() {
        Ok(n) if n <= STATES_MAX => Ok(n),
        _ => Err(format!("limit: not a number from 0 to {STATES_MAX}")),
    }
}

/// The answer to an upload that was taken.
pub(crate) fn applied(applied: &Applied) -> Response {
    let result = if applied.changed {
        "applied"
    } else {
        "no-change"
    };
    json_of(
        200,
        &json!({
            "result": result,
            "generation": applied.generation,
            "digest": applied.digest,
            "warnings": diagnostics(&applied.warnings),
        }),
    )
}

/// The answer to an upload that was not.
pub(crate) fn refused(why: &Refused) -> Response {
    match why {
        Refused::Unauthorized(text) => unauthorized(text),
        Refused::Replayed(text) => Response::error(409, text),
        Refused::TooLarge(text) => Response::error(413, text),
        Refused::Failed(text) => Response::error(500, text),
        Refused::Invalid(list) => json_of(
            422,
            &json!({
                "result": "refused",
                "errors": diagnostics(list),
            }),
        ),
    }
}

/// Logged packets: a capture, or with `format=json` in words; `since=N` leaves out those before.
fn pflog(query: &str, api: &mut dyn Api) -> Response {
    let since = match query_value(query, "since").map(str::parse).transpose() {
        Ok(since) => since.unwrap_or(0),
        Err(_) => return Response::error(400, "since: not a number"),
    };
    let (records, next) = api.pflog(since);
    if query_value(query, "format") == Some("json") {
        let views: Vec<_> = records.iter().map(LoggedPacket::view).collect();
        return json_of(200, &json!({"next": next, "packets": views}));
    }
    let capture = control::pflog::pcap(&records);
    Response::new(200, "application/vnd.tcpdump.pcap", capture)
        .with("X-Pflog-Next", next.to_string())
}

/// `GET /v1/anchors/PATH`: the rules of an anchor.
pub(crate) fn anchor(path: &str, api: &mut dyn Api) -> Response {
    if !api.anchors().iter().any(|a| a.path == path) {
        return Response::error(404, "there is no such anchor");
    }
    let mut rules = api.rules();
    rules.retain(|rule| rule.anchor == path);
    as_json(&rules)
}

/// What came of an edit.
pub(crate) fn anchor_edited(outcome: &Result<Applied, Refused>) -> Response {
    match outcome {
        Ok(done) => applied(done),
        Err(why) => refused(why),
    }
}

/// `POST /v1/why`: a packet in words, or `{"on": "em0", "frame": "hex"}`.
pub(crate) fn why(body: &[u8], api: &mut dyn Api) -> Response {
    let question = match question(body) {
        Ok(question) => question,
        Err(text) => return Response::error(400, &text),
    };
    match api.why(&question) {
        Ok(told) => as_json(&told),
        Err(text) => Response::error(400, &text),
    }
}

fn question(body: &[u8]) -> Result<Question, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    if !text.trim_start().starts_with('{') {
        return Ok(Question::Words(text.into()));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
    let field = |name: &str| value.get(name).and_then(Value::as_str).map(String::from);
    match (field("packet"), field("on"), field("frame")) {
        (Some(words), _, _) => Ok(Question::Words(words)),
        (None, Some(interface), Some(frame)) => Ok(Question::Frame {
            interface,
            frame: bytes_of(&frame).ok_or("frame: not hexadecimal")?,
        }),
        _ => Err("either packet, or on and frame".into()),
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|t| t.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}

/// 401, with the scheme that would do.
pub(crate) fn unauthorized(text: &str) -> Response {
    Response::error(401, text).with("WWW-Authenticate", "Bearer realm=\"fugu\"")
}

fn diagnostics(list: &[Diagnostic]) -> Vec<Value> {
    list.iter().map(diagnostic).collect()
}

fn diagnostic(d: &Diagnostic) -> Value {
    json!({
        "severity": d.severity.to_string(),
        "code": d.code,
        "file": d.file,
        "line": d.line,
        "column": d.column,
        "length": d.length,
        "text": d.text,
        "hint": d.hint,
        "source": d.source,
    })
}

fn text(status: u16, body: &str) -> Response {
    Response::new(status, "text/plain; charset=utf-8", body)
}

fn as_json<T: Serialize>(value: &T) -> Response {
    json_of(200, value)
}

fn json_of<T: Serialize>(status: u16, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            Response::new(status, "application/json", body)
        }
        Err(e) => Response::error(500, &format!("cannot be written as JSON: {e}")),
    }
}
