//! A participant that is ill or slow: left in peace, probed, waited for in line; and nobody else is held up (B05).

use super::support::{Hold, Pay, Says, Take, World, done, ended, now, pass, start};
use std::time::Duration;
use tercet::{
    Engine,
    engine::{Breaker, ParticipantState},
};
use tercet_core::{Answer, Life, Operation, Phase};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

async fn gate(engine: &Engine, name: &str) -> ParticipantState {
    let all = engine.participants().await.unwrap();
    all.into_iter().find(|participant| participant.name == name).unwrap()
}

fn since(calls: &[(Instant, tercet_core::Call)], then: Instant) -> usize {
    calls.iter().filter(|(at, _)| *at > then).count()
}

#[tokio::test(start_paused = true)]
async fn b05_an_undo_that_is_always_turned_away_is_not_hammered_and_all_end_by_themselves_once_it_is_let_in() {
    let world = World::new();
    world.say(|call| match (call.contract.as_str(), call.phase) {
        (Hold::NAME, Phase::Cancel) => Says::Now(Answer::retry("unauthorized")),
        (Take::NAME, Phase::Try) => Says::Now(Answer::refused("no_money", "there is none")),
        _ => done(),
    });
    let engine = world.run().await;
    let mut sagas = Vec::new();
    for key in 0..50 {
        sagas.push(start(&engine, "purchase", key).await);
    }
    let began = Instant::now();
    pass(SECOND * 120).await;
    let calls = world.calls(Hold::NAME, Phase::Cancel);
    assert!(calls.len() < 5 * 120, "{} calls", calls.len());
    let later = since(&calls, began + SECOND * 5);
    assert!((2..=10).contains(&later), "{later} calls after the first five seconds");

    let stock = gate(&engine, "stock").await;
    let (Breaker::Open { why, .. } | Breaker::HalfOpen { why }) = &stock.breaker else { panic!("{stock:?}") };
    assert!(why.contains("unauthorized"), "{why}");
    assert!(stock.waiting >= 45, "{stock:?}");
    assert_eq!(gate(&engine, "wallet").await.breaker, Breaker::Closed);

    world.say(|_| done());
    for saga in sagas {
        assert_eq!(ended(&engine, saga).await, "cancelled");
    }
    assert!(began.elapsed() < SECOND * 240, "it took {:?}", began.elapsed());
    assert_eq!(gate(&engine, "stock").await.breaker, Breaker::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_open_spends_no_attempts_and_takes_nothing_for_a_no() {
    let world = World::new();
    world.say(|call| match call.contract.as_str() {
        Take::NAME => done(),
        _ => Says::Now(Answer::retry("maintenance")),
    });
    let engine = world.run().await;
    // These make it open, and wait.
    for key in 0..60 {
        start(&engine, "purchase", key).await;
    }
    pass(SECOND).await;
    assert!(matches!(gate(&engine, "stock").await.breaker, Breaker::Open { .. }));
    let calls = world.calls(Hold::NAME, Phase::Try).len();

    // Three attempts are all that it has.
    let impatient = start(&engine, "impatient", 0).await;
    pass(SECOND * 30).await;
    let asked = |call: &(Instant, tercet_core::Call)| call.1.saga == impatient;
    assert!(!world.calls(Hold::NAME, Phase::Try).iter().any(asked), "it is in line behind the others");
    assert!(world.calls(Hold::NAME, Phase::Try).len() - calls <= 4);
    assert_eq!(now(&engine, impatient).await.state.life, Life::Trying);
    // Nobody waits behind it who asks somebody else.
    assert_eq!(ended(&engine, start(&engine, "gift", 0).await).await, "confirmed");

    world.say(|_| done());
    assert_eq!(ended(&engine, impatient).await, "confirmed");
    assert_eq!(world.calls(Hold::NAME, Phase::Try).iter().filter(|call| asked(call)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_waits_in_a_line_of_its_own_and_is_probed_by_turns() {
    let world = World::new();
    world.say(|call| match (call.contract.as_str(), call.phase) {
        (Take::NAME, _) => Says::After(SECOND * 5, Answer::refused("no_money", "there is none")),
        _ => done(),
    });
    let engine = world.run().await;
    let held = start(&engine, "purchase", 0).await;
    pass(SECOND).await;
    world.say(|call| match (call.contract.as_str(), call.phase) {
        (Hold::NAME, Phase::Try) => Says::Now(Answer::retry("maintenance")),
        _ => done(),
    });
    for key in 1..200 {
        start(&engine, "purchase", key).await;
    }
    assert!(matches!(gate(&engine, "stock").await.breaker, Breaker::Open { .. }));
    // Its cancel comes when some two hundred tries are in line already.
    let began = Instant::now();
    assert_eq!(ended(&engine, held).await, "cancelled");
    assert!(began.elapsed() < SECOND * 60, "it took {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_failure_opens_nothing() {
    let world = World::new();
    world.say(|call| match call.contract.as_str() {
        Pay::NAME => Says::Never,
        _ => Says::Now(Answer::retry("not now")),
    });
    let engine = world.run().await;
    start(&engine, "payment", 0).await;
    start(&engine, "gift", 0).await;
    pass(SECOND * 60).await;
    let all = engine.participants().await.unwrap();
    assert_eq!(all.iter().map(|at| at.name.as_str()).collect::<Vec<_>>(), ["bank", "wallet"]);
    assert!(all.iter().all(|at| at.breaker == Breaker::Closed), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_participant_has_so_many_calls_at_once_in_their_order_and_holds_up_nobody_else() {
    let mut world = World::new();
    world.settings.limits.concurrent = 4;
    world.say(|call| match call.contract.as_str() {
        Hold::NAME => Says::After(SECOND * 5, Answer::Done(call.request.clone())),
        _ => done(),
    });
    let engine = world.run().await;
    let mut sagas = Vec::new();
    for key in 0..12 {
        sagas.push(start(&engine, "purchase", key).await);
    }
    let stock = gate(&engine, "stock").await;
    assert_eq!((stock.out, stock.waiting), (4, 8));
    let began = Instant::now();
    assert_eq!(ended(&engine, start(&engine, "gift", 0).await).await, "confirmed");
    assert!(began.elapsed() < SECOND);
    for &saga in &sagas {
        assert_eq!(ended(&engine, saga).await, "confirmed");
    }
    assert_eq!(world.most_at_once("stock"), 4);
    let order: Vec<_> = world.calls(Hold::NAME, Phase::Try).into_iter().map(|(_, call)| call.saga).collect();
    assert_eq!(order, sagas, "one call each, first come, first served");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_gives_its_place_back() {
    let mut world = World::new();
    world.settings.limits.concurrent = 1;
    world.say(|call| if call.attempt == 1 { Says::Never } else { done() });
    let engine = world.run().await;
    let (first, second) = (start(&engine, "gift", 0).await, start(&engine, "gift", 1).await);
    assert_eq!(ended(&engine, first).await, "confirmed");
    assert_eq!(ended(&engine, second).await, "confirmed");
    let wallet = gate(&engine, "wallet").await;
    assert_eq!((wallet.out, wallet.waiting), (0, 0));
}
