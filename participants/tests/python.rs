//! A participant in another language passes the same conformance kit: `participants/python/push.py`.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};
use tercet_core::{Namespace, Operation, Payload, SagaId};
use tercet_participant::{
    Clock, SystemClock,
    conformance::{Calls, Executing, Subject, executing},
    nats::{Caller, Settings},
    sea_orm::Database,
};
use tercet_servers::{
    folder,
    nats::{Nats, Version},
};
use tercet_shop::push::{self, Notify};

struct Python(Child);

impl Python {
    fn start(server: &Nats, namespace: &Namespace, database: &std::path::Path) -> Self {
        let python = folder().join("venv/bin/python");
        assert!(python.is_file(), "there is no Python with nats-py: run tests/servers/install, which installs it");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/python/push.py");
        let mut command = Command::new(python);
        command.args([program, "--nats", &server.url(), "--namespace", namespace.as_str(), "--database"]).arg(database);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "serving push\n");
        Self(child)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn fresh(server: &Nats) -> Subject {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let namespace: Namespace = format!("python-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("push.db");
    let python = Python::start(server, &namespace, &file);
    let settings = Settings::of(&server.url()).unwrap();
    let caller = Caller::of(&settings, namespace, "push", vec![Notify::NAME.parse().unwrap()]).await.unwrap();
    let database = Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
    let observe = move || {
        let database = database.clone();
        async move { format!("{:?}", push::ledger(&database).await.unwrap()) }
    };
    Subject::new(caller, observe).keeping((folder, python))
}

fn notice(user: &str) -> Payload {
    Payload::of(&serde_json::json!({ "user": user, "order": null, "about": "order_cancelled" })).unwrap()
}

#[tokio::test]
async fn a_participant_in_python_passes_the_conformance_kit() {
    let server = Nats::start(Version::Floor).unwrap();
    let notice = push::refund_failed("mia".parse().unwrap(), None, "r-1".parse().unwrap(), None);
    let calls = Calls::of::<Notify>(&notice).unwrap().issued(SystemClock.now());
    let held = executing(|| fresh(&server), &Executing::retriable(calls)).await;
    assert_eq!(held.map_err(|violation| violation.to_string()), Ok(()));
}

/// What the kit does not ask of a retriable: refusals are remembered up to their attempt, and garbage is *not now*.
#[tokio::test]
async fn a_participant_in_python_refuses_and_forgives_as_the_barrier_says() {
    let server = Nats::start(Version::Current).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let namespace: Namespace = "python".parse().unwrap();
    let _python = Python::start(&server, &namespace, &folder.path().join("push.db"));
    let settings = Settings::of(&server.url()).unwrap();
    let caller = Caller::of(&settings, namespace, "push", Vec::new()).await.unwrap();
    let now = SystemClock.now();
    let ask = async |payload: Payload, attempt: u32, saga: u8| {
        let mut call = Calls::raw(Notify::NAME, payload).unwrap().issued(now).attempt(attempt).execute();
        call.saga = SagaId::from_bytes([saga; 16]);
        caller.ask(&call).await.unwrap()
    };
    let refused = ask(notice(""), 2, 1).await;
    assert_eq!(refused, tercet_core::Answer::refused("no_user", "a message needs somebody to be for"));
    assert_eq!(ask(notice("mia"), 2, 1).await, refused, "the same attempt is told the same");
    assert_eq!(ask(notice("mia"), 3, 1).await.as_str(), "done", "a later attempt asks anew");
    assert_eq!(ask(notice(""), 4, 1).await.as_str(), "done", "and only done is final");
    assert_eq!(ask(Payload::null(), 1, 2).await.as_str(), "retry");
}
