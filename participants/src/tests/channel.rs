//! The third party: what it says under each behaviour, what it knows later, and that its own books are right throughout.

use super::{bench, bench_with, eur, id, while_time_passes};
use crate::channel::{Behaviour, Behaviours, Callback, Ends, RefundOrder, Said, Silence, ThirdParty};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

fn show(said: Result<Said, Silence>) -> String {
    match said {
        Err(Silence) => "silence".to_owned(),
        Ok(Said::Succeeded { amount, .. }) => format!("succeeded {amount}"),
        Ok(Said::Processing { .. } | Said::Open { .. }) => "processing".to_owned(),
        Ok(Said::Failed { code, .. }) => format!("failed {code}"),
        Ok(Said::Rejected { code, .. }) => format!("rejected {code}"),
        Ok(Said::Closed) => "closed".to_owned(),
        Ok(Said::NotFound) => "not found".to_owned(),
    }
}

fn order(amount: i64) -> RefundOrder {
    RefundOrder { reference: id("r-1"), charge: id("pay-1"), amount: eur(amount) }
}

/// Keeps what is reported; takes it from the second time on when it is told to be stubborn.
#[derive(Default)]
struct Sink {
    heard: Mutex<Vec<String>>,
    stubborn: bool,
}

impl crate::channel::CallbackSink for Sink {
    fn receive(&self, callback: Callback) -> crate::channel::Acknowledging<'_> {
        Box::pin(async move {
            let mut heard = self.heard.lock().unwrap();
            heard.push(show(Ok(callback.said)));
            !self.stubborn || heard.len() > 1
        })
    }
}

/// Two requests, a query between, time passing, a query after, and what was reported.
async fn play(behaviour: Behaviour) -> String {
    let bench = bench(behaviour).await;
    let channel = bench.shop.channel();
    channel.charge(&[(id("pay-1"), eur(1_000))]).await.unwrap();
    let mut steps = Vec::new();
    for _ in 0..2 {
        steps.push(show(while_time_passes(&bench.clock, 1, channel.refund(order(400))).await));
        steps.push(show(channel.query(&id("r-1")).await));
        channel.check_equation().await.unwrap();
    }
    bench.clock.advance(Duration::from_secs(10));
    steps.push(show(channel.query(&id("r-1")).await));
    let sink = Sink::default();
    channel.call_back(&sink).await.unwrap();
    channel.check_equation().await.unwrap();
    let given_back = channel.ledger().await.unwrap().accounts["EUR"].given_back;
    let reports = sink.heard.lock().unwrap().join(", ");
    format!("{:<23} {} | reports: {reports} | gave {}", behaviour.as_str(), steps.join(" ; "), given_back.0)
}

#[tokio::test]
async fn what_the_channel_says_under_each_behaviour() {
    let mut table = Vec::new();
    for behaviour in Behaviour::all(Duration::from_secs(1)) {
        table.push(play(behaviour).await);
    }
    insta::assert_snapshot!(table.join("\n"), @"
    succeed                 succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR | reports:  | gave 400
    refuse                  failed account_closed ; failed account_closed ; failed account_closed ; failed account_closed ; failed account_closed | reports:  | gave 0
    accept_and_report       processing ; processing ; processing ; processing ; succeeded 4.00 EUR | reports: succeeded 4.00 EUR | gave 400
    accept_and_report_twice processing ; processing ; processing ; processing ; succeeded 4.00 EUR | reports: succeeded 4.00 EUR, succeeded 4.00 EUR | gave 400
    accept_and_keep_silent  processing ; processing ; processing ; processing ; succeeded 4.00 EUR | reports:  | gave 400
    accept_then_fail        processing ; processing ; processing ; processing ; failed account_closed | reports: failed account_closed | gave 0
    time_out_done           silence ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR | reports:  | gave 400
    time_out_not_done       silence ; not found ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR | reports:  | gave 400
    answer_late             succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR | reports:  | gave 400
    land_late               silence ; not found ; rejected refund_in_progress ; not found ; succeeded 4.00 EUR | reports:  | gave 400
    insufficient_balance    rejected insufficient_balance ; not found ; rejected insufficient_balance ; not found ; not found | reports:  | gave 0
    maintenance             rejected channel_maintenance ; not found ; succeeded 4.00 EUR ; succeeded 4.00 EUR ; succeeded 4.00 EUR | reports:  | gave 400
    ");
}

#[tokio::test]
async fn close_makes_a_reference_unusable_if_the_money_has_not_moved() {
    let accept = Behaviour::Accept { after: Duration::from_secs(5), ends: Ends::Well, callbacks: 1 };
    let land = Behaviour::LandLate { after: Duration::from_secs(5) };
    let mut table = Vec::new();
    for behaviour in [accept, Behaviour::Succeed, Behaviour::Refuse, Behaviour::TimeOutNotDone { lost: 1 }, land] {
        let bench = bench(behaviour).await;
        let channel = bench.shop.channel();
        channel.charge(&[(id("pay-1"), eur(1_000))]).await.unwrap();
        let first = show(channel.refund(order(400)).await);
        let closed = show(channel.close(&id("r-1")).await);
        let again = show(channel.refund(order(400)).await);
        bench.clock.advance(Duration::from_secs(10));
        let after = show(channel.query(&id("r-1")).await);
        table.push(format!("{}: {first} ; close: {closed} ; again: {again} ; later: {after}", behaviour.as_str()));
        channel.check_equation().await.unwrap();
    }
    let without = bench_with(accept, false).await;
    table.push(format!("without: {}", show(without.shop.channel().close(&id("r-1")).await)));
    insta::assert_snapshot!(table.join("\n"), @"
    accept_and_report: processing ; close: closed ; again: closed ; later: closed
    succeed: succeeded 4.00 EUR ; close: succeeded 4.00 EUR ; again: succeeded 4.00 EUR ; later: succeeded 4.00 EUR
    refuse: failed account_closed ; close: failed account_closed ; again: failed account_closed ; later: failed account_closed
    time_out_not_done: silence ; close: not found ; again: succeeded 4.00 EUR ; later: succeeded 4.00 EUR
    land_late: silence ; close: not found ; again: rejected refund_in_progress ; later: succeeded 4.00 EUR
    without: rejected no_close
    ");
}

#[tokio::test]
async fn a_reference_stands_for_one_refund_and_a_charge_is_never_given_back_twice() {
    let bench = bench(Behaviour::Succeed).await;
    let channel = bench.shop.channel();
    channel.charge(&[(id("pay-1"), eur(1_000)), (id("pay-2"), eur(9_000))]).await.unwrap();
    let ask = async |reference: &str, amount| {
        show(channel.refund(RefundOrder { reference: id(reference), ..order(amount) }).await)
    };
    assert_eq!(ask("r-1", 600).await, "succeeded 6.00 EUR");
    assert_eq!(ask("r-1", 500).await, "rejected reference_reused");
    assert_eq!(ask("r-2", 600).await, "failed over_charge");
    assert_eq!(ask("r-3", 400).await, "succeeded 4.00 EUR");
    let ledger = channel.ledger().await.unwrap();
    assert_eq!((ledger.accounts["EUR"].balance.0, ledger.over_charge), (9_000, 1));
    assert!(channel.charge(&[(id("pay-3"), eur(0))]).await.is_err());
    channel.check_equation().await.unwrap();
}

#[tokio::test]
async fn a_callback_that_is_not_acknowledged_comes_again() {
    let bench = bench(Behaviour::Accept { after: Duration::from_secs(1), ends: Ends::Well, callbacks: 1 }).await;
    let channel = bench.shop.channel();
    channel.charge(&[(id("pay-1"), eur(1_000))]).await.unwrap();
    channel.refund(order(400)).await.unwrap();
    let sink = Sink { stubborn: true, ..Sink::default() };
    assert_eq!(channel.settle().await.unwrap(), Some(super::later(1)));
    assert_eq!(channel.call_back(&sink).await.unwrap(), 0); // it is not due
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(channel.settle().await.unwrap(), None);
    assert_eq!(channel.call_back(&sink).await.unwrap(), 0);
    assert_eq!(channel.call_back(&sink).await.unwrap(), 1);
    assert_eq!(channel.call_back(&sink).await.unwrap(), 0);
    assert_eq!(sink.heard.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_under_one_reference_at_once_move_the_money_once() {
    let bench = Arc::new(bench(Behaviour::Succeed).await);
    bench.shop.channel().charge(&[(id("pay-1"), eur(1_000))]).await.unwrap();
    let all: Vec<_> = (0..20)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { show(bench.shop.channel().refund(order(400)).await) })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), "succeeded 4.00 EUR");
    }
    let ledger = bench.shop.channel().ledger().await.unwrap();
    assert_eq!((ledger.accounts["EUR"].given_back.0, ledger.requests), (400, 20));
}

#[test]
fn a_seed_draws_the_same_behaviours_again_and_every_one_of_them() {
    let drawn = |seed| {
        let behaviours = Behaviours::seeded(seed, Duration::from_secs(1));
        (0..1_000).map(|n| behaviours.of(&id(&format!("r-{n}")))).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let mut counts: BTreeMap<_, u32> = BTreeMap::new();
    for behaviour in drawn(7) {
        *counts.entry(behaviour.as_str()).or_default() += 1;
    }
    assert_eq!(counts.len(), Behaviour::all(Duration::from_secs(1)).len(), "{counts:?}");
    assert!((450..=650).contains(&counts["succeed"]), "{counts:?}");

    let mut told = Behaviours::seeded(7, Duration::from_secs(1));
    told.tell(id("r-1"), Behaviour::Refuse);
    assert_eq!(told.of(&id("r-1")), Behaviour::Refuse);
}
