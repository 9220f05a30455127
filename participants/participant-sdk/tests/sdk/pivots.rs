//! Pivots against a third party that times out, lies low and answers late: MONEY-MODEL's traces, and what an orchestrator sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tercet_core::{Answer, Call, Participant, Payload};
use tercet_participant::{
    Closing, External, Found, Handed, Memory, Operation, Outbox, Outcome, Pivot, Refusal, SeaOrm, Service, Settled,
    Ticket,
    barrier::effect::EXPIRY_MARGIN,
    conformance::{Calls, Executing, Subject, TestClock, at, executing},
    database::{
        Access, Database, Tx,
        memory::{CommitFault, MemoryTx},
    },
    kind,
    outbox::Completed,
    refuse, retry,
};
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Money {
    amount: i64,
}

struct Refund;
impl Operation for Refund {
    const NAME: &'static str = "gateway.refund/1";
    type Kind = kind::Pivot;
    type Request = Money;
    type Reply = Money;
    const CLOSES: bool = true;
}

struct TopUp;
impl Operation for TopUp {
    const NAME: &'static str = "gateway.top_up/1";
    type Kind = kind::External;
    type Request = Money;
    type Reply = Money;
}

/// How the third party takes the next execute; by default it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    DoAndStaySilent,
    LoseIt,
    Refuse,
    Accept,
    OutOfReach,
    Wait,
    Panic,
}

/// The third party: a program with a ledger of its own.
#[derive(Default)]
struct Bank {
    moods: Mutex<VecDeque<Mood>>,
    /// By key: what stands, `None` for a key that was closed.
    ledger: Mutex<BTreeMap<String, Option<i64>>>,
    calls: Mutex<Vec<u32>>,
    gate: Notify,
}

impl Bank {
    fn in_moods(moods: impl IntoIterator<Item = Mood>) -> Arc<Self> {
        Arc::new(Self { moods: Mutex::new(moods.into_iter().collect()), ..Self::default() })
    }

    /// Does it, once for each key.
    fn land(&self, cx: &Call, request: &Money) -> Handed<Money> {
        match self.ledger.lock().unwrap().entry(cx.key.to_string()).or_insert(Some(request.amount)) {
            Some(amount) => Handed::Done(Money { amount: *amount }),
            None => Handed::refused("closed", "this order was closed"),
        }
    }

    async fn execute(&self, cx: &Call, request: Money) -> Handed<Money> {
        self.calls.lock().unwrap().push(cx.attempt);
        let mood = self.moods.lock().unwrap().pop_front();
        match mood {
            None => self.land(cx, &request),
            Some(Mood::DoAndStaySilent) => {
                self.land(cx, &request);
                Handed::unknown("timed out")
            }
            Some(Mood::LoseIt) => Handed::unknown("timed out"),
            Some(Mood::Refuse) => Handed::refused("no_funds", "insufficient balance"),
            Some(Mood::Accept) => Handed::pending("https://pay.example/1"),
            Some(Mood::OutOfReach) => Handed::not_sent("connection refused"),
            Some(Mood::Wait) => {
                self.gate.notified().await;
                self.land(cx, &request)
            }
            Some(Mood::Panic) => panic!("the client of the third party broke"),
        }
    }

    fn found(&self, cx: &Call) -> Found<Money> {
        match self.ledger.lock().unwrap().get(cx.key.as_str()) {
            Some(Some(amount)) => Found::Done(Money { amount: *amount }),
            Some(None) => Found::refused("closed", "this order was closed"),
            None => Found::Absent,
        }
    }

    fn close(&self, cx: &Call) -> Closing<Money> {
        match self.ledger.lock().unwrap().get(cx.key.as_str()) {
            Some(Some(amount)) => Closing::Done(Money { amount: *amount }),
            Some(None) => Closing::Closed,
            None => Closing::Absent,
        }
    }

    fn calls(&self) -> Vec<u32> {
        self.calls.lock().unwrap().clone()
    }

    fn seen(&self) -> String {
        format!("{:?}", self.ledger.lock().unwrap())
    }
}

/// What the participant has booked: one word for each change.
type Books = Vec<String>;

struct Gateway {
    bank: Arc<Bank>,
}

impl Pivot<Refund, Memory<Books>> for Gateway {
    async fn prepare(&self, tx: &MemoryTx<Books>, cx: &Call, request: Money) -> Outcome<()> {
        tx.with(|books| books.push(format!("processing {}", cx.attempt)));
        if request.amount <= 0 { refuse("amount", "an amount is above zero")? } else { Ok(()) }
    }

    async fn execute(&self, cx: &Call, request: Money) -> Handed<Money> {
        self.bank.execute(cx, request).await
    }

    async fn query(&self, cx: &Call, _: Money) -> Found<Money> {
        self.bank.found(cx)
    }

    async fn close(&self, cx: &Call, _: Money) -> Closing<Money> {
        self.bank.close(cx)
    }

    async fn record(&self, tx: &MemoryTx<Books>, _: &Call, request: Money, settled: Settled<Money>) -> Outcome<()> {
        let books_are_shut = tx.with(|books| books.iter().any(|word| word == "shut"));
        if books_are_shut {
            return retry("the books are shut");
        }
        let word = match settled {
            Settled::Done(reply) => format!("done {}", reply.amount),
            Settled::Refused(refusal) => format!("refused {}", refusal.code),
            Settled::Pending(note) => format!("pending {note:?}"),
            Settled::Closed => format!("closed {}", request.amount),
        };
        tx.with(|books| books.push(word));
        Ok(())
    }
}

impl Pivot<Refund> for Gateway {
    async fn execute(&self, cx: &Call, request: Money) -> Handed<Money> {
        self.bank.execute(cx, request).await
    }

    async fn query(&self, cx: &Call, _: Money) -> Found<Money> {
        self.bank.found(cx)
    }

    async fn close(&self, cx: &Call, _: Money) -> Closing<Money> {
        self.bank.close(cx)
    }
}

impl External<TopUp, Memory<Books>> for Gateway {
    async fn execute(&self, cx: &Call, request: Money) -> Handed<Money> {
        self.bank.execute(cx, request).await
    }

    async fn query(&self, cx: &Call, _: Money) -> Found<Money> {
        self.bank.found(cx)
    }
}

struct Scene {
    bank: Arc<Bank>,
    service: Service<Gateway, Memory<Books>>,
    clock: TestClock,
}

fn scene(moods: impl IntoIterator<Item = Mood>) -> Scene {
    let (bank, clock) = (Bank::in_moods(moods), TestClock::default());
    let service = Service::builder("gateway", Memory::new(Books::new()), Gateway { bank: bank.clone() })
        .clock(clock.clone())
        .pivot::<Refund>()
        .external::<TopUp>()
        .build()
        .unwrap();
    Scene { bank, service, clock }
}

impl Scene {
    async fn ask(&self, call: Call) -> &'static str {
        match self.service.call(call).await {
            Answer::Refused(refusal) if refusal.code == "expired" => "refused: expired",
            answer => answer.as_str(),
        }
    }

    async fn books(&self) -> String {
        self.service.database().look(|books| books.join(", ")).await
    }
}

fn calls() -> Calls {
    Calls::of::<Refund>(&Money { amount: 30 }).unwrap()
}

/// Runs until it waits for the third party.
fn until_it_waits<F: Future + Unpin>(future: &mut F) {
    let polled = std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "the third party does not answer yet");
}

#[tokio::test]
async fn a_pivot_conforms_on_both_bodies() {
    let in_memory = || async {
        let Scene { bank, service, .. } = scene([]);
        Subject::new(service, move || std::future::ready(bank.seen()))
    };
    executing(in_memory, &Executing::closing(calls())).await.unwrap();
    let on_sqlite = || async {
        let dir = tempfile::tempdir().unwrap();
        let database = SeaOrm::sqlite(&dir.path().join("gateway.db")).await.unwrap();
        let bank = Bank::in_moods([]);
        let builder = Service::builder("gateway", database, Gateway { bank: bank.clone() }).clock(TestClock::default());
        let service = builder.pivot::<Refund>().build().unwrap();
        Subject::new(service, move || std::future::ready(bank.seen())).keeping(dir)
    };
    executing(on_sqlite, &Executing::closing(calls())).await.unwrap();
}

#[tokio::test]
async fn an_external_conforms_and_cannot_be_closed() {
    let calls = Calls::of::<TopUp>(&Money { amount: 30 }).unwrap();
    let fresh = || async {
        let Scene { bank, service, .. } = scene([]);
        Subject::new(service, move || std::future::ready(bank.seen()))
    };
    executing(fresh, &Executing::querying(calls.clone())).await.unwrap();
    let scene = scene([Mood::LoseIt]);
    assert_eq!(scene.ask(calls.execute()).await, "pending");
    assert_eq!(scene.ask(calls.close()).await, "retry");
    assert_eq!(scene.ask(calls.clone().attempt(2).execute()).await, "done", "a close that cannot be leaves no mark");
}

#[tokio::test]
async fn a_query_of_nothing_leaves_no_row() {
    let scene = scene([]);
    assert_eq!(scene.ask(calls().query()).await, "absent");
    assert_eq!(scene.service.database().rows().await.len(), 0);
}

#[tokio::test]
async fn m2_trace_4_a_doubled_execute_is_handed_on_once() {
    let scene = scene([Mood::Wait]);
    let mut first = scene.service.call(calls().execute());
    until_it_waits(&mut first);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    scene.bank.gate.notify_one();
    assert_eq!(first.await.as_str(), "done");
    assert_eq!(scene.ask(calls().execute()).await, "done");
    assert_eq!(scene.bank.calls(), [1]);
}

#[tokio::test]
async fn no_more_calls_are_answered_at_a_time_than_the_limit_and_a_drain_waits_for_them() {
    let bank = Bank::in_moods([Mood::Wait]);
    let builder = Service::builder("gateway", Memory::new(Books::new()), Gateway { bank: bank.clone() });
    let service = builder.clock(TestClock::default()).concurrency(1).pivot::<Refund>().build().unwrap();
    let mut first = service.call(calls().execute());
    until_it_waits(&mut first);
    let mut second = service.call(calls().saga(2).execute());
    until_it_waits(&mut second);
    assert_eq!(bank.calls(), [1], "the second waits its turn");
    let mut drain = Box::pin(service.drain());
    until_it_waits(&mut drain);
    bank.gate.notify_one();
    assert_eq!((first.await.as_str(), second.await.as_str()), ("done", "done"));
    drain.await;
    assert_eq!(service.call(calls().query()).await.as_str(), "retry");
}

#[tokio::test]
async fn m2_trace_5_a_copy_of_what_is_handed_on_is_never_refused_by_a_fence() {
    let scene = scene([Mood::Wait]);
    let mut first = scene.service.call(calls().execute());
    until_it_waits(&mut first);
    assert_eq!(scene.ask(calls().fence()).await, "pending", "m2_trace_6: one that was handed on is unanswered");
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    scene.bank.gate.notify_one();
    assert_eq!(first.await.as_str(), "done");
    assert_eq!(scene.books().await, "processing 1, done 30");
}

#[tokio::test]
async fn m2_trace_3_a_refusal_is_unknown_while_any_other_attempt_is_out() {
    let scene = scene([Mood::LoseIt, Mood::Refuse]);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().attempt(2).execute()).await, "pending", "attempt 1 may still land");
    assert_eq!(scene.ask(calls().attempt(2).query()).await, "absent");
    scene.bank.land(&calls().execute(), &Money { amount: 30 });
    assert_eq!(scene.ask(calls().attempt(2).query()).await, "done");
    assert_eq!(scene.books().await, "processing 1, processing 2, done 30");
}

#[tokio::test]
async fn m2_trace_7_a_close_of_what_was_never_handed_on_ends_by_itself() {
    let scene = scene([]);
    assert_eq!(scene.ask(calls().close()).await, "closed");
    assert_eq!(scene.ask(calls().execute()).await, "refused");
    assert_eq!(scene.ask(calls().query()).await, "refused");
    assert_eq!(scene.bank.calls(), [0; 0]);
    assert_eq!(scene.books().await, "closed 30");
}

#[tokio::test]
async fn a_close_that_finds_nothing_of_what_was_handed_on_is_asked_again() {
    let scene = scene([Mood::LoseIt]);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().close()).await, "retry");
    assert_eq!(scene.ask(calls().attempt(2).execute()).await, "pending", "no call starts after the mark");
    assert_eq!(scene.bank.calls(), [1]);
    scene.bank.ledger.lock().unwrap().insert(calls().close().key.to_string(), None);
    assert_eq!(scene.ask(calls().close()).await, "closed");
    assert_eq!(scene.ask(calls().execute()).await, "refused");
}

#[tokio::test]
async fn g11_what_was_done_silently_is_found_by_a_query_and_booked_once() {
    let scene = scene([Mood::DoAndStaySilent]);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().query()).await, "done");
    assert_eq!(scene.ask(calls().query()).await, "done");
    assert_eq!(scene.ask(calls().close()).await, "done");
    assert_eq!(scene.books().await, "processing 1, done 30");
}

#[tokio::test]
async fn g11_absent_allows_another_attempt_under_the_same_key() {
    let scene = scene([Mood::LoseIt]);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().query()).await, "absent");
    assert_eq!(scene.ask(calls().attempt(2).execute()).await, "done");
    assert_eq!(scene.bank.seen().matches("Some(30)").count(), 1);
}

#[tokio::test]
async fn a_refusal_answers_attempts_up_to_its_own_and_a_later_one_asks_anew() {
    let scene = scene([Mood::OutOfReach, Mood::Refuse]);
    assert_eq!(scene.ask(calls().execute()).await, "retry", "nothing was sent");
    assert_eq!(scene.ask(calls().execute()).await, "retry");
    let refused = scene.service.call(calls().attempt(2).execute()).await;
    assert_eq!(refused.as_str(), "refused");
    assert_eq!(scene.service.call(calls().attempt(2).execute()).await, refused);
    assert_eq!(scene.ask(calls().query()).await, "absent", "a refusal in answer to an execute need not be final");
    assert_eq!(scene.ask(calls().attempt(3).execute()).await, "done");
    assert_eq!(scene.bank.calls(), [1, 2, 3]);
}

#[tokio::test]
async fn what_the_preparation_refuses_is_never_sent() {
    let scene = scene([]);
    let nothing = Calls::of::<Refund>(&Money { amount: 0 }).unwrap();
    assert_eq!(scene.ask(nothing.execute()).await, "refused");
    assert_eq!(scene.ask(nothing.execute()).await, "refused");
    assert_eq!((scene.bank.calls(), scene.books().await), (vec![], String::new()));
}

#[tokio::test]
async fn after_its_lifetime_and_a_margin_absent_is_a_no() {
    let scene = scene([Mood::LoseIt]);
    let expires = at().plus(Duration::from_secs(600));
    let calls = calls().expires(expires);
    assert_eq!(scene.ask(calls.execute()).await, "pending");
    scene.clock.pass(Duration::from_secs(600) + EXPIRY_MARGIN);
    assert_eq!(scene.ask(calls.query()).await, "absent");
    scene.clock.pass(Duration::from_millis(1));
    assert_eq!(scene.ask(calls.query()).await, "refused: expired");
    assert_eq!(scene.ask(calls.attempt(2).execute()).await, "retry", "its lifetime was over when it came");
    assert_eq!(scene.bank.calls(), [1]);
}

#[tokio::test]
async fn a_crash_after_the_intent_leaves_it_unknown_and_is_not_called_again_for_the_same_attempt() {
    let scene = scene([]);
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.service.database().inject(move || {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if first { CommitFault::CrashAfter } else { CommitFault::None }
    });
    until_it_waits(&mut scene.service.call(calls().execute()));
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().query()).await, "absent");
    assert_eq!(scene.ask(calls().fence()).await, "pending", "nobody knows whether attempt 1 left");
    assert_eq!(scene.ask(calls().attempt(2).execute()).await, "done");
    assert_eq!(scene.bank.calls(), [2]);
}

/// What it comes to without waiting for anything; `None`: its process died. Outside of tokio, which makes a long poll yield.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn whatever_befalls_a_commit_the_money_moves_once_and_is_booked_once() {
    use CommitFault::{Conflict, CrashAfter, CrashBefore, LostAnswer, LostCommit};
    for fault in [CrashBefore, CrashAfter, Conflict, LostAnswer, LostCommit] {
        for number in 1..=2 {
            let scene = scene([]);
            let count = std::sync::atomic::AtomicU32::new(0);
            scene.service.database().inject(move || {
                match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 {
                    n if n == number => fault,
                    _ => CommitFault::None,
                }
            });
            let mut said = "silence";
            for attempt in 1..=4 {
                for call in [calls().attempt(attempt).execute(), calls().attempt(attempt).query()] {
                    said = at_once(scene.ask(call)).unwrap_or("silence");
                    assert_ne!(said, "refused", "{fault:?} at commit {number}: unknown is never taken for no");
                }
            }
            assert_eq!(said, "done", "{fault:?} at commit {number}");
            assert_eq!(scene.bank.seen().matches("Some(30)").count(), 1, "{fault:?} at commit {number}");
            assert_eq!(at_once(scene.books()).unwrap().matches("done 30").count(), 1, "{fault:?} at commit {number}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_booked_stays_unknown_until_it_can() {
    let scene = scene([]);
    let tx = scene.service.database().begin(Access::Write).await.unwrap();
    tx.with(|books| books.push("shut".into()));
    tx.commit().await.unwrap();
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().query()).await, "pending");
    let tx = scene.service.database().begin(Access::Write).await.unwrap();
    tx.with(|books| books.retain(|word| word != "shut"));
    tx.commit().await.unwrap();
    assert_eq!(scene.ask(calls().query()).await, "done");
    assert_eq!(scene.books().await, "processing 1, done 30");
}

#[tokio::test]
async fn a_panic_while_a_third_party_is_called_is_unknown() {
    let scene = scene([Mood::Panic]);
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().execute()).await, "pending");
    assert_eq!(scene.ask(calls().attempt(2).execute()).await, "done");
}

#[tokio::test]
async fn an_accepted_attempt_keeps_its_note_and_a_callback_completes_it() {
    let scene = scene([Mood::Accept]);
    let pending = scene.service.call(calls().execute()).await;
    assert_eq!(pending, Answer::Pending(Payload::of("https://pay.example/1").unwrap()));
    assert_eq!(scene.service.call(calls().execute()).await, pending);
    let database = scene.service.database();
    for expected in [Completed::Recorded, Completed::Stands] {
        let tx = database.begin(Access::Write).await.unwrap();
        let ticket = Ticket::of(&calls().execute());
        let completed = tx.complete::<Refund>(&ticket, Ok(Money { amount: 30 }), at()).await.unwrap();
        assert_eq!(completed, expected, "a doubled callback changes nothing");
        Tx::commit(tx).await.unwrap();
    }
    assert_eq!(database.outbox(None, 9).await.unwrap().len(), 1);
    assert_eq!(scene.ask(calls().query()).await, "done");
}

#[tokio::test]
async fn g11_evidence_of_success_after_a_close_is_recorded_and_reported() {
    let scene = scene([]);
    assert_eq!(scene.ask(calls().close()).await, "closed");
    let database = scene.service.database();
    let tx = database.begin(Access::Write).await.unwrap();
    let ticket = Ticket::of(&calls().close());
    let done = tx.complete::<Refund>(&ticket, Ok(Money { amount: 30 }), at()).await.unwrap();
    let no = tx.complete::<Refund>(&ticket, Err(Refusal::new("late", "after all not")), at()).await.unwrap();
    Tx::commit(tx).await.unwrap();
    assert_eq!((done, no), (Completed::Recorded, Completed::Stands));
    assert_eq!(scene.ask(calls().query()).await, "done");
    assert_eq!(scene.ask(calls().close()).await, "done");
}
