//! A node of the toy project on a port of its own, and requests to it, byte by byte.

use crate::toy;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tercet::{
    Engine, Machine, Parts, Registry, Secret, Settings, api::Listening, published::EventSource, store::MemoryStore,
    transport::InProcess,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) stop: CancellationToken,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(MemoryStore::default(), "default", None).await
    }

    pub(crate) async fn with(store: MemoryStore, namespace: &str, token: Option<&str>) -> Self {
        Self::running(toy::registry().unwrap(), store, namespace, token).await
    }

    /// The same, with events to show.
    pub(crate) async fn showing(events: Arc<dyn EventSource>) -> Self {
        Self::over(toy::registry().unwrap(), MemoryStore::default(), "default", None, Some(events)).await
    }

    /// Runs these definitions.
    pub(crate) async fn running(registry: Registry, store: MemoryStore, namespace: &str, token: Option<&str>) -> Self {
        Self::over(registry, store, namespace, token, None).await
    }

    async fn over(
        registry: Registry, store: MemoryStore, namespace: &str, token: Option<&str>,
        events: Option<Arc<dyn EventSource>>,
    ) -> Self {
        let engine = Engine::run(Parts {
            store: Arc::new(store),
            transport: Arc::new(InProcess::new(toy::participants())),
            registry,
            env: Arc::new(Machine::new()),
            settings: Settings::of(namespace.parse().unwrap()),
        });
        let engine = engine.await.unwrap();
        let listening = Listening::at("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, stop) = (listening.address(), CancellationToken::new());
        let listening = listening.events(events);
        tokio::spawn(listening.serve(engine.clone(), token.map(Secret::new), stop.clone()));
        Self { address, engine, stop }
    }

    /// Sends these bytes and reads until the connection is closed.
    pub(crate) async fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A node that refuses a body early may close before it was sent: its answer counts.
        drop(stream.write_all(request).await);
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes).await);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// `what` is a method and a path; `headers` are lines.
    pub(crate) async fn ask(&self, what: &str, headers: &[&str], body: &[u8]) -> Reply {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let host = if headers.to_lowercase().contains("host:") {
            String::new()
        } else {
            format!("host: {}\r\n", self.address)
        };
        let length = body.len();
        let head = format!("{what} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.ask(&format!("POST {path}"), &["content-type: application/json"], body.as_ref()).await
    }

    /// Starts a saga and waits as told; gives its id.
    pub(crate) async fn begin(&self, definition: &str, key: &str, wait: &str) -> String {
        let body = start(definition, key);
        let reply = self.post(&format!("/v1/sagas?wait={wait}&limit=60s"), body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()["id"].as_str().unwrap().to_owned()
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A problem in a line: status, code, field, detail, hint, and what else it carries.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        assert_eq!(problem["status"], self.status, "{}", self.body);
        assert_eq!(problem["type"], format!("urn:tercet:problem:{}", problem["code"].as_str().unwrap()));
        assert!(problem["detail"].as_str().unwrap().len() <= 1_024, "{}", self.body);
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        let mut line = format!("{} {}", self.status, text("code").unwrap());
        line.extend(text("field").map(|field| format!(" [{field}]")));
        line.push_str(&format!(": {}", text("detail").unwrap()));
        line.extend(text("hint").map(|hint| format!(" | {hint}")));
        for more in ["state", "choices"] {
            line.extend(problem.get(more).map(|value| format!(" | {more} {value}")));
        }
        masked(&line)
    }

    /// The JSON, indented, without what differs from run to run.
    pub(crate) fn shown(&self) -> String {
        let json = serde_json::to_string_pretty(&self.json()).unwrap();
        format!("{}\n{}", self.status, masked(&json))
    }
}

pub(crate) fn start(definition: &str, key: &str) -> String {
    format!(
        r#"{{"definition": "{definition}", "key": "{key}", "input": {{"traveller": "Ada", "seats": 2, "note": null}}}}"#
    )
}

/// Ids and times as words.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || "-:._".contains(c) {
            word.push(c);
            continue;
        }
        let bare = word.trim_start_matches("after-").trim_end_matches([':', '.']);
        let is_id = bare.len() == 36 && bare.matches('-').count() == 4;
        let is_time = bare.len() == 24 && bare.ends_with('Z') && bare.contains('T');
        let mask = if is_id {
            "<id>"
        } else if is_time {
            "<time>"
        } else {
            bare
        };
        masked.push_str(&word.replace(bare, mask));
        word.clear();
        masked.extend((c != '\0').then_some(c));
    }
    masked
}
