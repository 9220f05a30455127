//! Charges: what the channel says of one, and what a payment makes of the channel's word.

use super::{Bench, HandClock, Step, bench, eur, id, line, while_time_passes};
use crate::{
    Shop,
    channel::{
        Acknowledging, Behaviour, Buyer, Cashier, ChargeCallback, ChargeOrder, ChargeOutcome, ChargeSink, Charging,
        How, Paying, Said, Silence,
    },
    payments::{self, Charge, MoneyRequest, PaymentState, Record, ToCharge, ToRecord},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tercet_core::Phase;
use tercet_participant::{
    conformance::at,
    database::Boxed,
    outbox::{Acknowledged, Completion, Ingress, Start, Told},
};

const SECOND: Duration = Duration::from_secs(1);

fn show(said: Result<Said, Silence>) -> String {
    match said {
        Err(Silence) => "silence".to_owned(),
        Ok(Said::Succeeded { amount, .. }) => format!("paid {amount}"),
        Ok(Said::Processing { .. }) => "processing".to_owned(),
        Ok(Said::Open { .. }) => "open".to_owned(),
        Ok(Said::Failed { code, .. }) => format!("failed {code}"),
        Ok(Said::Rejected { code, .. }) => format!("rejected {code}"),
        Ok(Said::Closed) => "closed".to_owned(),
        Ok(Said::NotFound) => "not found".to_owned(),
    }
}

/// Keeps what is reported.
#[derive(Default)]
struct Sink(Mutex<Vec<String>>);

impl ChargeSink for Sink {
    fn charged(&self, callback: ChargeCallback) -> Acknowledging<'_> {
        self.0.lock().unwrap().push(callback.outcome.to_string());
        Box::pin(async { true })
    }
}

/// A request, a query, a request again; ten seconds later a query, and what was reported.
async fn play(charging: Charging, how: How) -> String {
    let bench = bench(Behaviour::Succeed).await;
    let channel = bench.shop.channel();
    channel.tell_charge(id("pay-1"), charging);
    let order = || ChargeOrder { reference: id("pay-1"), order: id("o-1"), amount: eur(1_000), how, expires: None };
    let mut steps = vec![show(while_time_passes(&bench.clock, 1, channel.request_charge(order())).await)];
    steps.push(show(channel.query_charge(&id("pay-1")).await));
    steps.push(show(while_time_passes(&bench.clock, 1, channel.request_charge(order())).await));
    channel.check_equation().await.unwrap();
    bench.clock.advance(SECOND * 10);
    steps.push(show(channel.query_charge(&id("pay-1")).await));
    let sink = Sink::default();
    channel.report_charges(&sink).await.unwrap();
    channel.check_equation().await.unwrap();
    let received = channel.ledger().await.unwrap().accounts.get("EUR").map_or(0, |account| account.received.0);
    let reports = sink.0.lock().unwrap().join(", ");
    format!("{} | reports: {reports} | received {received}", steps.join(" ; "))
}

#[tokio::test]
async fn what_the_channel_says_of_a_pay_link_and_of_a_direct_debit() {
    let mut table = Vec::new();
    for how in [How::PayLink, How::DirectDebit] {
        for charging in Charging::all(SECOND) {
            table.push(format!("{how}: {}", play(charging, how).await));
        }
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    pay_link: open ; open ; open ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: open ; open ; open ; paid 10.00 EUR | reports: paid, paid | received 1000
    pay_link: open ; open ; open ; paid 10.00 EUR | reports:  | received 1000
    pay_link: open ; open ; open ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: open ; open ; open ; open | reports:  | received 0
    pay_link: open ; open ; open ; failed declined | reports: failed | received 0
    pay_link: failed not_permitted ; failed not_permitted ; failed not_permitted ; failed not_permitted | reports: failed | received 0
    pay_link: silence ; open ; open ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: silence ; not found ; open ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: open ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: silence ; not found ; rejected charge_in_progress ; paid 10.00 EUR | reports: paid | received 1000
    pay_link: rejected channel_maintenance ; not found ; rejected channel_maintenance ; not found | reports:  | received 0
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid, paid | received 1000
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports:  | received 1000
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: failed declined ; failed declined ; failed declined ; failed declined | reports: failed | received 0
    direct_debit: failed not_permitted ; failed not_permitted ; failed not_permitted ; failed not_permitted | reports: failed | received 0
    direct_debit: silence ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: silence ; not found ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: silence ; not found ; rejected charge_in_progress ; paid 10.00 EUR | reports: paid | received 1000
    direct_debit: rejected channel_maintenance ; not found ; rejected channel_maintenance ; not found | reports:  | received 0
    ");
}

/// Two processes that host a participant each, on the channel's one database.
#[tokio::test]
async fn what_is_for_a_participant_of_another_process_is_left_for_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::new(at()));
    let url = format!("sqlite:{}/{{participant}}.db", dir.path().display());
    let open = async |only: &str| {
        let settings = super::settings(Behaviour::Succeed, true, &clock);
        Box::pin(Shop::open_of(&url, &[only.to_owned()], settings)).await.unwrap()
    };
    let (gateway, payments) = (open("gateway").await, open("payments").await);
    payments.channel().tell_charge(id("pay-1"), Charging::new(Buyer::Pays { after: SECOND }));
    let how = How::DirectDebit;
    let order = ChargeOrder { reference: id("pay-1"), order: id("o-1"), amount: eur(1_000), how, expires: None };
    while_time_passes(&clock, 1, payments.channel().request_charge(order)).await.unwrap();
    clock.advance(SECOND * 10);
    gateway.turn(&gateway.relay(Heard::default())).await.unwrap();
    let sink = Sink::default();
    payments.channel().report_charges(&sink).await.unwrap();
    assert_eq!(*sink.0.lock().unwrap(), ["paid"]);
}

#[tokio::test]
async fn a_link_is_paid_once_not_after_its_expiry_and_not_once_it_is_closed_unless_the_channel_is_lax() {
    let mut table = Vec::new();
    for lax in [false, true] {
        let bench = bench(Behaviour::Succeed).await;
        let channel = bench.shop.channel();
        let order = |reference: &str| ChargeOrder {
            reference: id(reference),
            order: id("o-1"),
            amount: eur(1_000),
            how: How::PayLink,
            expires: Some(super::later(5)),
        };
        for reference in ["paid", "closed", "expired", "declined"] {
            let waits = Charging::new(Buyer::Waits);
            channel.tell_charge(id(reference), if lax { waits.lax() } else { waits });
            channel.request_charge(order(reference)).await.unwrap();
        }
        let pay = async |reference: &str| match channel.buyer_pays(&id(reference)).await.unwrap() {
            Paying::Paid { .. } => "paid",
            Paying::Already => "already",
            Paying::NotOpen => "not open",
        };
        table.push(format!("paid twice: {}, {}", pay("paid").await, pay("paid").await));
        let close = show(channel.close_charge(&id("paid")).await);
        table.push(format!("close of what is paid: {close}; of what nobody knows: {}", {
            show(channel.close_charge(&id("nobody")).await)
        }));
        channel.close_charge(&id("closed")).await.unwrap();
        channel.buyer_is_declined(&id("declined")).await.unwrap();
        bench.clock.advance(SECOND * 5);
        table.push(format!(
            "closed: {}, expired: {}, declined: {}, unheard of: {}",
            pay("closed").await,
            pay("expired").await,
            pay("declined").await,
            pay("nobody").await
        ));
        channel.check_equation().await.unwrap();
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    paid twice: paid, already
    close of what is paid: paid 10.00 EUR; of what nobody knows: not found
    closed: not open, expired: not open, declined: not open, unheard of: not open
    paid twice: paid, already
    close of what is paid: paid 10.00 EUR; of what nobody knows: not found
    closed: paid, expired: paid, declined: paid, unheard of: not open
    ");
}

/// The way into Tercet, which writes down what it is told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Ingress for Heard {
    fn complete(&self, completion: Completion) -> Boxed<'_, Acknowledged> {
        self.0.lock().unwrap().push(format!("completed {}", completion.answer.as_str()));
        Box::pin(async { Acknowledged::Yes })
    }

    fn start(&self, start: Start) -> Boxed<'_, Acknowledged> {
        let request: MoneyRequest = start.input.parse().unwrap();
        self.0.lock().unwrap().push(format!("{} {}: {}", start.definition, start.key, request.amount));
        Box::pin(async { Acknowledged::Yes })
    }

    fn signal(&self, _: Told) -> Boxed<'_, Acknowledged> {
        Box::pin(async { Acknowledged::Never("nothing is told here".to_owned()) })
    }
}

fn to_record(payment: &str, attempt: u32) -> ToRecord {
    let (payment, order, user) = (id(payment), id("o-1"), id("mia"));
    ToRecord { payment, order, user, amount: eur(1_000), attempt, how: How::PayLink }
}

fn record(bench: &Bench) -> Step {
    bench.step::<Record>(1, &to_record("pay-1", 1))
}

fn charge(bench: &Bench) -> Step {
    let ToRecord { payment, order, user, amount, how, .. } = to_record("pay-1", 1);
    bench.step::<Charge>(2, &ToCharge { payment, order, user, amount, how, expires_at_ms: None }).key("pay-1")
}

/// An open payment whose link nobody has paid.
async fn open() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    assert_eq!(record(&bench).try_().await.as_str(), "done");
    assert_eq!(charge(&bench).try_().await.as_str(), "pending");
    bench
}

fn callback(outcome: ChargeOutcome) -> ChargeCallback {
    ChargeCallback {
        reference: id("pay-1"),
        order: id("o-1"),
        transaction: "charge-pay-1".to_owned(),
        amount: eur(1_000),
        outcome,
        at: super::later(0),
    }
}

async fn state(bench: &Bench) -> Option<PaymentState> {
    payments::state(bench.shop.databases.payments.reader(), &id("pay-1")).await.unwrap()
}

/// What leaves the outboxes now.
async fn leaves(bench: &Bench) -> Vec<String> {
    let heard = Heard::default();
    bench.shop.relay(heard.clone()).sweep().await.unwrap();
    heard.0.lock().unwrap().clone()
}

#[tokio::test]
async fn the_states_are_the_sagas_and_the_money_is_the_channels() {
    let mut table = Vec::new();
    for (said, decided) in [
        (None, Phase::Cancel),
        (Some(ChargeOutcome::Failed), Phase::Cancel),
        (Some(ChargeOutcome::Closed), Phase::Cancel),
        (Some(ChargeOutcome::Paid), Phase::Cancel),
        (Some(ChargeOutcome::Paid), Phase::Confirm),
        (None, Phase::Confirm),
    ] {
        let bench = open().await;
        if let Some(outcome) = said {
            assert!(bench.shop.payments().charged(callback(outcome)).await);
        }
        assert_eq!(state(&bench).await, Some(PaymentState::Processing), "no word of the channel's changes it");
        let first = leaves(&bench).await;
        assert_eq!(record(&bench).ask(decided, 1).await.as_str(), "done");
        let ended = state(&bench).await.unwrap();
        let then = leaves(&bench).await;
        bench.is_sound().await;
        let ledger = bench.shop.ledger().await.unwrap();
        assert_eq!(ledger.holds(), 0);
        let attention = ledger.payments.attention.values().cloned().collect::<String>();
        let said = said.map_or("nothing", ChargeOutcome::as_str);
        table.push(format!("{said}, {decided}: {ended} {first:?} {then:?} {attention}").trim_end().to_owned());
    }
    insta::assert_snapshot!(table.join("\n"), @r#"
    nothing, cancel: closed [] []
    failed, cancel: failed ["completed refused"] []
    closed, cancel: closed ["completed refused"] []
    paid, cancel: closed ["completed done"] ["refund_money pay-1: 10.00 EUR"]
    paid, confirm: paid ["completed done"] []
    nothing, confirm: paid [] [] it is paid, and no receipt of 10.00 EUR is booked
    "#);
}

#[tokio::test]
async fn money_for_a_payment_that_was_given_up_starts_one_refund_however_often_it_is_reported() {
    let bench = open().await;
    record(&bench).cancel().await;
    for _ in 0..3 {
        assert!(bench.shop.payments().charged(callback(ChargeOutcome::Paid)).await);
    }
    assert_eq!(leaves(&bench).await, ["refund_money pay-1: 10.00 EUR", "completed done"]);
    assert_eq!(state(&bench).await, Some(PaymentState::Closed));
    let known = bench.shop.ledger().await.unwrap().payments;
    assert_eq!((known.callbacks, known.copies, known.money["EUR"].received), (3, 2, 1_000));
    bench.is_sound().await;
}

#[tokio::test]
async fn a_second_transaction_under_one_payment_is_given_back_alone() {
    let bench = open().await;
    assert!(bench.shop.payments().charged(callback(ChargeOutcome::Paid)).await);
    record(&bench).confirm().await;
    assert_eq!(leaves(&bench).await, ["completed done"]);
    let again = ChargeCallback { transaction: "charge-again".to_owned(), ..callback(ChargeOutcome::Paid) };
    assert!(bench.shop.payments().charged(again).await);
    assert_eq!(leaves(&bench).await, ["refund_money charge-again: 10.00 EUR"]);
    let money = bench.shop.ledger().await.unwrap().payments.money["EUR"];
    assert_eq!(money.received, 2_000);
    bench.is_sound().await;
}

#[tokio::test]
async fn a_payment_is_opened_once_and_one_for_each_attempt() {
    let bench = open().await;
    let mut said = Vec::new();
    for (saga, request) in (3..).zip([
        to_record("pay-1", 2),
        to_record("pay-2", 1),
        to_record("pay-2", 2),
        ToRecord { amount: eur(0), ..to_record("pay-3", 3) },
    ]) {
        said.push(line(&bench.step::<Record>(saga, &request).try_().await));
    }
    record(&bench).cancel().await;
    said.push(line(&bench.step::<Record>(9, &to_record("pay-4", 1)).try_().await));
    insta::assert_snapshot!(said.join("\n"), @r#"
    refused duplicate: the payment pay-1 is or was open already
    refused attempt_taken: another payment of order o-1 is open or paid as its attempt 1
    done {"payment":"pay-2","order":"o-1","user":"mia","amount":{"minor":1000,"currency":"EUR"},"how":"pay_link"}
    refused bad_amount: 0.00 EUR cannot be paid
    done {"payment":"pay-4","order":"o-1","user":"mia","amount":{"minor":1000,"currency":"EUR"},"how":"pay_link"}
    "#);
    bench.is_sound().await;
}

#[tokio::test]
async fn a_charge_is_asked_for_an_open_payment_alone_and_with_its_own_figures() {
    let bench = bench(Behaviour::Succeed).await;
    assert_eq!(record(&bench).try_().await.as_str(), "done");
    let ToRecord { payment, order, user, amount, how, .. } = to_record("pay-1", 1);
    let right = ToCharge { payment, order, user, amount, how, expires_at_ms: None };
    let mut said = Vec::new();
    for (saga, request) in (3..).zip([
        ToCharge { amount: eur(999), ..right.clone() },
        ToCharge { order: id("o-2"), ..right.clone() },
        ToCharge { payment: id("pay-none"), ..right },
    ]) {
        said.push(line(&bench.step::<Charge>(saga, &request).try_().await));
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    refused not_open: no payment pay-1 of 9.99 EUR for order o-1 is open
    refused not_open: no payment pay-1 of 10.00 EUR for order o-2 is open
    refused not_open: no payment pay-none of 10.00 EUR for order o-1 is open
    ");
    assert_eq!(bench.shop.channel().ledger().await.unwrap().charges.len(), 0, "the channel heard of none");
}
