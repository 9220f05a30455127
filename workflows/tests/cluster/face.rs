//! The shop by its nodes' API: any node is asked, and who is not answered, or refused for now, asks the next one.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercet::store::{Count, SagaStatus};
use tercet_core::{Millis, Payload};
use tercet_shop::ids::OrderId;
use tercet_workflows::{
    create_order::{self, OrderRequest},
    demo::{DemoError, Face},
};

/// How long a node may take to answer, beyond what it was asked to wait: a stopped one never does.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// Between two questions to nodes that do not answer, or about a saga that has not ended.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// All nodes.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Shared>);

struct Shared {
    http: Client,
    servers: Vec<String>,
    turn: AtomicUsize,
    /// Starts that were acknowledged, and their sagas: by definition and key.
    acknowledged: Mutex<BTreeMap<(String, String), String>>,
    unavailable: AtomicU64,
    unanswered: AtomicU64,
}

/// What cannot succeed, as the API says.
#[derive(Debug)]
pub(crate) struct No {
    status: StatusCode,
    said: Value,
}

impl From<No> for DemoError {
    fn from(no: No) -> Self {
        Self::Bug(format!("{}: {}", no.status, no.said))
    }
}

impl Nodes {
    pub(crate) fn at(servers: Vec<String>) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        Self(Arc::new(Shared {
            http,
            servers,
            turn: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
            unavailable: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, No> {
        self.ask(Method::GET, path, &Value::Null).await
    }

    /// Asks until a node answers: all that is asked here may be asked again.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, No> {
        loop {
            let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
            let server = &self.0.servers[turn % self.0.servers.len()];
            let mut request = self.0.http.request(method.clone(), format!("{server}/v1/{path}")).timeout(ANSWER_MAX);
            if !body.is_null() {
                request = request.json(body);
            }
            let Ok(answer) = request.send().await else {
                self.0.unanswered.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            };
            let status = answer.status();
            match answer.json::<Value>().await {
                Ok(said) if status.is_success() => return Ok(said),
                Ok(said) if status.is_client_error() => return Err(No { status, said }),
                _ => drop(self.0.unavailable.fetch_add(1, Ordering::Relaxed)),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn begin(&self, definition: &str, key: &str, input: &Value, query: &str) -> Result<Value, No> {
        let body = json!({ "definition": definition, "key": key, "input": input });
        let started = self.ask(Method::POST, &format!("sagas{query}"), &body).await?;
        let saga = started["id"].as_str().unwrap().to_owned();
        let before = self.0.acknowledged.lock().unwrap().insert((definition.into(), key.into()), saga.clone());
        assert!(before.is_none_or(|before| before == saga), "two sagas under the key {key} of {definition}");
        Ok(started)
    }

    /// The saga under that key.
    async fn find(&self, definition: &str, key: &str) -> Result<Option<Value>, No> {
        let page = self.get(&format!("sagas?definition={definition}&key={key}")).await?;
        Ok(page["sagas"].as_array().unwrap().first().cloned())
    }

    /// Every saga there is.
    pub(crate) async fn all(&self) -> Result<Vec<Value>, No> {
        let (mut sagas, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("sagas?limit=500{cursor}")).await?;
            sagas.extend(page["sagas"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(sagas),
            }
        }
    }

    pub(crate) async fn counts(&self) -> Result<Vec<Count>, No> {
        let counts = self.get("counts").await?;
        let count = |count: &Value| Count {
            definition: count["definition"].as_str().unwrap().parse().unwrap(),
            status: status(count["status"].as_str().unwrap()),
            parked: count["parked"].as_bool().unwrap(),
            sagas: count["sagas"].as_u64().unwrap(),
        };
        Ok(counts.as_array().unwrap().iter().map(count).collect())
    }

    pub(crate) fn acknowledged(&self) -> BTreeMap<(String, String), String> {
        self.0.acknowledged.lock().unwrap().clone()
    }

    /// How often a node refused for now, and how often it did not answer.
    pub(crate) fn asked_in_vain(&self) -> (u64, u64) {
        (self.0.unavailable.load(Ordering::Relaxed), self.0.unanswered.load(Ordering::Relaxed))
    }
}

pub(crate) fn status(text: &str) -> SagaStatus {
    match text {
        "trying" => SagaStatus::Trying,
        "confirming" => SagaStatus::Confirming,
        "cancelling" => SagaStatus::Cancelling,
        "confirmed" => SagaStatus::Confirmed,
        "cancelled" => SagaStatus::Cancelled,
        _ => panic!("no status: {text}"),
    }
}

impl Face for Nodes {
    async fn submit(&self, order: &OrderRequest) -> Result<Option<OrderId>, DemoError> {
        let input = serde_json::to_value(order).unwrap();
        let started = loop {
            let query = "?wait=tried&limit=2s";
            let started = self.begin(create_order::NAME, order.key.as_str(), &input, query).await?;
            if started["reached"] == json!(true) {
                break started;
            }
        };
        if started["aborted"].as_str().is_some_and(|why| why.contains(" was refused: ")) {
            return Ok(None);
        }
        let shown = self.get(&format!("sagas/{}", started["id"].as_str().unwrap())).await?;
        let placed = shown["steps"].as_array().unwrap().iter().find(|step| step["step"] == "order");
        let placed = placed.and_then(|step| step["reply"]["order"].as_str());
        Ok(placed.map(|order| order.parse().unwrap()))
    }

    async fn cancel(&self, order: &OrderRequest) -> Result<(), DemoError> {
        let saga =
            self.find(create_order::NAME, order.key.as_str()).await?.expect("an order that was placed has a saga");
        let path = format!("sagas/{}/cancel", saga["id"].as_str().unwrap());
        let body = json!({ "by": order.user, "reason": "changed my mind" });
        match self.ask(Method::POST, &path, &body).await {
            Err(no) if no.status == StatusCode::CONFLICT => Ok(()),
            answered => Ok(answered.map(drop)?),
        }
    }

    async fn start(&self, definition: &str, key: &str, input: Payload) -> Result<(), DemoError> {
        let input: Value = input.parse().unwrap();
        Ok(self.begin(definition, key, &input, "").await.map(drop)?)
    }

    async fn started(&self, definition: &str, key: &str) -> Result<Option<Millis>, DemoError> {
        let Some(saga) = self.find(definition, key).await? else { return Ok(None) };
        let at = humantime::parse_rfc3339(saga["started"].as_str().unwrap()).unwrap();
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap();
        Ok(Some(Millis(i64::try_from(since.as_millis()).unwrap())))
    }

    async fn ended(&self, definition: &str, key: &str) -> Result<(), DemoError> {
        loop {
            // Who is parked waits for a person, and nobody comes.
            let is_at_rest = |saga: Value| saga["parked"] != 0 || status(saga["status"].as_str().unwrap()).is_end();
            if self.find(definition, key).await?.is_none_or(is_at_rest) {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY * 4).await;
        }
    }
}
