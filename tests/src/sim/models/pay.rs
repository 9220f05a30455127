//! Payments: the row of each, the ceiling of what may go back, and the calls to the bank.

use super::{Applied, Model, mood};
use crate::sim::{
    bank::{Bank, Kind, Wanted, Word},
    contracts::{Charge, GiveBack, HoldRefund, Payment, Payout, RecordPayment, Refund},
    sagas::back,
    weather::Weather,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercet_core::{Call, DefinitionName, IdempotencyKey, Refusal, SagaId, SagaKey, canary::broken};
use tercet_participant::{
    Closing, External, Found, Handed, Memory, Outbox, Outcome, Pivot, Settled, Tcc, Ticket, database::memory::MemoryTx,
    refuse,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    Processing,
    Paid,
    Failed,
}

/// A payment's row.
#[derive(Clone, Debug)]
pub(crate) struct PaymentRow {
    pub(crate) of: Payment,
    pub(crate) saga: Option<SagaId>,
    pub(crate) state: RowState,
    /// The charge's key, once one was handed on.
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) received: i64,
    pub(crate) reserved: i64,
    pub(crate) refunded: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldState {
    Held,
    Refunded,
    Released,
}

#[derive(Clone, Debug)]
struct RefundRow {
    saga: SagaId,
    of: Refund,
    state: HoldState,
}

/// What a key at the bank stands for.
#[derive(Clone, Debug)]
pub(crate) struct Handing {
    pub(crate) ticket: Ticket,
    payment: Option<Payment>,
}

/// The payments participant's tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pay {
    pub(crate) payments: BTreeMap<String, PaymentRow>,
    refunds: BTreeMap<String, RefundRow>,
    pub(crate) handed: BTreeMap<String, Handing>,
    applied: Applied,
}

impl Pay {
    /// A payment from before the run.
    pub(crate) fn paid_before(&mut self, payment: &str, minor: i64) {
        let of = Payment { payment: payment.to_owned(), order: format!("order of {payment}"), minor };
        let row =
            PaymentRow { of, saga: None, state: RowState::Paid, key: None, received: minor, reserved: 0, refunded: 0 };
        self.payments.insert(payment.to_owned(), row);
    }

    fn receive(&mut self, payment: &str) -> Option<PaymentRow> {
        let row = self.payments.get_mut(payment)?;
        row.received = row.of.minor;
        Some(row.clone())
    }

    fn fails(&mut self, payment: &str) {
        if let Some(row) = self.payments.get_mut(payment).filter(|row| row.state == RowState::Processing) {
            row.state = RowState::Failed;
        }
    }
}

impl Model for Pay {
    fn check(&self) -> Result<(), String> {
        for (id, row) in &self.payments {
            let sum = |state: HoldState| -> i64 {
                let of = self.refunds.values().filter(|r| r.of.payment == *id && r.state == state);
                of.map(|r| r.of.minor).sum()
            };
            if row.reserved != sum(HoldState::Held) || row.refunded != sum(HoldState::Refunded) {
                return Err(format!("payment {id}: {row:?} differs from its refunds"));
            }
            if row.refunded + row.reserved > row.received {
                return Err(format!("payment {id}: refunded and reserved are above what was received: {row:?}"));
            }
        }
        self.applied.check()
    }

    fn held(&self) -> Vec<(SagaId, String)> {
        let held = self.refunds.values().filter(|row| row.state == HoldState::Held);
        let held = held.map(|row| (row.saga, format!("refund {:?} is held", row.of)));
        let open = self.payments.values().filter(|row| row.state == RowState::Processing);
        held.chain(open.filter_map(|row| Some((row.saga?, format!("payment {} is processing", row.of.payment)))))
            .collect()
    }
}

/// The payments participant.
pub(crate) struct Cashier {
    pub(crate) weather: Arc<Weather>,
    pub(crate) bank: Arc<Bank>,
}

type Tx = MemoryTx<Pay>;

/// Money that came for what is held as failed goes back, under the charge's own key, whoever sees it first.
async fn give_back(tx: &Tx, key: &IdempotencyKey, payment: &Payment) -> Outcome<()> {
    if broken("drop_late_evidence") || broken("close_without_asking") {
        return Ok(());
    }
    let (Ok(definition), Ok(key)) = ("give_back".parse::<DefinitionName>(), key.as_str().parse::<SagaKey>()) else {
        return Ok(());
    };
    Ok(tx.start(&definition, &key, &back(payment.clone())).await?)
}

impl Tcc<RecordPayment, Memory<Pay>> for Cashier {
    async fn try_(&self, tx: &Tx, cx: &Call, request: Payment) -> Outcome<Payment> {
        mood(&self.weather, cx.phase)?;
        let new = tx.with(|pay| {
            if pay.payments.contains_key(&request.payment) {
                return false;
            }
            let (of, saga, state) = (request.clone(), Some(cx.saga), RowState::Processing);
            let row = PaymentRow { of, saga, state, key: None, received: 0, reserved: 0, refunded: 0 };
            pay.payments.insert(request.payment.clone(), row);
            pay.applied.mark(cx);
            true
        });
        if new { Ok(request) } else { refuse("duplicate", "there is such a payment")? }
    }

    async fn confirm(&self, tx: &Tx, cx: &Call, request: Payment, _: Payment) -> Outcome<()> {
        mood(&self.weather, cx.phase)?;
        tx.with(|pay| {
            pay.receive(&request.payment);
            if let Some(row) = pay.payments.get_mut(&request.payment) {
                row.state = RowState::Paid;
            }
            pay.applied.mark(cx);
        });
        Ok(())
    }

    async fn cancel(&self, tx: &Tx, cx: &Call, request: Payment, _: Option<Payment>) -> Outcome<()> {
        mood(&self.weather, cx.phase)?;
        let row = tx.with(|pay| {
            pay.applied.mark(cx);
            pay.fails(&request.payment);
            pay.payments.get(&request.payment).cloned()
        });
        match row {
            Some(PaymentRow { received, key: Some(key), of, .. }) if received > 0 => give_back(tx, &key, &of).await,
            _ => Ok(()),
        }
    }
}

impl Tcc<HoldRefund, Memory<Pay>> for Cashier {
    async fn try_(&self, tx: &Tx, cx: &Call, request: Refund) -> Outcome<Refund> {
        mood(&self.weather, cx.phase)?;
        let held = tx.with(|pay| {
            let Some(row) = pay.payments.get_mut(&request.payment) else { return Err("unknown_payment") };
            if pay.refunds.get(&request.request).is_some_and(|held| held.state != HoldState::Released) {
                return Err("duplicate");
            }
            let reserved = if broken("pending_refunds_not_counted") { 0 } else { row.reserved };
            let above = row.refunded + reserved + request.minor > row.received;
            if request.minor <= 0 || above {
                return Err("too_much");
            }
            row.reserved += request.minor;
            let held = RefundRow { saga: cx.saga, of: request.clone(), state: HoldState::Held };
            pay.refunds.insert(request.request.clone(), held);
            pay.applied.mark(cx);
            Ok(())
        });
        match held {
            Ok(()) => Ok(request),
            Err(code) => refuse(code, "this refund cannot be held")?,
        }
    }

    async fn confirm(&self, tx: &Tx, cx: &Call, request: Refund, _: Refund) -> Outcome<()> {
        mood(&self.weather, cx.phase)?;
        tx.with(|pay| pay.settle_refund(cx, &request, HoldState::Refunded));
        Ok(())
    }

    async fn cancel(&self, tx: &Tx, cx: &Call, request: Refund, _: Option<Refund>) -> Outcome<()> {
        mood(&self.weather, cx.phase)?;
        tx.with(|pay| pay.settle_refund(cx, &request, HoldState::Released));
        Ok(())
    }
}

impl Pay {
    fn settle_refund(&mut self, cx: &Call, request: &Refund, to: HoldState) {
        self.applied.mark(cx);
        if let Some(row) = self.payments.get_mut(&request.payment) {
            row.reserved -= request.minor;
            if to == HoldState::Refunded {
                row.refunded += request.minor;
            }
        }
        if let Some(held) = self.refunds.get_mut(&request.request) {
            held.state = to;
        }
    }
}

impl Cashier {
    fn limit(cx: &Call) -> Duration {
        cx.timeout.mul_f64(0.8)
    }

    async fn hand_on(&self, cx: &Call, kind: Kind, payment: &str, minor: i64, sort: u8) -> Handed<i64> {
        let (key, payment) = (cx.key.to_string(), payment.to_owned());
        let wanted = Wanted { key, kind, payment, minor, expires: cx.expires, sort };
        match self.bank.submit(wanted, Self::limit(cx)).await {
            Word::Done(minor) => Handed::Done(minor),
            Word::Final(why) => Handed::refused(why, "the bank said no for good"),
            Word::Second => Handed::refused("in_progress", "another attempt is being worked on"),
            Word::Poor => Handed::not_sent("insufficient balance"),
            Word::Accepted => Handed::pending("https://bank.example/pay"),
            // A refusal that is not final is no refusal.
            Word::Soft => Handed::unknown("the bank is busy; it may carry this out all the same"),
            Word::Unknown | Word::Nothing | Word::Closed | Word::Silence => Handed::unknown("the bank did not answer"),
        }
    }

    async fn find(&self, cx: &Call) -> Found<i64> {
        match self.bank.look(cx.key.as_str(), Self::limit(cx)).await {
            Word::Done(minor) => Found::Done(minor),
            Word::Final(why) => Found::refused(why, "the bank has recorded a failure"),
            Word::Nothing => Found::Absent,
            Word::Soft if broken("soft_refusal_reported_final") => {
                Found::refused("busy", "not final, and told as final")
            }
            Word::Soft | Word::Accepted => Found::pending("the bank is at it"),
            _ => Found::unknown("the bank did not answer"),
        }
    }

    async fn shut(&self, cx: &Call) -> Closing<i64> {
        match self.bank.close(cx.key.as_str(), Self::limit(cx)).await {
            Word::Done(minor) => Closing::Done(minor),
            Word::Closed => Closing::Closed,
            Word::Nothing => Closing::Absent,
            _ => Closing::unknown("the bank did not close it"),
        }
    }

    fn handing(tx: &Tx, cx: &Call, payment: Option<Payment>) {
        let handing = Handing { ticket: Ticket::of(cx), payment };
        tx.with(|pay| {
            let row = handing.payment.as_ref().and_then(|of| pay.payments.get_mut(&of.payment));
            if let Some(row) = row {
                row.key = Some(cx.key.clone());
            }
            pay.handed.insert(cx.key.to_string(), handing);
        });
    }
}

/// Books what became of a charge. A success is booked whatever the row's state, and goes back if the row is held as failed: which is
/// what the saga decided, by the record's cancel, and never what the bank said. Were it what the bank said, a bank that says no, and
/// pays while the saga has not heard the no yet, would have the money given back for an order that is confirmed.
pub(crate) async fn book_charge(tx: &Tx, key: &IdempotencyKey, payment: &str, settled: &Settled<i64>) -> Outcome<()> {
    match settled {
        Settled::Done(_) => {
            let row = tx.with(|pay| pay.receive(payment));
            match row {
                Some(row) if row.state == RowState::Failed => give_back(tx, key, &row.of).await,
                _ => Ok(()),
            }
        }
        Settled::Refused(_) | Settled::Closed | Settled::Pending(_) => Ok(()),
    }
}

impl<const SORT: u8> Pivot<Charge<SORT>, Memory<Pay>> for Cashier {
    async fn prepare(&self, tx: &Tx, cx: &Call, request: Payment) -> Outcome<()> {
        Self::handing(tx, cx, Some(request));
        Ok(())
    }

    async fn execute(&self, cx: &Call, request: Payment) -> Handed<i64> {
        self.hand_on(cx, Kind::Charge, &request.payment, request.minor, SORT).await
    }

    async fn query(&self, cx: &Call, _: Payment) -> Found<i64> {
        self.find(cx).await
    }

    async fn close(&self, cx: &Call, _: Payment) -> Closing<i64> {
        self.shut(cx).await
    }

    async fn record(&self, tx: &Tx, cx: &Call, request: Payment, settled: Settled<i64>) -> Outcome<()> {
        book_charge(tx, &cx.key, &request.payment, &settled).await
    }
}

impl<const SORT: u8> Pivot<GiveBack<SORT>, Memory<Pay>> for Cashier {
    async fn prepare(&self, tx: &Tx, cx: &Call, _: Refund) -> Outcome<()> {
        Self::handing(tx, cx, None);
        Ok(())
    }

    async fn execute(&self, cx: &Call, request: Refund) -> Handed<i64> {
        self.hand_on(cx, Kind::Refund, &request.payment, request.minor, SORT).await
    }

    async fn query(&self, cx: &Call, _: Refund) -> Found<i64> {
        self.find(cx).await
    }

    async fn close(&self, cx: &Call, _: Refund) -> Closing<i64> {
        self.shut(cx).await
    }
}

impl External<Payout, Memory<Pay>> for Cashier {
    async fn prepare(&self, tx: &Tx, cx: &Call, _: Refund) -> Outcome<()> {
        Self::handing(tx, cx, None);
        Ok(())
    }

    async fn execute(&self, cx: &Call, request: Refund) -> Handed<i64> {
        self.hand_on(cx, Kind::Payout, &request.payment, request.minor, 0).await
    }

    async fn query(&self, cx: &Call, _: Refund) -> Found<i64> {
        self.find(cx).await
    }
}

/// A callback, verified: it completes what is pending, and books a success whatever the row's state.
pub(crate) async fn callback(
    tx: &Tx, key: &str, done: Result<i64, &'static str>, now: tercet_core::Millis,
) -> Outcome<()> {
    let Some(handing) = tx.with(|pay| pay.handed.get(key).cloned()) else { return Ok(()) };
    let verdict = done.map_err(|why| Refusal::new(why, "the bank reported it"));
    tx.complete::<Charge<0>>(&handing.ticket, verdict.clone(), now).await?;
    if let (Some(payment), Ok(key)) = (&handing.payment, key.parse::<IdempotencyKey>()) {
        let settled = match verdict {
            Ok(minor) => Settled::Done(minor),
            Err(refusal) => Settled::Refused(refusal),
        };
        book_charge(tx, &key, &payment.payment, &settled).await?;
    }
    Ok(())
}
