//! The command line's side of the HTTP API: what it does to a running node goes through here.

use super::{Failure, failure::Exit};
use crate::{
    api::{
        problem::Problem,
        view::{SagaPage, SagaView},
    },
    config::Config,
};
use reqwest::{Client as Http, Method, RequestBuilder, Url};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, error::Error, time::Duration};
use tercet_core::{Payload, SagaId};

const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Beyond what a call itself waits for.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A node, as the command line talks to it.
pub(super) struct Client {
    http: Http,
    server: Url,
    token: Option<crate::secret::Secret>,
    name: &'static str,
    /// What a suggested command ends with, to reach the same node.
    server_flag: String,
}

/// A request's body: values go as they were typed, so that the node sees what is wrong with them.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<&'static str, Payload>);

impl Fields {
    pub(super) fn with<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Self, Failure> {
        Ok(self.raw(name, Payload::of(value)?))
    }

    pub(super) fn raw(mut self, name: &'static str, value: Payload) -> Self {
        self.0.insert(name, value);
        self
    }
}

/// An answer, as it came.
pub(super) struct Answer(pub(super) String);

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|error| {
            Failure::unavailable(format!(
                "failed to read the node's answer, which is of another version perhaps: {error}"
            ))
        })
    }
}

impl Client {
    /// `given` is whether the node was named by a flag: a suggested command must name it then, too.
    pub(super) fn new(config: &Config, name: &'static str, given: bool) -> Result<Self, Failure> {
        let http = Http::builder().connect_timeout(CONNECT_MAX).no_proxy().build()?;
        let server = Url::parse(&config.server).map_err(|_| Failure::usage("`server` is no address"))?;
        let server_flag = if given { format!(" --server {}", config.server) } else { String::new() };
        Ok(Self { http, server, token: config.token.clone(), name, server_flag })
    }

    /// A command to suggest, against the same node.
    pub(super) fn command(&self, rest: &str) -> String {
        format!("{} {rest}{}", self.name, self.server_flag)
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path, query)?, ANSWER_MAX).await
    }

    /// Sends `body`, and waits `wait` longer than for any other answer.
    pub(super) async fn post(
        &self, path: &[&str], query: &[(&str, String)], body: &Fields, wait: Duration,
    ) -> Result<Answer, Failure> {
        self.send(self.request(Method::POST, path, query)?.json(body), ANSWER_MAX + wait).await
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.send(self.request(Method::DELETE, path, &[])?, ANSWER_MAX).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder, Failure> {
        let mut url = self.server.clone();
        let not_a_base = || Failure::usage(format!("{} is no address of a node", self.server));
        url.path_segments_mut().map_err(|()| not_a_base())?.clear().push("v1").extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Answer, Failure> {
        let response = request.timeout(limit).send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(Answer(text));
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if problem.status == 401 => Err(self.not_allowed()),
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(Failure::unavailable(format!(
                "what listens at {} is no tercet: it answered {status}; name the right one with --server",
                self.place()
            ))),
        }
    }

    fn place(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    fn not_allowed(&self) -> Failure {
        let text = match self.token {
            Some(_) => "the token is not the one that this node asks for: look at its `http.token`",
            None => "this node asks for a token: set TERCET_HTTP__TOKEN to its `http.token`",
        };
        Failure::new(Exit::NotAllowed, text)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let (place, name) = (self.place(), self.name);
        if error.is_connect() {
            let text =
                format!("no tercet is listening at {place}: start one with `{name} serve`, or `{name} dev` to try it");
            return Failure::unavailable(text);
        }
        if error.is_timeout() {
            return Failure::unavailable(format!(
                "the tercet at {place} does not answer: try again, or look at its log"
            ));
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::unavailable(format!("the connection to the tercet at {place} broke off ({cause}): try again"))
    }

    /// The id of a saga that is named by its id, or as `definition/key`.
    pub(super) async fn saga(&self, named: &str) -> Result<String, Failure> {
        let Some((definition, key)) = named.split_once('/') else {
            let neither = |_| {
                Failure::usage(format!("`{named}` is neither a saga's id nor `definition/key`, as in `refund/r-17`"))
            };
            return named.parse::<SagaId>().map(|id| id.to_string()).map_err(neither);
        };
        let query = [("definition", definition.to_owned()), ("key", key.to_owned())];
        let page: SagaPage = self.get(&["sagas"], &query).await?.read()?;
        let not_found =
            || Failure::new(Exit::NotFound, format!("no saga of `{definition}` is known under the key `{key}`"));
        page.sagas.first().map(|saga: &SagaView| saga.id.to_string()).ok_or_else(not_found)
    }
}
