//! A toy project: four definitions and the participants they ask, in memory. Not real; the HTTP API and command line around it are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercet::{Registry, RegistryError};
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Operation, Participant, Payload, Phase, Saga, Signal, hours,
    kind,
};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TripRequest {
    pub(crate) traveller: String,
    pub(crate) seats: u32,
    pub(crate) note: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Seat {
    pub(crate) code: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    pub(crate) receipt: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Approval {
    pub(crate) by: String,
}

impl Signal for Approval {
    const NAME: &'static str = "visits.approval/1";
}

/// Holds seats: nine at most.
pub(crate) struct Hold;
impl Operation for Hold {
    const NAME: &'static str = "flights.hold/1";
    type Kind = kind::Tcc;
    type Request = TripRequest;
    type Reply = Seat;
}

/// Takes the money, after somebody has followed a link.
pub(crate) struct Pay;
impl Operation for Pay {
    const NAME: &'static str = "bank.pay/1";
    type Kind = kind::Pivot;
    type Request = Seat;
    type Reply = Receipt;
    const CLOSES: bool = true;
}

/// Sends a message.
pub(crate) struct Send;
impl Operation for Send {
    const NAME: &'static str = "mail.send/1";
    type Kind = kind::Retriable;
    type Request = String;
    type Reply = ();
}

/// Refuses to send it.
pub(crate) struct Bounce;
impl Operation for Bounce {
    const NAME: &'static str = "mail.bounce/1";
    type Kind = kind::Retriable;
    type Request = String;
    type Reply = ();
}

/// Takes no money, for good.
pub(crate) struct Decline;
impl Operation for Decline {
    const NAME: &'static str = "bank.decline/1";
    type Kind = kind::Pivot;
    type Request = Seat;
    type Reply = Receipt;
}

fn trip_of(saga: Saga<TripRequest>) -> Definition<TripRequest, Receipt> {
    let seat = saga.tcc("seat", Hold).request(saga.input(), |r| r);
    let pay = saga.pivot("pay", Pay).query_every(hours(1)).request(seat, |s| s);
    saga.on_confirmed(|then| then.retriable("tell", Send).request(pay, |p| p.receipt));
    saga.output(pay, |p| p)
}

/// Waits for a payment.
pub(crate) fn trip() -> Definition<TripRequest, Receipt> {
    trip_of(Saga::new("trip", 1))
}

/// Not for ever.
pub(crate) fn trip_by_the_hour() -> Definition<TripRequest, Receipt> {
    trip_of(Saga::new("trip", 2).deadline(hours(1)))
}

/// Waits to be told.
pub(crate) fn visit() -> Definition<TripRequest, String> {
    let saga = Saga::<TripRequest>::new("visit", 1);
    let approval = saga.wait_for::<Approval>("approval").within(hours(1));
    saga.tcc("seat", Hold).request((saga.input(), approval), |(r, _)| r);
    saga.output(approval, |a| a.by)
}

/// Is done at once.
pub(crate) fn quick() -> Definition<TripRequest, String> {
    let saga = Saga::<TripRequest>::new("quick", 1);
    let seat = saga.tcc("seat", Hold).request(saga.input(), |r| r);
    saga.output(seat, |s| s.code)
}

/// Parks after its decision.
pub(crate) fn stuck() -> Definition<TripRequest, String> {
    let saga = Saga::<TripRequest>::new("stuck", 1);
    let seat = saga.tcc("seat", Hold).request(saga.input(), |r| r);
    saga.on_confirmed(|then| then.retriable("tell", Bounce).request(seat, |s| s.code));
    saga.output(seat, |s| s.code)
}

/// Every definition of the toy.
pub(crate) fn registry() -> Result<Registry, RegistryError> {
    Registry::new().with(trip())?.with(trip_by_the_hour())?.with(visit())?.with(quick())?.with(stuck())
}

/// The participants, as one.
#[derive(Debug)]
struct Toy;

/// Who answers for every operation of the toy.
pub(crate) fn participants() -> Vec<Arc<dyn Participant>> {
    vec![Arc::new(Toy)]
}

impl Participant for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    fn contracts(&self) -> Vec<ContractName> {
        [Hold::NAME, Pay::NAME, Send::NAME, Bounce::NAME, Decline::NAME].map(|name| name.parse().unwrap()).to_vec()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(std::future::ready(answer(&call)))
    }
}

fn answer(call: &Call) -> Answer {
    let done = |value: serde_json::Value| Answer::Done(Payload::of(&value).unwrap());
    match (call.contract.as_str(), call.phase) {
        (Hold::NAME, Phase::Try) => match call.request.parse::<TripRequest>() {
            Ok(request) if request.seats > 9 => Answer::refused("no_seats", "there are nine at most"),
            _ => done(serde_json::json!({"code": "14C"})),
        },
        (Pay::NAME, Phase::Try | Phase::Query) => {
            Answer::Pending(Payload::of(&serde_json::json!({"link": "https://pay.example/14C"})).unwrap())
        }
        (Pay::NAME, Phase::Close) => Answer::Closed,
        (Decline::NAME, _) => Answer::refused("no_money", "the account is empty"),
        (Bounce::NAME, _) => Answer::refused("no_such_address", "nobody lives there"),
        _ => done(serde_json::Value::Null),
    }
}
