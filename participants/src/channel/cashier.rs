//! The channel's cashier: requests to take money, the buyers who pay or do not, and what is reported of it.

use super::{
    Asking, Cashier, Channel, ChannelError, ChargeOrder, ChargeSink, Charging, Met, Said,
    charge_rows::{
        ChargeState, Row, charge, close, fail, find, gone, heard, pay, report_of, say, take_on, transaction,
    },
    program::{Reply, heard_out, rejected},
};
use crate::{
    db::{Changing, insert_new, plus, to},
    ids::PaymentId,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, Set,
};
use std::sync::{Arc, PoisonError};
use tercet_core::Millis;

/// What a buyer who pays is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paying {
    /// The money was taken.
    Paid {
        /// The channel's own id of it.
        transaction: String,
    },
    /// It was paid before: nothing more was taken.
    Already,
    /// There is nothing to pay under that reference any more, or not yet: nothing was taken.
    NotOpen,
}

impl Channel {
    /// This behaviour for one charge from its first request on.
    pub fn tell_charge(&self, reference: PaymentId, behaviour: Charging) {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner).tell(reference, behaviour);
    }

    /// The buyer pays under that reference, now: perhaps late, perhaps once more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn buyer_pays(&self, reference: &PaymentId) -> Result<Paying, ChannelError> {
        self.settle().await?;
        let tx = self.begin().await?;
        let Some(row) = find(&tx, reference).await? else { return Ok(Paying::NotOpen) };
        let paying = match row.state {
            ChargeState::Paid => return Ok(Paying::Already),
            ChargeState::Open => true,
            ChargeState::Failed | ChargeState::Closed => row.lax,
            ChargeState::Heard | ChargeState::Landing => false,
        };
        if !paying {
            return Ok(Paying::NotOpen);
        }
        pay(&tx, row, self.clock.now()).await?;
        tx.commit().await?;
        Ok(Paying::Paid { transaction: transaction(reference.as_str()) })
    }

    /// The buyer is declined for good, if the link is open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn buyer_is_declined(&self, reference: &PaymentId) -> Result<(), ChannelError> {
        self.settle().await?;
        let tx = self.begin().await?;
        if let Some(row) = find(&tx, reference).await?.filter(|row| row.state == ChargeState::Open) {
            fail(&tx, row, "declined", self.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The channel's own id of a charge.
    #[must_use]
    pub fn charge_transaction(reference: &PaymentId) -> String {
        transaction(reference.as_str())
    }

    /// Reports charges that have ended and are to be reported by now, each once for every callback it owes; what is not acknowledged
    /// is reported again the next time. Says how many were acknowledged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_charges(&self, sink: &dyn ChargeSink) -> Result<u64, ChannelError> {
        let owed = charge::Entity::find()
            .filter(charge::Column::ReportAtMs.lte(self.clock.now().0))
            .order_by_asc(charge::Column::ReportAtMs)
            .all(&self.db)
            .await?;
        let mut acknowledged = 0;
        for row in owed {
            acknowledged += self.report_charge(sink, &row).await?;
        }
        Ok(acknowledged)
    }

    async fn report_charge(&self, sink: &dyn ChargeSink, row: &Row) -> Result<u64, ChannelError> {
        let (callback, mut acknowledged) = (report_of(row)?, 0);
        let this = charge::Column::Reference.eq(&row.reference);
        for _ in 0..row.callbacks_left {
            if !sink.charged(callback.clone()).await {
                continue;
            }
            acknowledged += charge::Entity::update_many()
                .changing([plus(charge::Column::CallbacksLeft, -1)])
                .filter(this.clone())
                .filter(charge::Column::CallbacksLeft.gt(0))
                .exec(&self.db)
                .await?
                .rows_affected;
        }
        charge::Entity::update_many()
            .changing([to(charge::Column::ReportAtMs, None::<i64>)])
            .filter(this)
            .filter(charge::Column::CallbacksLeft.eq(0))
            .exec(&self.db)
            .await?;
        Ok(acknowledged)
    }

    async fn asked_to_charge(&self, order: &ChargeOrder) -> Result<Reply, ChannelError> {
        if order.amount.minor.0 <= 0 {
            return Ok(Reply::Say(rejected("bad_amount", "a charge is of more than nothing")));
        }
        self.settle().await?;
        let tx = self.begin().await?;
        let behaviour = self.charges.lock().unwrap_or_else(PoisonError::into_inner).of(&order.reference);
        insert_new(&tx, heard(order, behaviour)).await?;
        charge::Entity::update_many()
            .changing([plus(charge::Column::Attempts, 1)])
            .filter(charge::Column::Reference.eq(order.reference.as_str()))
            .exec(&tx)
            .await?;
        let row = find(&tx, &order.reference).await?.ok_or_else(|| gone(&order.reference))?;
        let reply = answer(&tx, order, row, behaviour.request, self.clock.now()).await?;
        tx.commit().await?;
        Ok(reply)
    }

    async fn state_of_charge(&self, reference: &PaymentId) -> Result<Said, ChannelError> {
        self.settle().await?;
        find(&self.db, reference).await?.map_or(Ok(Said::NotFound), |row| say(&row))
    }

    async fn closed_charge(&self, reference: &PaymentId) -> Result<Said, ChannelError> {
        self.settle().await?;
        let tx = self.begin().await?;
        match find(&tx, reference).await? {
            None => Ok(Said::NotFound),
            Some(row) if row.state == ChargeState::Open => {
                let said = say(&close(&tx, row, self.clock.now()).await?)?;
                tx.commit().await?;
                Ok(said)
            }
            Some(row) => say(&row),
        }
    }
}

impl Cashier for Channel {
    fn request_charge(&self, order: ChargeOrder) -> Asking<'_> {
        Box::pin(async move { self.reply(heard_out(self.asked_to_charge(&order).await)?).await })
    }

    fn query_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        Box::pin(async move { heard_out(self.state_of_charge(reference).await) })
    }

    fn close_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        Box::pin(async move { heard_out(self.closed_charge(reference).await) })
    }
}

impl<T: Cashier + ?Sized> Cashier for Arc<T> {
    fn request_charge(&self, order: ChargeOrder) -> Asking<'_> {
        (**self).request_charge(order)
    }

    fn query_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        (**self).query_charge(reference)
    }

    fn close_charge<'a>(&'a self, reference: &'a PaymentId) -> Asking<'a> {
        (**self).close_charge(reference)
    }
}

/// The answer to a request under a reference: what became of it, or what the behaviour makes of a new one.
async fn answer(
    tx: &DatabaseTransaction, order: &ChargeOrder, row: Row, met: Met, now: Millis,
) -> Result<Reply, ChannelError> {
    let same = row.order_id == order.order.as_str()
        && row.amount == order.amount.minor.0
        && row.currency == order.amount.currency.as_str();
    match row.state {
        _ if !same => Ok(Reply::Say(rejected("reference_reused", "the reference stands for another charge"))),
        ChargeState::Heard => act(tx, row, met, now).await,
        ChargeState::Landing => {
            Ok(Reply::Say(rejected("charge_in_progress", "a charge under this reference is in progress")))
        }
        _ => Ok(Reply::Say(say(&row)?)),
    }
}

async fn act(tx: &DatabaseTransaction, row: Row, met: Met, now: Millis) -> Result<Reply, ChannelError> {
    let nth = row.attempts;
    Ok(match met {
        Met::LostNotDone { lost } if nth <= i64::from(lost) => Reply::Silent,
        Met::Maintenance { times } if nth <= i64::from(times) => {
            Reply::Say(rejected("channel_maintenance", "the channel is under maintenance"))
        }
        Met::Taken | Met::LostNotDone { .. } | Met::Maintenance { .. } => {
            Reply::Say(say(&take_on(tx, row, now).await?)?)
        }
        Met::Refused => Reply::Say(say(&fail(tx, row, "not_permitted", now).await?)?),
        Met::LostDone => {
            take_on(tx, row, now).await?;
            Reply::Silent
        }
        Met::AnswerLate { after } => Reply::SayLate(say(&take_on(tx, row, now).await?)?, after),
        Met::LandLate { after } => {
            let mut later = row.into_active_model();
            later.state = Set(ChargeState::Landing);
            later.due_at_ms = Set(Some(now.plus(after).0));
            later.update(tx).await?;
            Reply::Silent
        }
    })
}
