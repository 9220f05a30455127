//! Traces 1, 2, 4 and 5: at the participant, on the real runner and barrier.

use crate::sim::{
    contracts::{Charge, Line, PLAIN, Payment, TakeStock, Waybill},
    models::shelf::PIECES,
    stage::Stage,
    world::locked,
};
use std::time::Duration;
use tercet_core::{Answer, Phase};
use tercet_participant::{
    Database,
    database::{Access, Tx},
};

fn shelf(stage: &Stage, sells: i64) {
    let stock = stage.town.stock.clone();
    stage.act(async move {
        let tx = stock.begin(Access::Write).await.unwrap();
        tx.with(|stock| stock.sells(sells));
        tx.commit().await.unwrap();
    });
}

/// Refused for want of stock, its answer lost; a whole retention passes; tried again; aborted; cancelled; the row is dropped; the
/// second try arrives, fresh, and stock is free: it must not reserve what nobody would ever release.
#[test]
fn trace_01_a_cancel_makes_a_refused_row_age_anew() {
    let stage = Stage::set();
    let line = Line { item: 1, pieces: 2 };
    shelf(&stage, PIECES);
    let first = stage.call::<TakeStock>(stage.a_call::<TakeStock>(Phase::Try, 1, &line));
    assert_eq!(first.as_str(), "refused");
    let retention = 2 * 3_600;
    stage.until(retention);
    let second = stage.a_call::<TakeStock>(Phase::Try, 2, &line);
    let cancelled = stage.call::<TakeStock>(stage.a_call::<TakeStock>(Phase::Cancel, 1, &line));
    assert_eq!(cancelled.as_str(), "done");
    stage.until(retention + 60);
    let (stock, before) = (stage.town.stock.clone(), stage.began.plus(Duration::from_secs(30)));
    stage.act(async move { stock.purge(before, 100).await }).unwrap();
    shelf(&stage, -PIECES);
    let late = stage.call::<TakeStock>(second);
    assert_eq!(late.as_str(), "refused", "{late:?}");
}

/// Aborted; the try arrives: intent, its remote call under way; the cancel finds nothing to void; the call lands.
#[test]
fn trace_02_a_void_of_nothing_is_not_done() {
    let stage = Stage::set();
    let line = Line { item: 1, pieces: 2 };
    // The try's call travels for half a minute; the void's, and what the cancel makes to void it, do not.
    locked(&stage.town.depot.travels).extend([30_000, 10]);
    let tried = stage.call::<Waybill>(stage.a_call::<Waybill>(Phase::Try, 1, &line));
    assert_eq!(tried.as_str(), "expired");
    let cancelled = stage.call::<Waybill>(stage.a_call::<Waybill>(Phase::Cancel, 1, &line));
    assert_eq!(cancelled.as_str(), "done");
    stage.until(60);
    assert!(stage.town.depot.loose().is_empty(), "{:?}", stage.town.depot.loose());
}

fn payment() -> Payment {
    Payment { payment: "pay-1".to_owned(), order: "order-1".to_owned(), minor: 50 }
}

/// An execute arrives twice; were both handed on, one could be refused and the other land.
#[test]
fn trace_04_an_attempt_is_handed_on_at_most_once() {
    let stage = Stage::set();
    let call = stage.a_call::<Charge<PLAIN>>(Phase::Try, 1, &payment());
    stage.town.bank.travel([20_000]);
    let first = stage.call::<Charge<PLAIN>>(call.clone());
    let copy = stage.call::<Charge<PLAIN>>(call);
    assert_eq!((first.as_str(), copy.as_str()), ("pending", "pending"));
    stage.until(60);
    let found = stage.call::<Charge<PLAIN>>(stage.a_call::<Charge<PLAIN>>(Phase::Query, 1, &payment()));
    assert_eq!(found.as_str(), "done");
    assert_eq!(stage.town.bank.arrivals(), 1);
}

/// Handed on; an operator's query fences; a copy of the same execute arrives: were it refused, the saga would abort, and the first
/// lands.
#[test]
fn trace_05_a_fence_refuses_no_copy_of_what_is_out() {
    let stage = Stage::set();
    let call = stage.a_call::<Charge<PLAIN>>(Phase::Try, 1, &payment());
    stage.town.bank.travel([60_000]);
    let first = stage.call::<Charge<PLAIN>>(call.clone());
    assert_eq!(first.as_str(), "pending");
    let mut fence = stage.a_call::<Charge<PLAIN>>(Phase::Query, 1, &payment());
    fence.fence = true;
    let fenced = stage.call::<Charge<PLAIN>>(fence);
    assert_eq!(fenced.as_str(), "pending", "an attempt is unanswered: nothing is absent");
    let copy = stage.call::<Charge<PLAIN>>(call);
    assert_eq!(copy.as_str(), "pending");
    // An attempt that was not handed on before the fence never will be; but while the first is out, that is no refusal either.
    let next = stage.call::<Charge<PLAIN>>(stage.a_call::<Charge<PLAIN>>(Phase::Try, 1, &payment()));
    assert_eq!(next.as_str(), "pending");
    stage.until(120);
    let found = stage.call::<Charge<PLAIN>>(stage.a_call::<Charge<PLAIN>>(Phase::Query, 1, &payment()));
    assert!(matches!(found, Answer::Done(_)), "{found:?}");
}
