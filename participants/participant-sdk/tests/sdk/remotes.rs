//! Holds at a third party: the half-done rules, with calls that land after their cancel (M1b).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tercet_core::{Call, Participant};
use tercet_participant::{
    Handed, Memory, Operation, Outcome, Remote, Service, Voided,
    conformance::{Calls, Holding, Subject, TestClock, holding},
    database::memory::MemoryTx,
    kind,
};
use tokio::sync::Notify;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    grams: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Waybill {
    number: u32,
}

struct Book;
impl Operation for Book {
    const NAME: &'static str = "carrier.book/1";
    type Kind = kind::Tcc;
    type Request = Parcel;
    type Reply = Waybill;
}

/// The carrier: one waybill for each key.
#[derive(Default)]
struct Carrier {
    /// By key: a waybill that stands, or a key that is void.
    waybills: Mutex<BTreeMap<String, Option<u32>>>,
    /// A voided key is refused from then on; else it is forgotten.
    remembers: bool,
    /// The next booking waits before it lands.
    slow: AtomicBool,
    gate: Notify,
    last: Mutex<u32>,
}

impl Carrier {
    fn standing(&self) -> usize {
        self.waybills.lock().unwrap().values().flatten().count()
    }

    fn land(&self, key: &str) -> Handed<Waybill> {
        let mut waybills = self.waybills.lock().unwrap();
        let standing = waybills.entry(key.to_owned()).or_insert_with(|| {
            let mut last = self.last.lock().unwrap();
            *last += 1;
            Some(*last)
        });
        match standing {
            Some(number) => Handed::Done(Waybill { number: *number }),
            None => Handed::refused("void", "this waybill was voided"),
        }
    }
}

struct Shipping(Arc<Carrier>);

impl Remote<Book, Memory<Vec<String>>> for Shipping {
    async fn make(&self, cx: &Call, request: Parcel) -> Handed<Waybill> {
        if request.grams > 30_000 {
            return Handed::refused("too_heavy", "a parcel has 30 kg at most");
        }
        if self.0.slow.swap(false, Ordering::SeqCst) {
            self.0.gate.notified().await;
        }
        self.0.land(cx.key.as_str())
    }

    async fn confirm(&self, _: &Call, _: Parcel, _: Waybill) -> Outcome<()> {
        Ok(())
    }

    async fn void(&self, cx: &Call, _: Parcel, _: Option<Waybill>) -> Outcome<Voided> {
        let mut waybills = self.0.waybills.lock().unwrap();
        match waybills.get(cx.key.as_str()) {
            None => Ok(Voided::Nothing),
            Some(_) if self.0.remembers => {
                waybills.insert(cx.key.to_string(), None);
                Ok(Voided::Done)
            }
            Some(_) => {
                waybills.remove(cx.key.as_str());
                Ok(Voided::Done)
            }
        }
    }

    async fn record(&self, tx: &MemoryTx<Vec<String>>, cx: &Call, _: Parcel, reply: Option<Waybill>) -> Outcome<()> {
        tx.with(|book| book.push(format!("{} {:?}", cx.phase, reply.map(|waybill| waybill.number))));
        Ok(())
    }
}

fn shipping(remembers: bool) -> (Arc<Carrier>, Service<Shipping, Memory<Vec<String>>>) {
    let carrier = Arc::new(Carrier { remembers, ..Carrier::default() });
    let service = Service::builder("carrier", Memory::new(Vec::new()), Shipping(carrier.clone()))
        .clock(TestClock::default())
        .remote::<Book>()
        .build()
        .unwrap();
    (carrier, service)
}

fn calls() -> Calls {
    Calls::of::<Book>(&Parcel { grams: 900 }).unwrap()
}

#[tokio::test]
async fn a_remote_tcc_conforms_whether_or_not_the_third_party_remembers_a_void() {
    for remembers in [true, false] {
        let fresh = || async {
            let (carrier, service) = shipping(remembers);
            Subject::new(service, move || std::future::ready(format!("{} waybills", carrier.standing())))
        };
        let heavy = Calls::of::<Book>(&Parcel { grams: 31_000 }).unwrap();
        holding(fresh, &Holding::tcc(calls()).refusing(heavy)).await.unwrap();
    }
}

#[tokio::test]
async fn m1b_a_call_that_lands_after_its_cancel_leaves_nothing_standing() {
    for remembers in [true, false] {
        let (carrier, service) = shipping(remembers);
        carrier.slow.store(true, Ordering::SeqCst);
        let mut late = service.call(calls().execute());
        assert!(matches!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        assert_eq!(service.call(calls().cancel()).await.as_str(), "done", "made under the same key, and voided");
        assert_eq!(carrier.standing(), 0);
        carrier.gate.notify_one();
        assert_eq!(late.await.as_str(), "refused", "it came back to a cancelled row");
        assert_eq!(carrier.standing(), 0, "remembers: {remembers}");
        assert_eq!(service.call(calls().execute()).await.as_str(), "refused");
        assert_eq!(carrier.standing(), 0);
    }
}

#[tokio::test]
async fn an_empty_cancel_of_a_remote_step_calls_nobody() {
    let (carrier, service) = shipping(true);
    assert_eq!(service.call(calls().cancel()).await.as_str(), "done");
    assert_eq!(*carrier.last.lock().unwrap(), 0);
}

#[tokio::test]
async fn each_change_is_booked_once_with_the_row() {
    let (_, service) = shipping(true);
    for call in [calls().execute(), calls().execute(), calls().confirm(), calls().confirm()] {
        assert_eq!(service.call(call).await.as_str(), "done");
    }
    assert_eq!(service.database().look(|book| book.join(", ")).await, "try Some(1), confirm Some(1)");
}

#[tokio::test]
async fn a_crash_between_intent_and_call_is_undone_by_the_cancel_that_always_runs() {
    use tercet_participant::database::memory::CommitFault;
    for commit in 1..=2 {
        let (carrier, service) = shipping(false);
        let count = std::sync::atomic::AtomicU32::new(0);
        service.database().inject(move || match count.fetch_add(1, Ordering::SeqCst) + 1 {
            n if n == commit => CommitFault::CrashBefore,
            _ => CommitFault::None,
        });
        let mut dies = service.call(calls().execute());
        assert!(matches!(dies.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        drop(dies);
        assert_eq!(carrier.standing(), usize::from(commit == 2), "a call leaves only after its intent");
        assert_eq!(service.call(calls().cancel()).await.as_str(), "done");
        assert_eq!(carrier.standing(), 0, "died at commit {commit}");
    }
}
