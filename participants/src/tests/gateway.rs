//! Our side of the channel: what the pivot answers under each behaviour, and what callbacks lead to.

use super::{Bench, bench, bench_with, eur, id, line, sale, while_time_passes};
use crate::{
    channel::{Behaviour, Ends},
    gateway::{self, GatewayLedger, MoneyBack, Refund, RefundMoney, RefundWithoutClose},
    orders::OrderState,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet_core::{Answer, Operation, Phase};
use tercet_participant::{
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told, relay::Swept},
};

const SECOND: Duration = Duration::from_secs(1);

async fn paid(behaviour: Behaviour) -> Bench {
    let bench = bench(behaviour).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    bench
}

fn money_back() -> RefundMoney {
    RefundMoney { refund: id("r-1"), payment: id("pay-o-1"), amount: eur(8_963) }
}

fn step<O: Operation<Request = RefundMoney>>(bench: &Bench) -> super::Step {
    bench.step::<O>(1, &money_back()).key("r-1")
}

async fn ledger(bench: &Bench) -> GatewayLedger {
    gateway::ledger(bench.shop.databases.gateway.reader()).await.unwrap()
}

/// The answer without what differs from channel to channel.
fn word(answer: &Answer) -> String {
    match answer {
        Answer::Refused(no) => format!("refused {}", no.code),
        Answer::Retry { reason, .. } => format!("retry ({reason})"),
        other => other.as_str().to_owned(),
    }
}

/// The gateway waits for the channel for ten seconds, so two asleep means that the channel keeps its answer back.
///
/// An execute, a query, a close, an execute of a second attempt; then time passes, and a query.
async fn play<O: Operation<Request = RefundMoney>>(behaviour: Behaviour, closes: bool) -> String {
    let bench = bench_with(behaviour, closes).await;
    bench.shop.seed(&[sale("o-1", OrderState::Paid)]).await.unwrap();
    let step = step::<O>(&bench);
    let mut answers = Vec::new();
    for (phase, attempt) in [(Phase::Try, 1), (Phase::Query, 1), (Phase::Close, 1), (Phase::Try, 2)] {
        answers.push(word(&while_time_passes(&bench.clock, 2, step.ask(phase, attempt)).await));
        bench.is_sound().await;
    }
    bench.clock.advance(SECOND * 60);
    answers.push(word(&step.ask(Phase::Query, 2).await));
    let back = bench.shop.channel().ledger().await.unwrap().accounts["EUR"].given_back;
    let known = ledger(&bench).await;
    format!("{:<23} {} | {:?} | gave {}", behaviour.as_str(), answers.join(" ; "), known.refunds, back.0)
}

#[tokio::test]
async fn execute_query_close_execute_and_query_under_each_behaviour() {
    let mut table = Vec::new();
    for behaviour in Behaviour::all(SECOND) {
        table.push(play::<Refund>(behaviour, true).await);
    }
    insta::assert_snapshot!(table.join("\n"), @r#"
    succeed                 done ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    refuse                  refused account_closed ; refused account_closed ; closed ; refused closed ; refused account_closed | {"closed": 1} | gave 0
    accept_and_report       pending ; pending ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    accept_and_report_twice pending ; pending ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    accept_and_keep_silent  pending ; pending ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    accept_then_fail        pending ; pending ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    time_out_done           pending ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    time_out_not_done       pending ; absent ; retry (the third party knows nothing of it yet; what was sent may still arrive) ; pending ; absent | {"processing": 1} | gave 0
    answer_late             done ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    land_late               pending ; absent ; retry (the third party knows nothing of it yet; what was sent may still arrive) ; pending ; done | {"succeeded": 1} | gave 8963
    insufficient_balance    retry (insufficient_balance: the merchant's balance is too small) ; absent ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    maintenance             retry (channel_maintenance: the channel is under maintenance) ; absent ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    "#);
}

#[tokio::test]
async fn the_same_at_a_channel_that_cannot_close() {
    let mut table = Vec::new();
    for behaviour in Behaviour::all(SECOND) {
        table.push(play::<RefundWithoutClose>(behaviour, false).await);
    }
    insta::assert_snapshot!(table.join("\n"), @r#"
    succeed                 done ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    refuse                  refused account_closed ; refused account_closed ; retry (this contract's third party closes nothing) ; refused account_closed ; refused account_closed | {"failed": 1} | gave 0
    accept_and_report       pending ; pending ; retry (this contract's third party closes nothing) ; pending ; done | {"succeeded": 1} | gave 8963
    accept_and_report_twice pending ; pending ; retry (this contract's third party closes nothing) ; pending ; done | {"succeeded": 1} | gave 8963
    accept_and_keep_silent  pending ; pending ; retry (this contract's third party closes nothing) ; pending ; done | {"succeeded": 1} | gave 8963
    accept_then_fail        pending ; pending ; retry (this contract's third party closes nothing) ; pending ; refused account_closed | {"failed": 1} | gave 0
    time_out_done           pending ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    time_out_not_done       pending ; absent ; retry (this contract's third party closes nothing) ; done ; done | {"succeeded": 1} | gave 8963
    answer_late             done ; done ; done ; done ; done | {"succeeded": 1} | gave 8963
    land_late               pending ; absent ; retry (this contract's third party closes nothing) ; pending ; done | {"succeeded": 1} | gave 8963
    insufficient_balance    retry (insufficient_balance: the merchant's balance is too small) ; absent ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    maintenance             retry (channel_maintenance: the channel is under maintenance) ; absent ; closed ; refused closed ; refused closed | {"closed": 1} | gave 0
    "#);
}

/// The way into Tercet, which writes down what it is told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Ingress for Heard {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        self.0.lock().unwrap().push(format!("{} {} {}", completion.step, completion.phase, word(&completion.answer)));
        Box::pin(async { Acknowledged::Yes })
    }

    fn start(&self, _: Start) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Never("nothing starts here".to_owned()) })
    }

    fn signal(&self, _: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Never("nothing is told here".to_owned()) })
    }
}

#[tokio::test]
async fn a_callback_leaves_as_one_completion_however_often_it_comes() {
    for (ends, callbacks, told) in
        [(Ends::Well, 2, "step try done"), (Ends::Badly, 1, "step try refused account_closed")]
    {
        let bench = paid(Behaviour::Accept { after: SECOND, ends, callbacks }).await;
        let (heard, step) = (Heard::default(), step::<Refund>(&bench));
        let relay = bench.shop.relay(heard.clone());
        assert_eq!(step.try_().await.as_str(), "pending");
        bench.shop.turn(&relay).await.unwrap();
        assert!(heard.0.lock().unwrap().is_empty());
        bench.clock.advance(SECOND);
        for _ in 0..3 {
            bench.shop.turn(&relay).await.unwrap();
        }
        assert_eq!(*heard.0.lock().unwrap(), [told]);
        let known = ledger(&bench).await;
        assert_eq!((known.callbacks, known.copies), (i64::from(callbacks), i64::from(callbacks) - 1));
        // What the callback brought is what an execute, a query and a close say from now on.
        let answer = step.ask(Phase::Query, 1).await;
        assert!(told.ends_with(&word(&answer)), "{}", word(&answer));
        assert_eq!(step.ask(Phase::Try, 1).await, answer);
        assert_eq!(relay.sweep().await.unwrap(), Swept::default());
        bench.is_sound().await;
    }
}

#[tokio::test]
async fn b44_a_callback_after_the_outcome_is_recorded_and_starts_nothing() {
    let bench = paid(Behaviour::Accept { after: SECOND, ends: Ends::Well, callbacks: 2 }).await;
    let (heard, step) = (Heard::default(), step::<Refund>(&bench));
    step.try_().await;
    bench.clock.advance(SECOND);
    let queried = step.ask(Phase::Query, 1).await;
    assert_eq!(queried.as_str(), "done");
    let relay = bench.shop.relay(heard.clone());
    bench.shop.turn(&relay).await.unwrap();
    assert!(heard.0.lock().unwrap().is_empty());
    assert_eq!(ledger(&bench).await.callbacks, 2);
    assert_eq!(step.ask(Phase::Query, 1).await, queried);
}

#[tokio::test]
async fn b43_reply_query_and_callback_book_the_same() {
    let settled = async |behaviour, turns: bool| {
        let bench = paid(behaviour).await;
        let step = step::<Refund>(&bench);
        let first = step.try_().await;
        bench.clock.advance(SECOND);
        if turns {
            bench.shop.turn(&bench.shop.relay(Heard::default())).await.unwrap();
        }
        let answer = if first.as_str() == "done" { first } else { step.ask(Phase::Query, 1).await };
        let Answer::Done(reply) = &answer else { panic!("{}", line(&answer)) };
        let back: MoneyBack = reply.parse().unwrap();
        let known = ledger(&bench).await;
        (back.transaction, back.amount, known.refunds, known.given_back, known.attempts)
    };
    let by_reply = settled(Behaviour::Succeed, false).await;
    let by_query = settled(Behaviour::TimeOutDone, false).await;
    let by_callback = settled(Behaviour::Accept { after: SECOND, ends: Ends::Well, callbacks: 1 }, true).await;
    assert_eq!(by_reply, by_query);
    assert_eq!(by_reply, by_callback);
}

#[tokio::test]
async fn a_refusal_of_a_second_attempt_is_not_a_no_while_the_first_may_land() {
    let bench = paid(Behaviour::LandLate { after: SECOND * 30 }).await;
    let step = step::<Refund>(&bench);
    assert_eq!(step.try_().await.as_str(), "pending");
    assert_eq!(step.ask(Phase::Query, 1).await.as_str(), "absent");
    assert_eq!(step.ask(Phase::Try, 2).await.as_str(), "pending"); // the channel rejected it
    bench.clock.advance(SECOND * 30);
    assert_eq!(step.ask(Phase::Query, 2).await.as_str(), "done");
    assert_eq!(bench.shop.channel().ledger().await.unwrap().accounts["EUR"].given_back.0, 8_963);
}

#[tokio::test]
async fn a_key_stands_for_one_effect_of_one_step() {
    let bench = paid(Behaviour::Succeed).await;
    step::<Refund>(&bench).try_().await;
    let other = bench.step::<Refund>(2, &money_back()).key("r-1").try_().await;
    insta::assert_snapshot!(line(&other), @"refused duplicate: the refund r-1 is or was held already");
    assert_eq!(bench.shop.channel().ledger().await.unwrap().requests, 1);
}
