//! Small ones: orders, prices, and telling people.

use super::{Applied, Model, mood};
use crate::sim::{
    contracts::{Order, PlaceOrder, Quote, Said, Tell},
    weather::Weather,
};
use std::{collections::BTreeMap, sync::Arc};
use tercet_core::{Call, SagaId};
use tercet_participant::{Memory, Outcome, Read, Retriable, Tcc, database::memory::MemoryTx, refuse};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderState {
    Pending,
    Paid,
    Cancelled,
}

/// Orders, what was told to whom, and what took effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    pub(crate) orders: BTreeMap<String, (SagaId, OrderState)>,
    pub(crate) told: BTreeMap<String, Vec<String>>,
    applied: Applied,
    broken: Option<String>,
}

impl Model for Desk {
    fn check(&self) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        for (to, told) in &self.told {
            if told.len() > 1 {
                return Err(format!("{to} was told {told:?}"));
            }
        }
        self.applied.check()
    }

    fn held(&self) -> Vec<(SagaId, String)> {
        let pending = self.orders.iter().filter(|(_, (_, state))| *state == OrderState::Pending);
        pending.map(|(order, (saga, _))| (*saga, format!("order {order} is pending"))).collect()
    }
}

/// The participant behind orders, prices and notes.
pub(crate) struct Clerk(pub(crate) Arc<Weather>);

impl Desk {
    fn moves(&mut self, cx: &Call, order: &str, to: OrderState) {
        self.applied.mark(cx);
        match self.orders.get_mut(order) {
            Some((_, state)) if *state == OrderState::Pending => *state = to,
            other => self.broken = Some(format!("order {order} is to become {to:?}, and is {other:?}")),
        }
    }
}

impl Tcc<PlaceOrder, Memory<Desk>> for Clerk {
    async fn try_(&self, tx: &MemoryTx<Desk>, cx: &Call, request: Order) -> Outcome<String> {
        mood(&self.0, cx.phase)?;
        let order = request.order;
        let new = tx.with(|desk| {
            if desk.orders.contains_key(&order) {
                return false;
            }
            desk.orders.insert(order.clone(), (cx.saga, OrderState::Pending));
            desk.applied.mark(cx);
            true
        });
        if new { Ok(order) } else { refuse("duplicate", "there is such an order")? }
    }

    async fn confirm(&self, tx: &MemoryTx<Desk>, cx: &Call, request: Order, _: String) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|desk| desk.moves(cx, &request.order, OrderState::Paid));
        Ok(())
    }

    async fn cancel(&self, tx: &MemoryTx<Desk>, cx: &Call, request: Order, _: Option<String>) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|desk| desk.moves(cx, &request.order, OrderState::Cancelled));
        Ok(())
    }
}

/// What reads a price.
pub(crate) struct Pricer(pub(crate) Arc<Weather>);

impl Read<Quote, Memory<Desk>> for Pricer {
    async fn read(&self, _: &MemoryTx<Desk>, cx: &Call, request: Order) -> Outcome<i64> {
        mood(&self.0, cx.phase)?;
        Ok(request.minor)
    }
}

/// What tells people.
pub(crate) struct Crier(pub(crate) Arc<Weather>);

impl Retriable<Tell, Memory<Desk>> for Crier {
    async fn execute(&self, tx: &MemoryTx<Desk>, cx: &Call, request: Said) -> Outcome<u32> {
        mood(&self.0, cx.phase)?;
        tx.with(|desk| {
            desk.applied.mark(cx);
            desk.told.entry(request.to.clone()).or_default().push(request.text);
        });
        Ok(1)
    }
}
