//! Payments: money that is to come, has come and goes back.
//!
//! A payment's state is set by its saga's decision alone; money is booked when it is verified, whatever the state, once for each
//! of the channel's transactions. Where the two do not agree, money that was held as failed or closed for one, it starts on its way
//! back in the same transaction. So row and charge share one database.

mod callback;
mod charge;
mod ledger;
mod received;
mod record;
mod refunds;
mod rows;

pub use charge::{Charge, Charged, ToCharge};
pub use ledger::{MoneyLedger, PaymentLedger, check_equation, ledger, seed_paid, state};
pub use received::{MoneyRequest, Receipt, give_back};
pub use record::{Record, Recorded, ToRecord};
pub use refunds::{BookRefunded, Booked, Evidence, HoldRefund, RefundHeld, RefundToHold, left_of, refund_state};
pub use rows::{PaymentState, RefundState, ensure_schema};

use crate::{channel::Cashier, clock::Clock};
use std::{sync::Arc, time::Duration};
use tercet_participant::SeaOrm;
use tokio::sync::Notify;

/// The participant.
#[derive(Clone)]
pub struct Payments {
    db: SeaOrm,
    cashier: Arc<dyn Cashier>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    kept: Arc<Notify>,
}

impl Payments {
    /// Payments on their database, before that channel. `patience`: how long to ask Tercet to wait after "maintenance". `kept` is
    /// notified whenever a callback was kept, since something may wait in the outbox.
    #[must_use]
    pub fn new(
        db: SeaOrm, cashier: Arc<dyn Cashier>, clock: Arc<dyn Clock>, patience: Duration, kept: Arc<Notify>,
    ) -> Self {
        Self { db, cashier, clock, patience, kept }
    }
}
