//! A saga that only waits is not in memory, whatever it waits for and whoever waits for it.

use super::support::{Hold, Says, Tell, World, done, ended, pass, signal, start, try_start};
use std::time::Duration;
use tercet::{Engine, EngineError, Until};
use tercet_core::{Answer, Life, Operation, Payload, Phase, hours, minutes};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn two_thousand_that_wait_for_time_people_and_participants_leave_memory_and_end() {
    let world = World::new();
    world.say(|call| match (call.contract.as_str(), call.attempt) {
        // Letters: not before six hours from now. Payments: accepted, to be reported.
        (Tell::NAME, 1) if call.saga.to_string().ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']) => {
            Says::Now(Answer::Pending(Payload::null()))
        }
        (Tell::NAME, 1) => Says::Now(Answer::Retry { after: Some(hours(6)), reason: "at night".to_owned() }),
        _ => done(),
    });
    let engine = world.run().await;
    let mut sagas = Vec::new();
    for key in 0..500 {
        for definition in ["wait", "wait", "letter", "payment"] {
            sagas.push(start(&engine, definition, sagas.len() + key).await);
        }
    }
    pass(SECOND).await;
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 1_000);

    for saga in sagas.iter().step_by(4) {
        signal(&engine, *saga).await;
    }
    pass(SECOND).await;
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0, "what was told sleeps now");

    pass(hours(7)).await;
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 2_000, "each was asked once more, and is done");
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
    pass(hours(20)).await;
    let mut lives = [0, 0];
    for saga in sagas {
        let life = engine.wait(saga, Until::Now).await.unwrap().state.life;
        lives[usize::from(life == Life::Confirmed)] += 1;
    }
    assert_eq!(lives, [500, 1_500], "those that were told nothing in two hours are cancelled");
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
}

async fn in_memory_after(engine: &Engine, time: Duration) -> usize {
    pass(time).await;
    engine.sagas_in_memory().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_saga_keeps_it_out_of_memory_and_hears_all_the_same() {
    let world = World::new();
    let engine = world.run().await;
    let saga = start(&engine, "wait", 0).await;
    let waiter = tokio::spawn({
        let engine = engine.clone();
        async move { ended(&engine, saga).await }
    });
    let gone = tokio::time::timeout(minutes(1), engine.wait(saga, Until::End)).await;
    assert!(gone.is_err());
    assert_eq!(in_memory_after(&engine, SECOND).await, 0);
    signal(&engine, saga).await;
    assert_eq!(in_memory_after(&engine, SECOND).await, 0);
    pass(hours(25)).await;
    assert_eq!(waiter.await.unwrap(), "confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_long_rest_is_kept_across_a_restart() {
    let world = World::new();
    world.say(|call| match call.attempt {
        1 => Says::Now(Answer::Retry { after: Some(hours(6)), reason: "at night".to_owned() }),
        _ => done(),
    });
    let engine = world.run().await;
    let saga = start(&engine, "letter", 0).await;
    pass(hours(2)).await;
    engine.shut_down().await;
    let engine = world.run().await;
    assert_eq!(in_memory_after(&engine, hours(3)).await, 0);
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 1);
    pass(hours(1) + minutes(1)).await;
    assert_eq!(world.calls(Tell::NAME, Phase::Try).len(), 2);
    assert_eq!(ended(&engine, saga).await, "confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_short_rest_stays_in_memory() {
    let world = World::new();
    world.say(|call| if call.attempt == 1 { Says::Now(Answer::retry("not now")) } else { done() });
    let engine = world.run().await;
    let saga = start(&engine, "gift", 0).await;
    assert_eq!(in_memory_after(&engine, Duration::from_millis(50)).await, 1);
    assert_eq!(ended(&engine, saga).await, "confirmed");
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
}

/// A thousand callers with five starts each; the participant answers 512 a second.
#[tokio::test(start_paused = true)]
async fn what_would_wait_in_line_waits_to_be_started_and_holds_up_nobody_else() {
    let world = World::new();
    world.say(|call| match call.contract.as_str() {
        Hold::NAME => Says::After(SECOND, Answer::Done(Payload::of(&1).unwrap())),
        _ => done(),
    });
    let engine = world.run().await;
    let caller = |caller: usize| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut sagas = Vec::new();
            for key in 0..5 {
                sagas.push(start(&engine, "purchase", caller * 5 + key).await);
            }
            sagas
        })
    };
    let callers: Vec<_> = (0..1_000).map(caller).collect();
    let mut most = 0;
    for _ in 0..5 {
        pass(SECOND / 2).await;
        most = most.max(engine.sagas_in_memory().await.unwrap());
    }
    assert!((2_000..=2_600).contains(&most), "{most} in memory");
    assert!(callers.iter().any(|caller| !caller.is_finished()), "callers wait");

    let (began, other) = (Instant::now(), start(&engine, "gift", 0).await);
    assert_eq!(ended(&engine, other).await, "confirmed");
    assert!(began.elapsed() < SECOND / 10, "it asks somebody else, and waited {:?}", began.elapsed());

    for caller in callers {
        for saga in caller.await.unwrap() {
            assert_eq!(ended(&engine, saga).await, "confirmed");
        }
    }
    // As fast as the participant is: it was never without work.
    assert!(began.elapsed() <= SECOND * 9, "it took {:?}", began.elapsed());
    assert_eq!(engine.sagas_in_memory().await.unwrap(), 0);
}

/// Of 12,000 callers of one definition 5,000 wait, and the others are told so; who asks another participant is not kept waiting.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_participant_leave_room_for_others() {
    let world = World::new();
    world.say(|call| match call.contract.as_str() {
        Hold::NAME => Says::After(minutes(1), Answer::Done(Payload::of(&1).unwrap())),
        _ => done(),
    });
    let engine = world.run().await;
    let caller = |key: usize| {
        let engine = engine.clone();
        tokio::spawn(async move { try_start(&engine, "purchase", key, 7).await })
    };
    let mut callers = Vec::new();
    for thousand in 0..12 {
        callers.extend((0..1_000).map(|key| caller(thousand * 1_000 + key)));
        pass(SECOND / 10).await;
    }
    let mut refused = 0;
    for caller in callers.extract_if(.., |caller| caller.is_finished()) {
        match caller.await.unwrap() {
            Ok(_) => {}
            Err(EngineError::Unavailable(why)) => {
                assert_eq!(why, "too many starts of purchase wait for its participants: try again later");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(callers.len(), 5_000, "those who wait");
    assert!((4_000..5_000).contains(&refused), "{refused} refused");
    let other = start(&engine, "gift", 0).await;
    assert_eq!(ended(&engine, other).await, "confirmed");
}

/// A participant that is left in peace is no reason to refuse what can be begun: nobody knows for how long it will be.
#[tokio::test(start_paused = true)]
async fn starts_wait_for_no_participant_that_is_left_in_peace() {
    let world = World::new();
    world.say(|_| Says::Now(Answer::retry("maintenance")));
    let engine = world.run().await;
    for key in 0..2_500 {
        start(&engine, "purchase", key).await;
    }
    let stock = engine.participants().await.unwrap();
    assert!(stock.iter().any(|participant| participant.waiting > 2_000), "{stock:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_is_refused_when_the_engine_stops() {
    let world = World::new();
    world.say(|_| Says::Never);
    let engine = world.run().await;
    let starting = |key: usize| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let key = format!("purchase-{key}").parse().unwrap();
            engine.start("purchase".parse().unwrap(), None, key, Payload::of(&7).unwrap()).await
        })
    };
    let starts: Vec<_> = (0..4_000).map(starting).collect();
    pass(SECOND).await;
    engine.shut_down().await;
    let mut answers = [0, 0];
    for start in starts {
        let answer = start.await.unwrap();
        answers[usize::from(answer.is_ok())] += 1;
        assert!(matches!(answer, Ok(_) | Err(EngineError::Stopped(_))), "{answer:?}");
    }
    assert!(answers[0] > 1_000 && answers[1] > 2_000, "{answers:?}");
}
