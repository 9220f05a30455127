//! After a restart: every saga goes on by itself, one that cannot be read holds up no other, and what is kept is kept long enough.

use crate::support::{Fault, Holds, Setup, Shape, World, ended};
use std::time::Duration;
use tercet::{EngineError, Settings};
use tercet_core::{Phase, SagaId, minutes};
use tercet_shop::channel::{Behaviour, Ends};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn b13_a_reply_that_was_on_the_wire_is_asked_for_again_though_nothing_new_starts() {
    let world = World::on_disk(81).await;
    let trial = world.trial(Shape::Full, |world, _| world.wires.plan("stock", Phase::Try, 1, Fault::KillAfter)).await;
    assert_eq!((trial.ended(), world.deaths.get()), ("confirmed", 1));
    assert_eq!(world.wires.counts(trial.saga())[&("stock".to_owned(), Phase::Try)], 2);
}

#[tokio::test]
async fn b07_of_a_hundred_sagas_the_one_that_cannot_be_read_is_set_apart_and_the_others_go_on() {
    let world = World::on_disk(82).await;
    let cases = world.cases(Shape::Kept, 100).await;
    let before = world.ledger().await;
    let mut sagas = Vec::new();
    for case in cases {
        world.behave(&case.refund, Behaviour::Accept { after: minutes(7), ends: Ends::Well, callbacks: 0 });
        sagas.push(world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap().id);
    }
    world.time.quiet().await;
    let bad = sagas[2];
    world.store.tear(bad);
    world.kill().await;
    let reads = world.store.reads(bad);
    for saga in sagas.iter().filter(|saga| **saga != bad) {
        assert_eq!(ended(&world.settled(*saga).await), "confirmed");
    }
    let asked = world.ask(move |engine| async move { engine.wait(bad, tercet::Until::Now).await }).await;
    let Err(EngineError::Quarantined { why, .. }) = asked else { panic!("{asked:?}") };
    assert!(why.starts_with("entry "), "{why}");
    world.pass(minutes(15)).await;
    let counts = world.ask(|engine| async move { engine.counts().await }).await.unwrap();
    let parked: u64 = counts.iter().filter(|count| count.parked).map(|count| count.sagas).sum();
    assert_eq!(parked, 1, "it shows, apart from what runs");
    let again = world.store.reads(bad) - reads;
    assert!(again <= 4, "it was read {again} times: it is not tried in a loop");
    let shown = world.ask(move |engine| async move { engine.show(bad).await }).await.unwrap();
    assert!(shown.unreadable.is_some() && shown.row.projection.attention);
    world.slate(&before, Holds::Some).await;
}

/// Ends of every kind, in a world that keeps journals for an hour and their keys for four.
#[tokio::test]
async fn b50_only_what_has_ended_is_purged_and_its_key_goes_on_answering() {
    let settings = Settings { retention: Some(HOUR), inbox_every: minutes(1), ..Settings::of("shop".parse().unwrap()) };
    let world = World::with(83, Setup { settings, closes: false, ..Setup::default() }).await;
    let never = Behaviour::Accept { after: HOUR * 1000, ends: Ends::Well, callbacks: 0 };
    let unknown = world.trial(Shape::Full, |world, case| world.behave(&case.refund, never)).await;
    let confirmed = world.trial(Shape::Full, |_, _| {}).await;
    let cancelled = world.refused_by_third_party(Shape::Full, |_, _| {}).await;
    let stuck = |world: &World| world.wires.plan("stock", Phase::Confirm, 1, Fault::refuse());
    let parked = world.trial(Shape::Full, |world, _| stuck(world)).await;
    assert_eq!(
        [&confirmed, &cancelled, &parked, &unknown].map(|trial| trial.ended()),
        ["confirmed", "cancelled", "parked", "parked"]
    );
    let before = world.ledger().await;
    let entries = async |saga: SagaId| world.entries(saga).await.len();
    world.pass(minutes(90)).await;
    assert_eq!((entries(confirmed.saga()).await, entries(cancelled.saga()).await), (0, 0), "purged");
    assert!(entries(parked.saga()).await > 0 && entries(unknown.saga()).await > 0, "never purged");
    for trial in [&confirmed, &cancelled, &parked, &unknown] {
        let case = &trial.case;
        let again = world.start(case.definition, case.refund.as_str(), &case.input).await.unwrap();
        assert_eq!((again.id, again.new), (trial.saga(), false), "{}", trial.ended());
    }
    assert_eq!(world.ledger().await, before, "a late duplicate moves nothing");
}

#[tokio::test]
async fn a_start_so_late_that_its_key_is_forgotten_is_refused_by_the_participants_and_pays_nothing_again() {
    let settings = Settings { retention: Some(HOUR), inbox_every: minutes(1), ..Settings::of("shop".parse().unwrap()) };
    let world = World::with(84, Setup { settings, ..Setup::default() }).await;
    let trial = world.trial(Shape::Kept, |_, _| {}).await;
    world.pass(HOUR * 6).await;
    let before = world.ledger().await;
    let state = world.refund(&trial.case).await;
    assert_ne!(state.saga(), trial.saga());
    let why = state.abort.as_ref().unwrap().to_string();
    assert_eq!(why, format!("`order` was refused: duplicate: the refund {} is or was held already", trial.case.refund));
    let delta = world.slate(&before, Holds::None).await;
    assert_eq!(delta, crate::support::Delta::told_of_failure());
}
