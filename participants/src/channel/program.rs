//! The channel's program: what it is asked, how it behaves, what it reports.

use super::{
    Acknowledging, Asking, Behaviour, Behaviours, Callback, CallbackSink, Charges, Ends, RefundOrder, Said, Silence,
    ThirdParty,
    charge_rows::{charge, next_due, settle_due, take_in},
    rows::{State, account, end, fail, find, heard, refund, say, transaction, turn},
};
use crate::{
    clock::Clock,
    db::{self, Changing, create, insert_new, plus, to},
    ids::{PaymentId, RefundId},
    money::{Money, MoneyError},
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, Set,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tercet_core::Millis;

/// What may go wrong with the channel itself.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Its database.
    #[error("the channel's database failed: {0}")]
    Database(#[from] DbErr),
    /// An amount.
    #[error("the channel's figures failed: {0}")]
    Money(#[from] MoneyError),
    /// A charge of nothing or less.
    #[error("a charge of {0} is none")]
    Charge(Money),
}

/// How a channel is set up.
pub struct Settings {
    /// How it behaves to which refund.
    pub behaviours: Behaviours,
    /// How it, and the buyer, behave to which charge.
    pub charges: Charges,
    /// Whether it can close a refund that it has taken on.
    pub closes: bool,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

/// A payment channel.
pub struct Channel {
    pub(super) db: DatabaseConnection,
    behaviours: Mutex<Behaviours>,
    pub(super) charges: Mutex<Charges>,
    closes: bool,
    pub(super) clock: Arc<dyn Clock>,
}

/// What a request leads to, beside what is in the ledger by then.
pub(super) enum Reply {
    Say(Said),
    SayLate(Said, Duration),
    Silent,
}

impl Channel {
    /// A channel on its database, whose tables are made when they are not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(db: DatabaseConnection, settings: Settings) -> Result<Self, ChannelError> {
        let tx = db::begin(&db).await?;
        create(&tx, account::Entity).await?;
        create(&tx, charge::Entity).await?;
        create(&tx, refund::Entity).await?;
        create(&tx, turn::Entity).await?;
        insert_new(&tx, turn::Model { id: 1, taken: 0 }).await?;
        tx.commit().await?;
        let Settings { behaviours, charges, closes, clock } = settings;
        Ok(Self { db, behaviours: Mutex::new(behaviours), charges: Mutex::new(charges), closes, clock })
    }

    /// Begins a transaction that has the channel to itself, among all processes that share its database: what it reads stays so
    /// until it ends. No isolation level would do on every server.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let tx = db::begin(&self.db).await?;
        turn::Entity::update_many().changing([plus(turn::Column::Taken, 1)]).exec(&tx).await?;
        Ok(tx)
    }

    /// This behaviour for one reference from its first request on.
    pub fn tell(&self, reference: RefundId, behaviour: Behaviour) {
        self.behaviours.lock().unwrap_or_else(PoisonError::into_inner).tell(reference, behaviour);
    }

    /// Takes buyers' money that nobody has asked for or is told of, once per reference, all of it or none.
    ///
    /// # Errors
    /// When an amount is not above zero, or the database fails.
    pub async fn charge(&self, charges: &[(PaymentId, Money)]) -> Result<(), ChannelError> {
        let tx = self.begin().await?;
        for (reference, amount) in charges {
            if amount.minor.0 <= 0 {
                return Err(ChannelError::Charge(*amount));
            }
            take_in(&tx, reference, *amount, self.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Ends what is due by now, and says when the next is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(&self) -> Result<Option<Millis>, ChannelError> {
        let tx = self.begin().await?;
        let now = self.clock.now();
        let due = refund::Entity::find()
            .filter(refund::Column::DueAtMs.lte(now.0))
            .order_by_asc(refund::Column::DueAtMs)
            .all(&tx)
            .await?;
        for row in due {
            end(&tx, row, now).await?;
        }
        settle_due(&tx, now).await?;
        let next = refund::Entity::find()
            .filter(refund::Column::DueAtMs.is_not_null())
            .order_by_asc(refund::Column::DueAtMs)
            .one(&tx)
            .await?;
        let next = next.and_then(|row| row.due_at_ms).map(Millis);
        let next = next.into_iter().chain(next_due(&tx, now).await?).min();
        tx.commit().await?;
        Ok(next)
    }

    /// Reports what has ended and is to be reported, each once for every callback it owes; what is not acknowledged is
    /// reported again the next time. Says how many were acknowledged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call_back(&self, sink: &dyn CallbackSink) -> Result<u64, ChannelError> {
        let owed = refund::Entity::find()
            .filter(refund::Column::CallbacksLeft.gt(0))
            .filter(refund::Column::State.is_in([State::Succeeded, State::Failed]))
            .order_by_asc(refund::Column::SettledAtMs)
            .all(&self.db)
            .await?;
        let mut acknowledged = 0;
        for row in owed {
            acknowledged += self.report(sink, &row).await?;
        }
        Ok(acknowledged)
    }

    async fn report(&self, sink: &dyn CallbackSink, row: &refund::Model) -> Result<u64, ChannelError> {
        let said = say(row)?;
        let callback = Callback { reference: RefundId::stored(&row.reference), transaction: transaction(row), said };
        let mut acknowledged = 0;
        for _ in 0..row.callbacks_left {
            if !sink.receive(callback.clone()).await {
                continue;
            }
            acknowledged += refund::Entity::update_many()
                .changing([plus(refund::Column::CallbacksLeft, -1)])
                .filter(refund::Column::Reference.eq(&row.reference))
                .filter(refund::Column::CallbacksLeft.gt(0))
                .exec(&self.db)
                .await?
                .rows_affected;
        }
        Ok(acknowledged)
    }

    async fn asked(&self, order: &RefundOrder) -> Result<Reply, ChannelError> {
        self.settle().await?;
        let tx = self.begin().await?;
        let behaviour = self.behaviours.lock().unwrap_or_else(PoisonError::into_inner).of(&order.reference);
        insert_new(&tx, heard(order, behaviour)).await?;
        refund::Entity::update_many()
            .changing([plus(refund::Column::Attempts, 1)])
            .filter(refund::Column::Reference.eq(order.reference.as_str()))
            .exec(&tx)
            .await?;
        let row = find(&tx, &order.reference).await?.ok_or_else(|| gone(&order.reference))?;
        let reply = answer(&tx, order, row, behaviour, self.clock.now()).await?;
        tx.commit().await?;
        Ok(reply)
    }

    /// What the asker hears, and when.
    pub(super) async fn reply(&self, reply: Reply) -> Result<Said, Silence> {
        match reply {
            Reply::Say(said) => Ok(said),
            Reply::Silent => Err(Silence),
            Reply::SayLate(said, after) => {
                self.clock.sleep(after).await;
                Ok(said)
            }
        }
    }

    async fn state_of(&self, reference: &RefundId) -> Result<Said, ChannelError> {
        self.settle().await?;
        match find(&self.db, reference).await? {
            Some(row) => say(&row),
            None => Ok(Said::NotFound),
        }
    }

    async fn closed(&self, reference: &RefundId) -> Result<Said, ChannelError> {
        if !self.closes {
            return Ok(rejected("no_close", "this channel cannot close a refund"));
        }
        self.settle().await?;
        let tx = self.begin().await?;
        refund::Entity::update_many()
            .changing([to(refund::Column::State, State::Closed), to(refund::Column::DueAtMs, None::<i64>)])
            .filter(refund::Column::Reference.eq(reference.as_str()))
            .filter(refund::Column::State.eq(State::Processing))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        self.state_of(reference).await
    }
}

impl ThirdParty for Channel {
    fn refund(&self, order: RefundOrder) -> Asking<'_> {
        Box::pin(async move { self.reply(heard_out(self.asked(&order).await)?).await })
    }

    fn query<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        Box::pin(async move { heard_out(self.state_of(reference).await) })
    }

    fn close<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        Box::pin(async move { heard_out(self.closed(reference).await) })
    }
}

impl<T: ThirdParty + ?Sized> ThirdParty for Arc<T> {
    fn refund(&self, order: RefundOrder) -> Asking<'_> {
        (**self).refund(order)
    }

    fn query<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        (**self).query(reference)
    }

    fn close<'a>(&'a self, reference: &'a RefundId) -> Asking<'a> {
        (**self).close(reference)
    }
}

impl<T: CallbackSink + ?Sized> CallbackSink for Arc<T> {
    fn receive(&self, callback: Callback) -> Acknowledging<'_> {
        (**self).receive(callback)
    }
}

/// A channel whose own database fails is one that does not answer.
pub(super) fn heard_out<T>(result: Result<T, ChannelError>) -> Result<T, Silence> {
    result.map_err(|error| {
        tracing::error!(error = %error, "channel failed");
        Silence
    })
}

fn gone(reference: &RefundId) -> DbErr {
    DbErr::RecordNotFound(format!("refund {reference} of the channel"))
}

pub(super) fn rejected(code: &str, message: &str) -> Said {
    Said::Rejected { code: code.to_owned(), message: message.to_owned() }
}

/// The answer to a request under a reference: what became of it, or what the behaviour makes of a new one.
async fn answer(
    tx: &DatabaseTransaction, order: &RefundOrder, row: refund::Model, behaviour: Behaviour, now: Millis,
) -> Result<Reply, ChannelError> {
    let same = row.charge == order.charge.as_str()
        && row.amount == order.amount.minor.0
        && row.currency == order.amount.currency.as_str();
    match row.state {
        _ if !same => Ok(Reply::Say(rejected("reference_reused", "the reference stands for another refund"))),
        State::Heard => act(tx, row, behaviour, now).await,
        State::Landing => {
            Ok(Reply::Say(rejected("refund_in_progress", "a refund under this reference is in progress")))
        }
        State::Processing | State::Succeeded | State::Failed | State::Closed => Ok(Reply::Say(say(&row)?)),
    }
}

async fn act(
    tx: &DatabaseTransaction, row: refund::Model, behaviour: Behaviour, now: Millis,
) -> Result<Reply, ChannelError> {
    let nth = row.attempts;
    Ok(match behaviour {
        Behaviour::TimeOutNotDone { lost } if nth <= i64::from(lost) => Reply::Silent,
        Behaviour::InsufficientBalance { times } if nth <= i64::from(times) => {
            Reply::Say(rejected("insufficient_balance", "the merchant's balance is too small"))
        }
        Behaviour::Maintenance { times } if nth <= i64::from(times) => {
            Reply::Say(rejected("channel_maintenance", "the channel is under maintenance"))
        }
        Behaviour::Succeed
        | Behaviour::TimeOutNotDone { .. }
        | Behaviour::InsufficientBalance { .. }
        | Behaviour::Maintenance { .. } => Reply::Say(say(&end(tx, row, now).await?)?),
        Behaviour::TimeOutDone => {
            end(tx, row, now).await?;
            Reply::Silent
        }
        Behaviour::AnswerLate { after } => Reply::SayLate(say(&end(tx, row, now).await?)?, after),
        Behaviour::Refuse => Reply::Say(say(&fail(tx, row, "account_closed", now).await?)?),
        Behaviour::Accept { after, ends, callbacks } => {
            let mut later = row.into_active_model();
            later.state = Set(State::Processing);
            later.due_at_ms = Set(Some(now.plus(after).0));
            later.ends_badly = Set(ends == Ends::Badly);
            later.callbacks_left = Set(i64::from(callbacks));
            Reply::Say(say(&later.update(tx).await?)?)
        }
        Behaviour::LandLate { after } => {
            let mut later = row.into_active_model();
            later.state = Set(State::Landing);
            later.due_at_ms = Set(Some(now.plus(after).0));
            later.update(tx).await?;
            Reply::Silent
        }
    })
}
