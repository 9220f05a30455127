//! Participants over real NATS servers, in the oldest version and a current one.

use crate::accounts::{Amount, Balance, Debit, FIRST, Hold, OnDatabase, on_sqlite, seen};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tercet_core::{Answer, Answering, Call, ContractName, Namespace, Operation, Participant, Payload};
use tercet_participant::{
    conformance::{Calls, Holding, Subject, holding},
    nats::{Caller, Serving, Settings, State},
};
use tercet_servers::nats::{Nats, Setup, Version};

fn namespace() -> Namespace {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

fn settings(server: &Nats) -> Settings {
    Settings::of(&server.url()).unwrap()
}

async fn caller(server: &Nats, namespace: &Namespace, of: &dyn Participant) -> Caller {
    Caller::of(&settings(server), namespace.clone(), of.name(), of.contracts()).await.unwrap()
}

/// What answers as it is asked to, and counts.
#[derive(Default)]
struct Echo {
    calls: AtomicUsize,
}

const ECHO: &str = "echo.say/1";

impl Participant for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn contracts(&self) -> Vec<ContractName> {
        vec![ECHO.parse().unwrap(), "echo.say/2".parse().unwrap()]
    }

    fn call(&self, call: Call) -> Answering<'_> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match call.request.parse::<(String, u64)>() {
                Ok((word, bytes)) if word == "large" => {
                    Answer::Done(Payload::of(&"x".repeat(usize::try_from(bytes).unwrap())).unwrap())
                }
                Ok((word, ms)) if word == "slow" => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Answer::Done(Payload::null())
                }
                _ => panic!("what is\nthis?"),
            }
        })
    }
}

fn say(word: &str, number: u64) -> Calls {
    Calls::raw(ECHO, Payload::of(&(word, number)).unwrap()).unwrap()
}

/// The accounts over NATS, fresh, in a namespace of their own.
async fn subject(server: &Nats) -> Subject {
    let OnDatabase { service, place: dir, .. } = on_sqlite().await;
    let namespace = namespace();
    let caller = caller(server, &namespace, &service).await;
    let database = service.database().clone();
    let serving = Serving::of([Arc::new(service) as Arc<dyn Participant>], namespace);
    let serving = serving.start(settings(server)).await.unwrap();
    let observe = move || {
        let database = database.clone();
        async move { seen(&database).await }
    };
    Subject::new(caller, observe).keeping((dir, serving))
}

#[tokio::test]
async fn the_conformance_kit_holds_over_the_oldest_version() {
    let server = Nats::start(Version::Floor).unwrap();
    let amount = |amount| Amount { account: 1, amount };
    let holds = Holding::tcc(Calls::of::<Hold>(&amount(30)).unwrap());
    let holds = holds.refusing(Calls::of::<Hold>(&amount(FIRST + 1)).unwrap());
    assert_eq!(holding(|| subject(&server), &holds).await, Ok(()));
}

#[tokio::test]
async fn the_conformance_kit_holds_over_a_current_version() {
    let server = Nats::start(Version::Current).unwrap();
    let amount = |amount| Amount { account: 1, amount };
    let debits = Holding::compensable(Calls::of::<Debit>(&amount(30)).unwrap());
    let debits = debits.refusing(Calls::of::<Debit>(&amount(FIRST + 1)).unwrap());
    assert_eq!(holding(|| subject(&server), &debits).await, Ok(()));
}

async fn serve(server: &Nats, namespace: &Namespace, participant: Arc<dyn Participant>) -> Serving {
    Serving::of([participant], namespace.clone()).version("1.4.0").start(settings(server)).await.unwrap()
}

/// B22: what was done is reported as done, however large its reply is.
#[tokio::test]
async fn b22_a_reply_over_the_servers_limit_is_still_done() {
    for version in Version::ALL {
        let server = Setup::default().payload_max(4096).start(version).unwrap();
        let (echo, namespace) = (Arc::new(Echo::default()), namespace());
        let _serving = serve(&server, &namespace, echo.clone()).await;
        let caller = caller(&server, &namespace, &*echo).await;
        let fits = caller.call(say("large", 2000).execute()).await;
        assert!(matches!(&fits, Answer::Done(reply) if reply.bytes() == 2002), "{fits:?}");
        let Answer::Done(reply) = caller.call(say("large", 5000).execute()).await else {
            panic!("what was done must be told")
        };
        assert_eq!(reply.as_str(), r#"{"error":"reply_too_large","bytes":5002,"limit":3072}"#);
        assert_eq!(echo.calls.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn two_instances_share_the_calls_and_one_that_dies_loses_no_effect() {
    let server = Nats::start(Version::Floor).unwrap();
    let namespace = namespace();
    let OnDatabase { service, place: _place, .. } = on_sqlite().await;
    let database = service.database().clone();
    let service: Arc<dyn Participant> = Arc::new(service);
    let one = serve(&server, &namespace, service.clone()).await;
    let other = serve(&server, &namespace, service.clone()).await;
    let caller = Arc::new(caller(&server, &namespace, &*service).await);
    let hold = |saga| Calls::of::<Hold>(&Amount { account: 1, amount: 1 }).unwrap().saga(saga).execute();
    let ask = |saga: u64| {
        let (caller, mut call) = (caller.clone(), hold(saga));
        call.timeout = Duration::from_millis(200);
        tokio::spawn(async move {
            // As an orchestrator does: again, until there is an answer.
            loop {
                match caller.ask(&call).await {
                    Ok(Answer::Done(reply)) => return reply.parse::<Balance>().unwrap(),
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => call.attempt += 1,
                }
            }
        })
    };
    let mut asked: Vec<_> = (1..=40).map(ask).collect();
    asked.pop().unwrap().await.unwrap();
    let shares = [calls_of(&server, &namespace).await, Vec::new()].concat();
    assert!(shares.len() == 2 && shares.iter().all(|calls| *calls > 0), "both were asked: {shares:?}");
    drop(one);
    asked.extend((41..=80).map(ask));
    for answer in asked {
        answer.await.unwrap();
    }
    assert_eq!(seen(&database).await, "available 20, held 80");
    drop(other);
}

/// How many calls each instance has answered, by what it says itself.
async fn calls_of(server: &Nats, namespace: &Namespace) -> Vec<usize> {
    let stats: Vec<srv::Stats> = srv::gather(server, "$SRV.STATS").await;
    let infos: Vec<srv::Info> = srv::gather(server, "$SRV.INFO").await;
    let ours = |id: &str| {
        infos.iter().any(|info| info.id == id && info.metadata.get("tercet.namespace") == Some(&namespace.to_string()))
    };
    let ours = stats.iter().filter(|stats| ours(&stats.id));
    ours.map(|stats| stats.endpoints.iter().map(|endpoint| endpoint.requests).sum()).collect()
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_a_drain_ends() {
    for version in Version::ALL {
        let server = Nats::start(version).unwrap();
        let (echo, namespace) = (Arc::new(Echo::default()), namespace());
        let first = serve(&server, &namespace, echo.clone()).await;
        let caller = Arc::new(caller(&server, &namespace, &*echo).await);
        let ask = |number: u64| {
            let (caller, call) = (caller.clone(), say("slow", 100).saga(number).execute());
            tokio::spawn(async move { caller.ask(&call).await })
        };
        let under_way: Vec<_> = (1..=300).map(ask).collect();
        while echo.calls.load(Ordering::SeqCst) < 150 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        first.drain().await;
        let mut left = 0;
        for answer in under_way {
            match answer.await.unwrap() {
                Ok(answer) => assert_eq!(answer, Answer::Done(Payload::null())),
                // It came when nobody listened any more, and the caller was told at once.
                Err(error) => {
                    assert!(error.contains("no responders"), "{error}");
                    left += 1;
                }
            }
        }
        assert_eq!(echo.calls.load(Ordering::SeqCst) + left, 300);
    }
}

/// B23: nothing that a broker keeps is needed.
#[tokio::test]
async fn b23_a_broker_that_is_killed_and_wiped_is_found_again() {
    for version in Version::ALL {
        let mut server = Setup::default().jetstream().start(version).unwrap();
        let (echo, namespace) = (Arc::new(Echo::default()), namespace());
        let serving = serve(&server, &namespace, echo.clone()).await;
        let caller = caller(&server, &namespace, &*echo).await;
        let done = Ok(Answer::Done(Payload::null()));
        assert_eq!(caller.ask(&say("slow", 0).execute()).await, done);
        server.wipe().unwrap();
        server.start_again().unwrap();
        let mut call = say("slow", 0).execute();
        call.timeout = Duration::from_millis(100);
        while caller.ask(&call).await != done {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(serving.state(), State::Up);
        serving.drain().await;
    }
}

/// A participant that is started before its broker, and one whose password is put right later, need no hand.
#[tokio::test]
async fn no_order_of_starts_is_needed() {
    let mut server = Setup::default().user("tercet", "right").start(Version::Current).unwrap();
    server.kill();
    let (echo, namespace) = (Arc::new(Echo::default()), namespace());
    let login = tercet_participant::nats::Login::User { name: "tercet".to_owned(), password: "right".to_owned() };
    let settings = Settings { login, ..settings(&server) };
    let serving = Serving::of([echo.clone() as Arc<dyn Participant>], namespace.clone());
    let mut serving = serving.start(settings.clone()).await.unwrap();
    assert!(matches!(serving.state(), State::Down(why) if why.starts_with("failed to reach NATS at ")));
    server.start_again().unwrap();
    serving.up().await;
    let caller = Caller::of(&settings, namespace, "echo", echo.contracts()).await.unwrap();
    assert_eq!(caller.ask(&say("slow", 0).execute()).await, Ok(Answer::Done(Payload::null())));
}

/// What a handler says in a panic, and what cannot be read, is told as what it is: no answer. Both are counted.
#[tokio::test]
async fn a_panic_and_a_garbled_call_are_told_and_counted() {
    let server = Nats::start(Version::Floor).unwrap();
    let (echo, namespace) = (Arc::new(Echo::default()), namespace());
    let _serving = serve(&server, &namespace, echo.clone()).await;
    let caller = caller(&server, &namespace, &*echo).await;
    let panicked = caller.ask(&say("panic", 0).execute()).await;
    assert_eq!(panicked, Err("the handler panicked: what is this?".to_owned()));
    let client = srv::client(&server).await;
    let subject = format!("tercet.{namespace}.echo.say.try");
    let reply = client.request(subject, "{".into()).await.unwrap();
    let error = reply.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error")).unwrap();
    assert_eq!(error.as_str(), "the header Tercet-Contract is missing");
    let stats: Vec<srv::Stats> = srv::gather(&server, "$SRV.STATS.echo").await;
    let [stats] = &stats[..] else { panic!("one instance, not {}", stats.len()) };
    let endpoint = &stats.endpoints[0];
    assert_eq!((endpoint.requests, endpoint.errors), (2, 2));
    let last = endpoint.last_error.as_ref().unwrap();
    assert_eq!((last.code, last.status.as_str()), (500, "the header Tercet-Contract is missing"));
}

/// `nats micro ls`, `info` and `stats`, by the client library's own types.
#[tokio::test]
async fn participants_are_services_that_discovery_finds() {
    for version in Version::ALL {
        let server = Nats::start(version).unwrap();
        let namespace = namespace();
        let OnDatabase { service, place: _place, .. } = on_sqlite().await;
        let _accounts = serve(&server, &namespace, Arc::new(service)).await;
        let _echo = serve(&server, &namespace, Arc::new(Echo::default())).await;
        let mut pings: Vec<srv::Ping> = srv::gather(&server, "$SRV.PING").await;
        pings.sort_by(|a, b| a.name.cmp(&b.name));
        let shown: Vec<_> = pings.iter().map(|ping| (ping.name.as_str(), ping.version.as_str())).collect();
        assert_eq!(shown, [("accounts", "1.4.0"), ("echo", "1.4.0")]);
        let infos: Vec<srv::Info> = srv::gather(&server, &format!("$SRV.INFO.echo.{}", pings[1].id)).await;
        let [info] = &infos[..] else { panic!("one instance") };
        let endpoint = &info.endpoints[0];
        assert_eq!((endpoint.name.as_str(), endpoint.queue_group.as_str()), ("say", "q"));
        assert_eq!(endpoint.subject, format!("tercet.{namespace}.echo.say.*"));
        assert_eq!(endpoint.metadata["tercet.contracts"], "echo.say/1,echo.say/2");
        let operations: Vec<srv::Info> = srv::gather(&server, "$SRV.INFO.accounts").await;
        let operations: Vec<_> = operations[0].endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        assert_eq!(operations, ["credit", "debit", "hold", "look"]);
    }
}

/// A version that nobody offers is *not now*: another instance may.
#[tokio::test]
async fn a_version_that_is_not_offered_is_no_refusal() {
    let server = Nats::start(Version::Floor).unwrap();
    let namespace = namespace();
    let OnDatabase { service, place: _place, .. } = on_sqlite().await;
    let service: Arc<dyn Participant> = Arc::new(service);
    let _serving = serve(&server, &namespace, service.clone()).await;
    let caller = caller(&server, &namespace, &*service).await;
    let newer = Hold::NAME.replace("/1", "/2");
    let answer = caller.ask(&Calls::raw(&newer, Payload::null()).unwrap().execute()).await.unwrap();
    assert_eq!(answer.as_str(), "retry", "{answer:?}");
    let nobody = caller.ask(&Calls::raw("nobody.there/1", Payload::null()).unwrap().execute()).await;
    assert!(nobody.unwrap_err().contains("no responders"));
}

/// Discovery as any NATS tool does it.
mod srv {
    use futures_util::StreamExt;
    use serde::de::DeserializeOwned;
    use std::time::Duration;
    use tercet_nats::async_nats::Client;
    pub(super) use tercet_nats::async_nats::service::{Info, PingResponse as Ping, Stats};
    use tercet_servers::nats::Nats;

    pub(super) async fn client(server: &Nats) -> Client {
        tercet_nats::connect(&super::settings(server), "test").await.unwrap()
    }

    pub(super) async fn gather<T: DeserializeOwned>(server: &Nats, subject: &str) -> Vec<T> {
        let client = client(server).await;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.unwrap();
        client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
        let mut found = Vec::new();
        while let Ok(Some(answer)) = tokio::time::timeout(Duration::from_millis(300), answers.next()).await {
            found.push(serde_json::from_slice(&answer.payload).unwrap());
        }
        found
    }
}
