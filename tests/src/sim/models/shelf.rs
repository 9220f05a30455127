//! Accounts with points that are held, and a shelf with stock that is taken.

use super::{Applied, Model, mood};
use crate::sim::{
    contracts::{Amount, HoldPoints, Line, PutBack, TakeStock},
    weather::Weather,
};
use std::{collections::BTreeMap, sync::Arc};
use tercet_core::{Call, SagaId, StepInstance};
use tercet_participant::{Compensable, Memory, Outcome, Tcc, Ticket, database::memory::MemoryTx, pending, refuse};

/// Points in each account when a run begins.
pub(crate) const POINTS: i64 = 80;

/// Pieces on the shelf, and pieces sold before, when a run begins.
pub(crate) const PIECES: i64 = 40;

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    free: i64,
    held: i64,
    spent: i64,
}

/// Points: free, held, or spent; they never come from nowhere.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    accounts: BTreeMap<u32, Account>,
    holds: BTreeMap<(SagaId, StepInstance), Amount>,
    applied: Applied,
}

impl Accounts {
    pub(crate) fn new() -> Self {
        let accounts = (1..=4).map(|id| (id, Account { free: POINTS, ..Account::default() })).collect();
        Self { accounts, holds: BTreeMap::new(), applied: Applied::default() }
    }
}

impl Model for Accounts {
    fn check(&self) -> Result<(), String> {
        for (id, account) in &self.accounts {
            let Account { free, held, spent } = *account;
            let owed: i64 = self.holds.values().filter(|a| a.account == *id).map(|a| a.minor.abs()).sum();
            if free < 0 || spent < 0 || held != owed || free + held + spent != POINTS {
                return Err(format!("account {id}: {account:?} with holds of {owed} out of {POINTS}"));
            }
        }
        self.applied.check()
    }

    fn held(&self) -> Vec<(SagaId, String)> {
        self.holds.iter().map(|((saga, step), amount)| (*saga, format!("{step} holds {amount:?}"))).collect()
    }
}

/// The accounts participant.
pub(crate) struct Teller(pub(crate) Arc<Weather>);

impl Tcc<HoldPoints, Memory<Accounts>> for Teller {
    async fn try_(&self, tx: &MemoryTx<Accounts>, cx: &Call, request: Amount) -> Outcome<i64> {
        mood(&self.0, cx.phase)?;
        let held = tx.with(|all| {
            let account = all.accounts.get_mut(&request.account)?;
            let from = if request.minor < 0 { &mut account.spent } else { &mut account.free };
            let minor = request.minor.abs();
            if *from < minor {
                return None;
            }
            *from -= minor;
            account.held += minor;
            all.holds.insert((cx.saga, cx.step.clone()), request.clone());
            all.applied.mark(cx);
            Some(minor)
        });
        match held {
            Some(minor) => Ok(minor),
            None => refuse("insufficient", "there are fewer points than that")?,
        }
    }

    async fn confirm(&self, tx: &MemoryTx<Accounts>, cx: &Call, request: Amount, _: i64) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|all| all.settle(cx, &request, request.minor >= 0));
        Ok(())
    }

    async fn cancel(&self, tx: &MemoryTx<Accounts>, cx: &Call, request: Amount, _: Option<i64>) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|all| all.settle(cx, &request, request.minor < 0));
        Ok(())
    }
}

impl Accounts {
    fn settle(&mut self, cx: &Call, request: &Amount, spends: bool) {
        let minor = request.minor.abs();
        if let Some(account) = self.accounts.get_mut(&request.account) {
            account.held -= minor;
            let to = if spends { &mut account.spent } else { &mut account.free };
            *to += minor;
        }
        self.holds.remove(&(cx.saga, cx.step.clone()));
        self.applied.mark(cx);
    }
}

/// Pieces: on the shelf, taken, sold before the run, or on their way back.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    shelf: i64,
    taken: i64,
    sold: i64,
    coming: BTreeMap<(SagaId, StepInstance), i64>,
    takes: BTreeMap<(SagaId, StepInstance), i64>,
    /// Takes that were accepted and are reported later.
    pub(crate) open: Vec<(Ticket, i64)>,
    applied: Applied,
}

impl Stock {
    pub(crate) fn new() -> Self {
        Self {
            shelf: PIECES,
            taken: 0,
            sold: PIECES,
            coming: BTreeMap::new(),
            takes: BTreeMap::new(),
            open: Vec::new(),
            applied: Applied::default(),
        }
    }
}

impl Model for Stock {
    fn check(&self) -> Result<(), String> {
        let coming: i64 = self.coming.values().sum();
        let whole = self.shelf + self.taken + self.sold + coming;
        let takes: i64 = self.takes.values().sum();
        if self.shelf < 0 || self.sold < 0 || whole != 2 * PIECES || takes != self.taken {
            return Err(format!("stock: {self:?}"));
        }
        self.applied.check()
    }

    fn held(&self) -> Vec<(SagaId, String)> {
        self.coming.iter().map(|((saga, step), pieces)| (*saga, format!("{step} holds {pieces} pieces"))).collect()
    }
}

impl Stock {
    /// Moves pieces from the shelf out of the town, or back: for scripted scenarios.
    #[cfg(test)]
    pub(crate) fn sells(&mut self, pieces: i64) {
        self.shelf -= pieces;
        self.sold += pieces;
    }

    /// Pieces that a saga has taken by way of that step.
    pub(crate) fn taken_by(&self, saga: SagaId) -> i64 {
        self.takes.iter().filter(|((of, _), _)| *of == saga).map(|(_, pieces)| pieces).sum()
    }
}

/// The stock participant; now and then it accepts a take and reports later.
pub(crate) struct Keeper(pub(crate) Arc<Weather>, pub(crate) Arc<crate::sim::world::World>);

impl Compensable<TakeStock, Memory<Stock>> for Keeper {
    async fn execute(&self, tx: &MemoryTx<Stock>, cx: &Call, request: Line) -> Outcome<i64> {
        mood(&self.0, cx.phase)?;
        let later = self.1.chance(0.1);
        let took = tx.with(|all| {
            if all.shelf < request.pieces {
                return false;
            }
            all.shelf -= request.pieces;
            all.taken += request.pieces;
            all.takes.insert((cx.saga, cx.step.clone()), request.pieces);
            if later {
                all.open.push((Ticket::of(cx), request.pieces));
            }
            all.applied.mark(cx);
            true
        });
        match (took, later) {
            (false, _) => refuse("no_stock", "there are fewer pieces than asked for")?,
            (true, true) => pending("it will be reported"),
            (true, false) => Ok(request.pieces),
        }
    }

    async fn compensate(&self, tx: &MemoryTx<Stock>, cx: &Call, request: Line, _: Option<i64>) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|all| {
            all.taken -= request.pieces;
            all.shelf += request.pieces;
            all.takes.remove(&(cx.saga, cx.step.clone()));
            all.applied.mark(cx);
        });
        Ok(())
    }
}

impl Tcc<PutBack, Memory<Stock>> for Keeper {
    async fn try_(&self, tx: &MemoryTx<Stock>, cx: &Call, request: Line) -> Outcome<i64> {
        mood(&self.0, cx.phase)?;
        let held = tx.with(|all| {
            if all.sold < request.pieces {
                return false;
            }
            all.sold -= request.pieces;
            all.coming.insert((cx.saga, cx.step.clone()), request.pieces);
            all.applied.mark(cx);
            true
        });
        if held { Ok(request.pieces) } else { refuse("not_sold", "fewer pieces were sold than that")? }
    }

    async fn confirm(&self, tx: &MemoryTx<Stock>, cx: &Call, request: Line, _: i64) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|all| {
            all.coming.remove(&(cx.saga, cx.step.clone()));
            all.shelf += request.pieces;
            all.applied.mark(cx);
        });
        Ok(())
    }

    async fn cancel(&self, tx: &MemoryTx<Stock>, cx: &Call, request: Line, _: Option<i64>) -> Outcome<()> {
        mood(&self.0, cx.phase)?;
        tx.with(|all| {
            all.coming.remove(&(cx.saga, cx.step.clone()));
            all.sold += request.pieces;
            all.applied.mark(cx);
        });
        Ok(())
    }
}
