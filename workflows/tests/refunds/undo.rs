//! Undoing: with the bytes of one's own try, once, whatever happens meanwhile.

use crate::support::{Delta, Fault, Holds, Setup, Shape, World, clock::BEGINS, ended, parked};
use std::sync::Arc;
use tercet::{EngineError, Registry};
use tercet_core::{
    Action, Answer, Call, Definition, Life, Millis, Operation, Payload, Phase, Saga, SagaId, kind, refuse,
};
use tercet_participant::{Outcome, SeaOrm, Service, Tcc, Transaction};
use tercet_shop::{
    money::{Currency, Money},
    shares::TakenBack,
};

#[tokio::test]
async fn b04_an_undo_gets_its_own_steps_bytes_also_after_a_restart() {
    let world = World::on_disk(71).await;
    let trial = world
        .trial(Shape::Full, |world, _| {
            world.wires.plan("points", Phase::Try, 1, Fault::KillBefore);
            world.wires.plan("points", Phase::Try, 1, Fault::refuse());
        })
        .await;
    assert_eq!((trial.ended(), world.deaths.get()), ("cancelled", 1));
    assert_eq!(trial.delta.without_traces(), Delta::told_of_failure());
    let made = world.wires.made(trial.state.saga());
    let cancels: Vec<_> = made.iter().filter(|made| made.call.phase == Phase::Cancel).collect();
    assert!(cancels.iter().any(|made| made.call.step.as_str() == "points"), "it was asked more than once: undone, too");
    for cancel in cancels {
        let step = &cancel.call.step;
        for tried in made.iter().filter(|made| made.call.step == *step && made.call.phase == Phase::Try) {
            assert_eq!(tried.call.request, cancel.call.request, "{step}");
            if let (Some(Answer::Done(reply)), Some(known)) = (&tried.answer, &cancel.call.reply) {
                assert_eq!(reply, known, "{step}");
            }
        }
        assert!(matches!(cancel.answer, Some(Answer::Done(_))), "{step} is undone at once");
    }
}

#[tokio::test]
async fn b10_a_cancel_that_is_refused_is_parked_survives_three_restarts_and_is_resolved_by_hand() {
    let world = World::on_disk(72).await;
    let arrange = |world: &World, _: &_| {
        world.wires.plan("hold", Phase::Try, 1, Fault::refuse());
        world.wires.plan("stock", Phase::Cancel, 2, Fault::refuse());
    };
    let trial = world.trial(Shape::Full, arrange).await;
    let why = "stock: its cancel was refused: refused_on_purpose: this test refuses it";
    assert_eq!(trial.parked(), why);
    let (saga, entries) = (trial.saga(), world.entries(trial.saga()).await);
    for _ in 0..3 {
        world.kill().await;
        world.pass(std::time::Duration::from_secs(3600)).await;
        assert_eq!(parked(&world.state(saga).await), why);
    }
    assert_eq!(world.entries(saga).await, entries, "nothing was written meanwhile");
    assert_eq!(world.wires.counts(saga)[&("stock".to_owned(), Phase::Cancel)], 1, "and nothing was asked");
    assert_eq!(world.trial(Shape::Returned, |_, _| {}).await.ended(), "confirmed", "others go on");
    world.operate(saga, "stock", Action::RetryNow).await.unwrap();
    assert_eq!(parked(&world.settled(saga).await), why);
    world.operate(saga, "stock", Action::RetryNow).await.unwrap();
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(world.ledger().await.holds(), 0);
}

/// Where a world's clock begins: near enough for the ages of rows.
struct Standing;

impl tercet_participant::Clock for Standing {
    fn now(&self) -> Millis {
        BEGINS
    }
}

/// An operation whose handler panics when it is to be undone.
struct Fragile;

impl Operation for Fragile {
    const NAME: &'static str = "fragile.hold/1";
    type Kind = kind::Tcc;
    type Request = u32;
    type Reply = u32;
}

impl Tcc<Self> for Fragile {
    async fn try_(&self, _: &Transaction, _: &Call, request: u32) -> Outcome<u32> {
        Ok(request)
    }

    async fn confirm(&self, _: &Transaction, _: &Call, _: u32, _: u32) -> Outcome<()> {
        Ok(())
    }

    async fn cancel(&self, _: &Transaction, _: &Call, _: u32, _: Option<u32>) -> Outcome<()> {
        panic!("the undo is broken")
    }
}

struct Picky;

impl Operation for Picky {
    const NAME: &'static str = "fragile.refuse/1";
    type Kind = kind::Tcc;
    type Request = u32;
    type Reply = u32;
}

impl Tcc<Picky> for Fragile {
    async fn try_(&self, _: &Transaction, _: &Call, _: u32) -> Outcome<u32> {
        refuse("no", "never")?
    }

    async fn confirm(&self, _: &Transaction, _: &Call, _: u32, _: u32) -> Outcome<()> {
        Ok(())
    }

    async fn cancel(&self, _: &Transaction, _: &Call, _: u32, _: Option<u32>) -> Outcome<()> {
        Ok(())
    }
}

fn brittle() -> Definition<u32, u32> {
    let saga = Saga::<u32>::new("brittle", 1);
    let held = saga.tcc("held", Fragile).request(saga.input(), |n| n);
    let no = saga.tcc("no", Picky).request(held, |n| n);
    saga.output(no, |n| n)
}

#[tokio::test]
async fn b10_an_undo_that_panics_three_times_is_parked_survives_restarts_and_the_process_stays_up() {
    let database = SeaOrm::sqlite_in_memory().await.unwrap();
    let fragile = Service::builder("fragile", database, Fragile).tcc::<Fragile>().tcc::<Picky>().clock(Standing);
    let fragile = fragile.build().unwrap();
    let registry: Registry = tercet_workflows::registry().unwrap().with(brittle()).unwrap();
    let world = World::with(73, Setup { registry, more: vec![Arc::new(fragile)], ..Setup::default() }).await;
    let saga = world.start("brittle", "b", &Payload::of(&1).unwrap()).await.unwrap().id;
    let state = world.settled(saga).await;
    assert_eq!(state.life, Life::Cancelling, "it is never given up");
    let why = parked(&state);
    assert!(why.starts_with("held: "), "{why}");
    let asked = || world.wires.counts(saga)[&("held".to_owned(), Phase::Cancel)];
    assert_eq!(asked(), 3);
    for _ in 0..3 {
        world.kill().await;
        world.pass(std::time::Duration::from_secs(3600)).await;
        assert_eq!(parked(&world.state(saga).await), why);
    }
    assert_eq!(asked(), 3, "nobody asks what waits for a person");
    assert_eq!(world.trial(Shape::Full, |_, _| {}).await.ended(), "confirmed", "others go on");
}

/// A saga that is undone, each of its cancels answered only late, so that something can happen meanwhile.
async fn undoing(world: &World) -> (SagaId, tercet_shop::Ledger) {
    let case = world.case(Shape::Full).await;
    let before = world.ledger().await;
    for step in ["points", "stock"] {
        world.wires.plan(step, Phase::Cancel, 1, Fault::Late);
    }
    world.wires.plan("coupon", Phase::Try, 1, Fault::LoseReply);
    let saga = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id;
    world.until(saga, |state| state.steps.len() > 4).await;
    world.cancel(saga).await.unwrap();
    (saga, before)
}

#[tokio::test]
async fn b34_a_cancel_while_it_is_tried_undoes_it_once_and_a_second_one_hears_that_it_is_under_way() {
    let world = World::on_disk(74).await;
    let (saga, before) = undoing(&world).await;
    let Err(EngineError::TooLate { why, .. }) = world.cancel(saga).await else { panic!("a second cancel was taken") };
    assert_eq!(why, "it is already cancelling");
    world.stop().await;
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), Delta::told_of_failure());
}

#[tokio::test]
async fn b34_a_stop_in_the_middle_of_an_undo_skips_nothing() {
    let world = World::on_disk(75).await;
    let (saga, before) = undoing(&world).await;
    world.stop().await;
    let Err(EngineError::TooLate { .. }) = world.cancel(saga).await else { panic!("a second cancel was taken") };
    world.stop().await;
    assert_eq!(ended(&world.settled(saga).await), "cancelled");
    assert_eq!(world.slate(&before, Holds::None).await.without_traces(), Delta::told_of_failure());
    assert_eq!(world.ledger().await.notices["refund_failed"], 1);
}

#[tokio::test]
async fn b41_a_mapper_that_fails_before_the_decision_unwinds_as_a_refusal_does() {
    let world = World::new(76).await;
    let yen = TakenBack { deduct: Money::new(1, Currency::JPY) };
    let answer = Answer::Done(Payload::of(&yen).unwrap());
    let arrange = |world: &World, _: &_| world.wires.plan("red_packet", Phase::Try, 1, Fault::Answer(answer));
    let trial = world.trial(Shape::Full, arrange).await;
    assert_eq!(trial.ended(), "cancelled");
    let why = trial.state.abort.as_ref().unwrap().to_string();
    assert_eq!(why, "`hold` was refused: bad_amount: EUR and JPY cannot be added up");
    assert_eq!(trial.delta.without_traces(), Delta::told_of_failure());
}
