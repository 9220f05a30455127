//! Who may call: the token, and on loopback the defence against pages of other sites (CSRF, DNS rebinding).

use super::problem::Problem;
use crate::secret::Secret;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};
use std::{net::IpAddr, sync::Arc};

/// What a request must show.
pub(super) struct Guard {
    /// This, as a bearer token.
    pub(super) token: Option<Secret>,
    /// A name of this machine as its host, since it listens nowhere else.
    pub(super) loopback: bool,
}

pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Result<Response, Problem> {
    guard.admits(request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

impl Guard {
    fn admits(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
        if self.loopback && !host.is_some_and(is_loopback) {
            return Err(foreign("foreign_host", "host", "this API answers to 127.0.0.1, [::1] and localhost alone"));
        }
        let own = |origin: &str| {
            let of = origin.split_once("://").map_or(origin, |(_, of)| of);
            if self.loopback { is_loopback(of) } else { Some(of) == host }
        };
        if headers.contains_key(header::ORIGIN) && !text(header::ORIGIN).is_some_and(own) {
            return Err(foreign("foreign_origin", "origin", "pages of other sites may not call this API"));
        }
        let Some(token) = &self.token else { return Ok(()) };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match shown {
            Some(shown) if token.matches(shown) => Ok(()),
            shown => {
                let detail = if shown.is_some() { "the token is not the right one" } else { "no token is shown" };
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).at("authorization");
                Err(problem.hint("send `authorization: Bearer …` with the node's `http.token`"))
            }
        }
    }
}

fn foreign(code: &str, field: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail).at(field)
}

/// `127.evil.example` is a name like any other: only an address that parses, or `localhost`, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || is_port(port) => name,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_loopback() {
        for own in ["localhost", "LOCALHOST:7007", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:7007"] {
            assert!(is_loopback(own), "{own}");
        }
        let foreign =
            ["127.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:1", "[::1]x", "", "127.0.0.1:x", "evil"];
        for foreign in foreign {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
