//! Signals, completions and timers: what a saga waits for comes by a hook, on either side of its deadline.

use crate::toy::{BEGINS, Place, Stay, Trip};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet::Registry;
use tercet_core::{
    Answer, Answering, Call, ContractName, Definition, Operation, Participant, Payload, Phase, Saga, Signal, kind,
    minutes, seconds,
};
use tercet_testing::{End, Kind, Participants, World, Worlds};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Approval {
    by: String,
}

impl Signal for Approval {
    const NAME: &'static str = "visits.approval/1";
}

struct Ring;
impl Operation for Ring {
    const NAME: &'static str = "bell.ring/1";
    type Kind = kind::Pivot;
    type Request = String;
    type Reply = String;
    const CLOSES: bool = true;
}

/// A room is held until somebody approves; then the bell is rung, which is reported later.
fn visit() -> Definition<Trip, String> {
    let saga = Saga::<Trip>::new("visit", 1);
    let room = saga.tcc("room", Stay).request(saga.input(), |r| r);
    let approval = saga.wait_for::<Approval>("approval").within(minutes(30));
    let bell = saga.pivot("bell", Ring).query_every(minutes(60)).request((room, approval), |(_, a)| a.by);
    saga.output(bell, |b| b)
}

/// A hotel and a bell.
#[derive(Debug, Default)]
struct House {
    room: Mutex<Option<bool>>,
    /// Somebody was asked to ring.
    asked: Mutex<bool>,
    rung: Mutex<Option<bool>>,
}

impl House {
    fn answer(&self, call: &Call) -> Answer {
        let done = |value: &dyn erased::Json| Answer::Done(value.payload());
        let (mut room, mut rung) = (self.room.lock().unwrap(), self.rung.lock().unwrap());
        *self.asked.lock().unwrap() |= (call.contract.as_str(), call.phase) == (Ring::NAME, Phase::Try);
        match (call.contract.as_str(), call.phase) {
            (Stay::NAME, Phase::Try) if *room == Some(false) => Answer::refused("gone", "it was given back"),
            (Stay::NAME, Phase::Try | Phase::Confirm) => {
                *room = Some(true);
                if call.phase == Phase::Try { done(&Place { number: 1 }) } else { Answer::Done(Payload::null()) }
            }
            (Stay::NAME, _) => {
                *room = Some(false);
                Answer::Done(Payload::null())
            }
            // It is rung by hand, by a hook.
            (_, Phase::Close) if rung.is_none() => {
                *rung = Some(false);
                Answer::Closed
            }
            (_, Phase::Query) if !*self.asked.lock().unwrap() => Answer::Absent,
            (_, Phase::Close | Phase::Query | Phase::Try) => match *rung {
                Some(true) => done(&"ding".to_owned()),
                Some(false) => Answer::refused("closed", "nobody may ring any more"),
                None => Answer::Pending(Payload::null()),
            },
            (_, phase) => Answer::retry(format!("there is no {phase} here")),
        }
    }

    /// Somebody rings the bell, if that was asked for and nobody has, or may not.
    fn ring(&self) -> bool {
        let mut rung = self.rung.lock().unwrap();
        let rings = *self.asked.lock().unwrap() && rung.is_none();
        if rings {
            *rung = Some(true);
        }
        rings
    }
}

mod erased {
    //! Values of any type as JSON.
    use tercet_core::Payload;

    pub(super) trait Json {
        fn payload(&self) -> Payload;
    }

    impl<T: serde::Serialize> Json for T {
        fn payload(&self) -> Payload {
            Payload::of(self).unwrap()
        }
    }
}

struct Houses(Arc<House>);

impl Participants for Houses {
    fn all(&self) -> Vec<Arc<dyn Participant>> {
        vec![self.0.clone()]
    }
}

impl Participant for House {
    fn name(&self) -> &str {
        "house"
    }

    fn contracts(&self) -> Vec<ContractName> {
        [Stay::NAME, Ring::NAME].map(|name| name.parse().unwrap()).to_vec()
    }

    fn call(&self, call: Call) -> Answering<'_> {
        Box::pin(async move { self.answer(&call) })
    }
}

fn worlds() -> Worlds<Houses> {
    tercet_testing::worlds(Registry::new().with(visit()).unwrap())
        .saga("visit", &Trip { guest: "Ann".to_owned() })
        .participants(|_| async { Houses(Arc::default()) })
        .begins(BEGINS)
        .clean_slate(|world| async move { slate(&world) })
}

fn slate(world: &World<Houses>) -> Result<(), String> {
    let House { room, rung, .. } = &*world.participants().0;
    let (room, rung) = (room.lock().unwrap().unwrap_or(false), rung.lock().unwrap().unwrap_or(false));
    let whole = world.end() == End::Confirmed;
    if (room, rung) == (whole, whole) { Ok(()) } else { Err(format!("room taken: {room}, bell rung: {rung}")) }
}

fn told(worlds: Worlds<Houses>) -> Worlds<Houses> {
    worlds
        .when("approval", |world| async move {
            world.signal(&Approval { by: "Ben".to_owned() }).await.unwrap();
        })
        .pump(|world| async move {
            if world.participants().0.ring() {
                world.complete("bell", "ding").await.unwrap();
            }
            seconds(90)
        })
}

#[tokio::test]
async fn a_wait_that_a_hook_answers_is_raced_with_its_deadline() {
    let report = told(worlds()).run().await;
    insta::assert_snapshot!(report, @r"
    `visit` ends well in every one of 100 worlds:
                        confirmed  undone
      clean                     1       1
      refused                   3       1
      doubled                   3       2
      repeated                  4       3
      lost call                 3       2
      lost reply                3       2
      late call                 3       2
      late reply                3       2
      not now                   3       2
      no responder              3       2
      crash at a call           6       4
      crash at a write         12      10
      cancelled                 6       5
      overtaken                 1       0
      timer                     4       4
    ");
    assert!(report.of(Kind::Timer) >= 4, "{report}");
}

#[tokio::test]
async fn a_wait_that_nobody_answers_is_a_course_that_ends_cancelled() {
    let report = worlds().run().await.to_string();
    assert_eq!(report.lines().nth(1).unwrap().trim(), "cancelled", "{report}");
}

/// A room is asked for only once nobody objected: nothing goes on while it waits.
fn patient() -> Definition<Trip, Place> {
    let saga = Saga::<Trip>::new("patient", 1);
    let silence = |_| Approval { by: "nobody".to_owned() };
    let approval = saga.wait_for::<Approval>("approval").within_or(minutes(30), silence);
    let room = saga.tcc("room", Stay).request((saga.input(), approval), |(r, _)| r);
    saga.output(room, |r| r)
}

#[tokio::test]
async fn a_kind_that_applies_and_has_no_world_is_a_failure() {
    let patient = tercet_testing::worlds(Registry::new().with(patient()).unwrap())
        .saga("patient", &Trip { guest: "Ann".to_owned() })
        .participants(|_| async { Houses(Arc::default()) });
    let said = patient.try_run().await.unwrap_err();
    insta::assert_snapshot!(said, @"`patient` has no world of these kinds: timer. A wait that nobody answers races with nothing: tell it something with `when`; or leave the kind out with `without`");
}

#[tokio::test]
async fn a_saga_that_never_ends_is_said_to_be_stuck() {
    let only_approved = worlds().when("approval", |world| async move {
        world.signal(&Approval { by: "Ben".to_owned() }).await.unwrap();
    });
    let said = only_approved.patience(Duration::from_secs(600)).try_run().await.unwrap_err();
    insta::assert_snapshot!(said, @r#"
    `visit` goes wrong in 1 of 1 worlds. The first of them:

      clean

      - it never ends: visit is trying and waits for the query of bell

      0:00.000  visit                  write 1: started {"guest":"Ann"}; room asked; approval waits for visits.approval/1
                                     › when approval:
                                     › signal visits.approval/1 to visit
                visit  room  try #1    asked {"guest":"Ann"}
                visit  room  try #1    done {"number":1}
                visit                  write 2: told visits.approval/1; approval took its signal
                visit                  write 3: room done; bell asked
                visit  bell  try #1    asked "Ben"
                visit  bell  try #1    pending
                visit                  write 4: bell's try is pending

      to run this world alone: TERCET_WORLD='clean' cargo test …
    "#);
}
