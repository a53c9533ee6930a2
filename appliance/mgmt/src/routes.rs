//! Which path is what, and which methods it knows. No more than a table: what is done is in [`crate::server`].

/// A resource of the API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    Bundle,
    Status,
    Info,
    Rules,
    States,
    Kills,
    Interfaces,
    Routes,
    Neighbors,
    Stations,
    Tables,
    Sources,
    Limiters,
    Why,
    Pflog,
    Anchors,
    /// One anchor; its path follows.
    Anchor,
    Metrics,
    Health,
    Ready,
}

/// Everything there is.
pub(crate) const TABLE: [(&str, Route); 19] = [
    ("/v1/bundle", Route::Bundle),
    ("/v1/status", Route::Status),
    ("/v1/info", Route::Info),
    ("/v1/rules", Route::Rules),
    ("/v1/states", Route::States),
    ("/v1/kills", Route::Kills),
    ("/v1/interfaces", Route::Interfaces),
    ("/v1/routes", Route::Routes),
    ("/v1/neighbors", Route::Neighbors),
    ("/v1/stations", Route::Stations),
    ("/v1/tables", Route::Tables),
    ("/v1/sources", Route::Sources),
    ("/v1/limiters", Route::Limiters),
    ("/v1/why", Route::Why),
    ("/v1/pflog", Route::Pflog),
    ("/v1/anchors", Route::Anchors),
    ("/metrics", Route::Metrics),
    ("/healthz", Route::Health),
    ("/readyz", Route::Ready),
];

/// What is at `path`.
pub(crate) fn find(path: &str) -> Option<Route> {
    if anchor_of(path).is_some() {
        return Some(Route::Anchor);
    }
    TABLE.iter().find(|(p, _)| *p == path).map(|(_, r)| *r)
}

/// The anchor that a path names: `/v1/anchors/outer/inner`.
pub(crate) fn anchor_of(path: &str) -> Option<&str> {
    let anchor = path.strip_prefix("/v1/anchors/")?;
    Some(anchor.trim_end_matches('/')).filter(|anchor| !anchor.is_empty())
}

impl Route {
    /// Value of `Allow`.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Route::Bundle => "PUT",
            Route::States | Route::Sources => "GET, HEAD, DELETE",
            Route::Tables => "GET, HEAD, POST",
            Route::Why => "POST",
            Route::Anchor => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD",
        }
    }

    /// True if `method` is one of [`Route::allow`].
    pub(crate) fn allows(self, method: &str) -> bool {
        self.allow().split(", ").any(|m| m == method)
    }

    /// True if anybody may ask: says no more than "up" and "ready".
    pub(crate) fn is_public(self) -> bool {
        matches!(self, Route::Health | Route::Ready)
    }
}

/// Value of `name` in a query: `limit=10&x=y`. No percent-decoding: every value we know is a number, a
/// name or a list of addresses.
pub(crate) fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}
