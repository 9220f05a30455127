//! A toy: a trip of a flight and a hotel that are paid together, and participants with a flaw where a test wants one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tercet::Registry;
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Millis, Operation, Participant, Payload, Phase, Saga, SagaId,
    StepInstance, kind,
};
use tercet_testing::{End, Participants, World, Worlds};

/// Every toy world begins then, so that timelines are the same on each day.
pub(crate) const BEGINS: Millis = Millis(1_780_000_000_000);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Trip {
    pub(crate) guest: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Place {
    pub(crate) number: u32,
}

pub(crate) struct Fly;
impl Operation for Fly {
    const NAME: &'static str = "flight.book/1";
    type Kind = kind::Tcc;
    type Request = Trip;
    type Reply = Place;
}

pub(crate) struct Stay;
impl Operation for Stay {
    const NAME: &'static str = "hotel.book/1";
    type Kind = kind::Tcc;
    type Request = Trip;
    type Reply = Place;
}

pub(crate) struct Pay;
impl Operation for Pay {
    const NAME: &'static str = "bank.pay/1";
    type Kind = kind::Pivot;
    type Request = Trip;
    type Reply = ();
    const CLOSES: bool = true;
}

pub(crate) struct Tell;
impl Operation for Tell {
    const NAME: &'static str = "mail.tell/1";
    type Kind = kind::Retriable;
    type Request = String;
    type Reply = ();
}

/// A trip; who cancels it is told, by that mapper.
fn trip_of(apology: fn(Trip) -> String) -> Definition<Trip, Place> {
    let saga = Saga::<Trip>::new("trip", 1);
    let request = saga.input();
    let flight = saga.tcc("flight", Fly).request(request, |r| r);
    let hotel = saga.tcc("hotel", Stay).request((request, flight), |(r, _)| r);
    let pay = saga.pivot("pay", Pay).request((request, hotel), |(r, _)| r);
    saga.on_confirmed(|then| {
        then.retriable("tell", Tell).request((request, pay), |(r, ())| format!("{} may go", r.guest))
    });
    saga.on_cancelled(|then| then.retriable("apologise", Tell).request(request, apology));
    saga.output(flight, |f| f)
}

pub(crate) fn trip() -> Registry {
    Registry::new().with(trip_of(|r| format!("{} must stay", r.guest))).unwrap()
}

pub(crate) fn trip_whose_apology_panics() -> Registry {
    Registry::new().with(trip_of(|_| panic!("nobody is to blame"))).unwrap()
}

/// What a participant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It has no barrier: every message counts.
    NoBarrier,
    /// Its cancel does nothing.
    NoUndo,
    /// Its confirm fails when it is repeated.
    ConfirmsOnce,
    /// A try that is repeated holds anew, and what was held before is forgotten.
    Forgets,
    /// A cancel that comes before its try is not remembered.
    Overtaken,
    /// The mail is sent again when it is asked to be.
    TellsTwice,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Held(u32),
    Taken(u32),
    Free,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    rows: BTreeMap<(SagaId, StepInstance), Row>,
    numbers: u32,
    pub(crate) held: i64,
    pub(crate) taken: i64,
}

/// Flight, hotel, bank or mail, in memory.
#[derive(Debug)]
pub(crate) struct Desk {
    contract: &'static str,
    flaw: Option<Flaw>,
    books: Mutex<Books>,
}

impl Desk {
    fn of(contract: &'static str, flaw: Option<Flaw>) -> Arc<Self> {
        Arc::new(Self { contract, flaw, books: Mutex::default() })
    }

    pub(crate) fn books<T>(&self, look: impl FnOnce(&Books) -> T) -> T {
        look(&self.books.lock().unwrap())
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn answer(&self, call: &Call) -> Answer {
        let key = (call.saga, call.step.clone());
        let mut books = self.books.lock().unwrap();
        let row = if self.has(Flaw::NoBarrier) { None } else { books.rows.get(&key).copied() };
        match (self.contract, call.phase) {
            (Pay::NAME | Tell::NAME, phase) => self.once(&mut books, key, row, phase),
            (_, Phase::Try) => self.hold(&mut books, key, row),
            (_, Phase::Confirm) => self.confirm(&mut books, key, row),
            (_, Phase::Cancel) => self.cancel(&mut books, key, row),
            (_, phase) => Answer::retry(format!("there is no {phase} here")),
        }
    }

    /// Payments and mails: once.
    fn once(&self, books: &mut Books, key: (SagaId, StepInstance), row: Option<Row>, phase: Phase) -> Answer {
        let done = Answer::Done(Payload::null());
        match (phase, row) {
            (Phase::Try, Some(_)) if !self.has(Flaw::TellsTwice) => done,
            (Phase::Try, _) => {
                books.taken += 1;
                books.rows.insert(key, Row::Taken(0));
                done
            }
            (Phase::Query, Some(_)) => done,
            (Phase::Query, None) => Answer::Absent,
            (Phase::Close, Some(_)) => done,
            (Phase::Close, None) => Answer::Closed,
            _ => Answer::retry("there is no such phase"),
        }
    }

    fn hold(&self, books: &mut Books, key: (SagaId, StepInstance), row: Option<Row>) -> Answer {
        let number = match row {
            Some(Row::Held(_)) if self.has(Flaw::Forgets) => None,
            Some(Row::Held(number) | Row::Taken(number)) => Some(number),
            Some(Row::Free) => return Answer::refused("cancelled", "it was cancelled before"),
            None => None,
        };
        let number = number.unwrap_or_else(|| {
            books.numbers += 1;
            books.held += 1;
            books.rows.insert(key, Row::Held(books.numbers));
            books.numbers
        });
        Answer::Done(Payload::of(&Place { number }).unwrap())
    }

    fn confirm(&self, books: &mut Books, key: (SagaId, StepInstance), row: Option<Row>) -> Answer {
        match row {
            Some(Row::Taken(_)) if !self.has(Flaw::ConfirmsOnce) => {}
            Some(Row::Held(number)) => {
                books.held -= 1;
                books.taken += 1;
                books.rows.insert(key, Row::Taken(number));
            }
            None if self.has(Flaw::NoBarrier) => {
                books.held -= 1;
                books.taken += 1;
            }
            _ => return Answer::refused("no_hold", "nothing is held"),
        }
        Answer::Done(Payload::null())
    }

    fn cancel(&self, books: &mut Books, key: (SagaId, StepInstance), row: Option<Row>) -> Answer {
        match row {
            _ if self.has(Flaw::NoUndo) => {}
            Some(Row::Held(_)) => {
                books.held -= 1;
                books.rows.insert(key, Row::Free);
            }
            None if self.has(Flaw::NoBarrier) => books.held -= 1,
            None if !self.has(Flaw::Overtaken) => drop(books.rows.insert(key, Row::Free)),
            _ => {}
        }
        Answer::Done(Payload::null())
    }
}

impl Participant for Desk {
    fn name(&self) -> &str {
        self.contract
    }

    fn contracts(&self) -> Vec<ContractName> {
        vec![self.contract.parse().unwrap()]
    }

    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(async move { self.answer(&call) })
    }
}

/// Who answers a trip.
pub(crate) struct Agency {
    pub(crate) flight: Arc<Desk>,
    pub(crate) hotel: Arc<Desk>,
    pub(crate) bank: Arc<Desk>,
    pub(crate) mail: Arc<Desk>,
}

impl Agency {
    /// The flaw is the hotel's, or the mail's.
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let of_mail = |flaw: &Flaw| *flaw == Flaw::TellsTwice;
        Self {
            flight: Desk::of(Fly::NAME, None),
            hotel: Desk::of(Stay::NAME, flaw.filter(|flaw| !of_mail(flaw))),
            bank: Desk::of(Pay::NAME, None),
            mail: Desk::of(Tell::NAME, flaw.filter(of_mail)),
        }
    }
}

impl Participants for Agency {
    fn all(&self) -> Vec<Arc<dyn Participant>> {
        vec![self.flight.clone(), self.hotel.clone(), self.bank.clone(), self.mail.clone()]
    }
}

/// The worlds of a trip, with that flaw.
pub(crate) fn worlds(registry: Registry, flaw: Option<Flaw>) -> Worlds<Agency> {
    tercet_testing::worlds(registry)
        .saga("trip", &Trip { guest: "Ann".to_owned() })
        .participants(move |_| async move { Agency::new(flaw) })
        .begins(BEGINS)
        .clean_slate(|world| async move { slate(&world) })
}

/// Nothing is held, and a trip that took place is whole.
pub(crate) fn slate(world: &World<Agency>) -> Result<(), String> {
    let Agency { flight, hotel, bank, mail } = world.participants();
    let whole = i64::from(world.end() == End::Confirmed);
    let figures = [
        ("flights held", flight.books(|b| b.held), 0),
        ("rooms held", hotel.books(|b| b.held), 0),
        ("flights taken", flight.books(|b| b.taken), whole),
        ("rooms taken", hotel.books(|b| b.taken), whole),
        ("payments", bank.books(|b| b.taken), whole),
        ("mails sent", mail.books(|b| b.taken), 1),
    ];
    let wrong = figures.iter().filter(|(_, is, should)| is != should);
    let wrong: Vec<_> = wrong.map(|(what, is, should)| format!("{what}: {is}, and {should} should be")).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}
