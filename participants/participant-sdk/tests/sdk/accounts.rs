//! A small participant for the tests, on each body of the database: accounts with money that is available or held.

use crate::places::{Place, run, statement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_participant::{
    Call, Compensable, Memory, Operation, Outcome, Read, Retriable, SeaOrm, Service, Tcc, Transaction,
    conformance::{Subject, TestClock},
    database::memory::MemoryTx,
    kind, pending, refuse,
    sea_orm::{ConnectionTrait, Value},
};

/// What every operation of the accounts is asked with. Amounts are minor units.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Amount {
    pub(crate) account: u32,
    pub(crate) amount: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Balance {
    pub(crate) available: i64,
}

macro_rules! contracts { ($($name:ident $text:literal $kind:ident;)+) => { $(
    pub(crate) struct $name;
    impl Operation for $name {
        const NAME: &'static str = $text;
        type Kind = kind::$kind;
        type Request = Amount;
        type Reply = Balance;
    }
)+ } }

contracts! {
    Hold "accounts.hold/1" Tcc;
    Debit "accounts.debit/1" Compensable;
    Credit "accounts.credit/1" Retriable;
    Look "accounts.look/1" Read;
}

pub(crate) struct Accounts;

/// What changes an account: SQL on one body, a function on the other. `false`: the account does not allow it.
struct Change {
    sql: &'static str,
    model: fn(&mut (i64, i64), i64) -> bool,
}

const HOLD: Change = Change {
    sql: "UPDATE accounts SET available = available - $1, held = held + $1 WHERE id = $2 AND available >= $1",
    model: |(available, held), amount| {
        let enough = *available >= amount;
        if enough {
            (*available, *held) = (*available - amount, *held + amount);
        }
        enough
    },
};
const SPEND: Change = Change {
    sql: "UPDATE accounts SET held = held - $1 WHERE id = $2 AND held >= $1",
    model: |(_, held), amount| {
        *held -= amount;
        true
    },
};
const RELEASE: Change = Change {
    sql: "UPDATE accounts SET available = available + $1, held = held - $1 WHERE id = $2 AND held >= $1",
    model: |(available, held), amount| {
        (*available, *held) = (*available + amount, *held - amount);
        true
    },
};
const PAY: Change = Change {
    sql: "UPDATE accounts SET available = available - $1 WHERE id = $2 AND available >= $1",
    model: |(available, _), amount| {
        let enough = *available >= amount;
        if enough {
            *available -= amount;
        }
        enough
    },
};
const RECEIVE: Change = Change {
    sql: "UPDATE accounts SET available = available + $1 WHERE id = $2",
    model: |(available, _), amount| {
        *available += amount;
        true
    },
};

/// Accounts, their available and held money.
pub(crate) type Model = BTreeMap<u32, (i64, i64)>;

async fn in_database(tx: &Transaction, request: &Amount, change: &Change) -> Outcome<bool> {
    let values: [Value; 2] = [request.amount.into(), request.account.into()];
    let done = tx.execute_raw(statement(tx.get_database_backend(), change.sql, &values)).await?;
    Ok(done.rows_affected() == 1)
}

async fn balance_in_database(tx: &Transaction, account: u32) -> Outcome<Balance> {
    let sql = "SELECT available FROM accounts WHERE id = $1";
    let select = statement(tx.get_database_backend(), sql, &[account.into()]);
    match tx.query_one_raw(select).await? {
        Some(row) => Ok(Balance { available: row.try_get_by_index(0)? }),
        None => refuse("no_account", "there is no such account")?,
    }
}

async fn in_model(tx: &MemoryTx<Model>, request: &Amount, change: &Change) -> Outcome<bool> {
    Ok(tx.with(|model| model.get_mut(&request.account).is_some_and(|account| (change.model)(account, request.amount))))
}

async fn balance_in_model(tx: &MemoryTx<Model>, account: u32) -> Outcome<Balance> {
    match tx.with(|model| model.get(&account).map(|account| account.0)) {
        Some(available) => Ok(Balance { available }),
        None => refuse("no_account", "there is no such account")?,
    }
}

macro_rules! handlers {
    ($database:ty, $tx:ty, $changed:ident, $balance:ident) => {
        impl Tcc<Hold, $database> for Accounts {
            async fn try_(&self, tx: &$tx, cx: &Call, request: Amount) -> Outcome<Balance> {
                let held = $changed(tx, &request, &HOLD).await?;
                if request.amount == PENDING {
                    return pending(&format!("{} is asked for approval", cx.step));
                }
                if held {
                    $balance(tx, request.account).await
                } else {
                    refuse("no_money", "there is less than asked for")?
                }
            }

            async fn confirm(&self, tx: &$tx, _: &Call, request: Amount, _: Balance) -> Outcome<()> {
                if request.amount == UNLUCKY {
                    panic!("the confirm of an unlucky amount");
                }
                let spent = $changed(tx, &request, &SPEND).await?;
                assert!(spent, "what is confirmed was held");
                Ok(())
            }

            async fn cancel(&self, tx: &$tx, _: &Call, request: Amount, _: Option<Balance>) -> Outcome<()> {
                let released = $changed(tx, &request, &RELEASE).await?;
                assert!(released, "what is cancelled was held");
                match request.amount {
                    UNLUCKY => panic!("the cancel of an unlucky amount"),
                    STUBBORN => refuse("never", "a stubborn amount is not given back")?,
                    _ => Ok(()),
                }
            }
        }

        impl Compensable<Debit, $database> for Accounts {
            async fn execute(&self, tx: &$tx, _: &Call, request: Amount) -> Outcome<Balance> {
                // Written before the refusal on purpose: it must be rolled back.
                $changed(tx, &Amount { account: request.account, amount: 1 }, &RECEIVE).await?;
                let paid = $changed(tx, &Amount { amount: request.amount + 1, ..request }, &PAY).await?;
                if paid {
                    $balance(tx, request.account).await
                } else {
                    refuse("no_money", "there is less than asked for")?
                }
            }

            async fn compensate(&self, tx: &$tx, _: &Call, request: Amount, _: Option<Balance>) -> Outcome<()> {
                $changed(tx, &request, &RECEIVE).await?;
                Ok(())
            }
        }

        impl Retriable<Credit, $database> for Accounts {
            async fn execute(&self, tx: &$tx, _: &Call, request: Amount) -> Outcome<Balance> {
                $changed(tx, &request, &RECEIVE).await?;
                $balance(tx, request.account).await
            }
        }

        impl Read<Look, $database> for Accounts {
            async fn read(&self, tx: &$tx, _: &Call, request: Amount) -> Outcome<Balance> {
                $balance(tx, request.account).await
            }
        }
    };
}

/// A hold of this amount is pending until it is completed.
pub(crate) const PENDING: i64 = 11;
/// A confirm or cancel of this amount panics.
pub(crate) const UNLUCKY: i64 = 13;
/// A cancel of this amount is refused.
pub(crate) const STUBBORN: i64 = 17;

handlers!(SeaOrm, Transaction, in_database, balance_in_database);
handlers!(Memory<Model>, MemoryTx<Model>, in_model, balance_in_model);

/// Account 1 has this much at first.
pub(crate) const FIRST: i64 = 100;

pub(crate) struct OnDatabase {
    pub(crate) service: Service<Accounts>,
    pub(crate) clock: TestClock,
    pub(crate) url: String,
    pub(crate) place: Place,
}

pub(crate) async fn on(place: &Place) -> OnDatabase {
    let url = place.url();
    let database = SeaOrm::open(&url).await.unwrap();
    run(&database, "CREATE TABLE accounts (id BIGINT PRIMARY KEY, available BIGINT NOT NULL, held BIGINT NOT NULL)")
        .await;
    run(&database, &format!("INSERT INTO accounts VALUES (1, {FIRST}, 0)")).await;
    let clock = TestClock::default();
    let service = Service::builder("accounts", database, Accounts)
        .clock(clock.clone())
        .tcc::<Hold>()
        .compensable::<Debit>()
        .retriable::<Credit>()
        .read::<Look>()
        .build()
        .unwrap();
    OnDatabase { service, clock, url, place: place.clone() }
}

pub(crate) async fn on_sqlite() -> OnDatabase {
    on(&Place::folder()).await
}

pub(crate) struct OnMemory {
    pub(crate) service: Service<Accounts, Memory<Model>>,
    pub(crate) clock: TestClock,
}

pub(crate) fn on_memory() -> OnMemory {
    let clock = TestClock::default();
    let service = Service::builder("accounts", Memory::new(Model::from([(1, (FIRST, 0))])), Accounts)
        .clock(clock.clone())
        .tcc::<Hold>()
        .compensable::<Debit>()
        .retriable::<Credit>()
        .read::<Look>()
        .build()
        .unwrap();
    OnMemory { service, clock }
}

pub(crate) async fn seen(database: &SeaOrm) -> String {
    let sql = "SELECT available, held FROM accounts WHERE id = 1";
    let select = statement(database.reader().get_database_backend(), sql, &[]);
    let row = database.reader().query_one_raw(select).await.unwrap().unwrap();
    let (available, held): (i64, i64) = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
    format!("available {available}, held {held}")
}

pub(crate) async fn seen_in_memory(database: &Memory<Model>) -> String {
    database.look(|model| format!("available {}, held {}", model[&1].0, model[&1].1)).await
}

pub(crate) async fn subject_on(place: &Place) -> Subject {
    let OnDatabase { service, place, .. } = on(place).await;
    let database = service.database().clone();
    let observe = move || {
        let database = database.clone();
        async move { seen(&database).await }
    };
    Subject::new(service, observe).keeping(place)
}

pub(crate) async fn subject_in_memory() -> Subject {
    let OnMemory { service, .. } = on_memory();
    let database = service.database().clone();
    let observe = move || {
        let database = database.clone();
        async move { seen_in_memory(&database).await }
    };
    Subject::new(service, observe)
}
