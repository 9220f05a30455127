//! A saga of one's own: a party gets its seats and its meals at the restaurant, or neither.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{process::ExitCode, sync::Arc};
use tercet::{
    Registry, Tercet,
    cli::{Failure, Hosted},
    config::Config,
    core::{Definition, Participant, Saga},
};
use tercet_participant::{
    Call, Operation, Outcome, SeaOrm, Service, Tcc, Transaction, kind, refuse,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

#[cfg(test)]
mod tests;

/// What can be asked: hold some of what the restaurant has, until the saga has decided.
struct Hold;

impl Operation for Hold {
    const NAME: &'static str = "restaurant.hold/1";
    type Kind = kind::Tcc;
    type Request = Pieces;
    type Reply = Held;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Pieces {
    item: String,
    pieces: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Held {
    pieces: u32,
}

/// Who answers. Each verb is one transaction on the restaurant's own database, together with the barrier's row.
struct Restaurant;

impl Tcc<Hold> for Restaurant {
    async fn try_(&self, tx: &Transaction, _: &Call, asked: Pieces) -> Outcome<Held> {
        let hold = "UPDATE stock SET free = free - $1, held = held + $1 WHERE item = $2 AND free >= $1";
        match change(tx, hold, &asked).await? {
            1 => Ok(Held { pieces: asked.pieces }),
            _ => refuse("too_few", format!("fewer than {} {} are left", asked.pieces, asked.item))?,
        }
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, asked: Pieces, _: Held) -> Outcome<()> {
        change(tx, "UPDATE stock SET held = held - $1, sold = sold + $1 WHERE item = $2", &asked).await?;
        Ok(())
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, asked: Pieces, _: Option<Held>) -> Outcome<()> {
        change(tx, "UPDATE stock SET held = held - $1, free = free + $1 WHERE item = $2", &asked).await?;
        Ok(())
    }
}

/// Says how many rows were changed.
async fn change(tx: &Transaction, sql: &str, of: &Pieces) -> Outcome<u64> {
    let values = [of.pieces.into(), of.item.as_str().into()];
    Ok(tx.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?.rows_affected())
}

/// The restaurant on its database, which is stocked when it is new.
async fn restaurant(database: &SeaOrm) -> Result<Arc<dyn Participant>, Failure> {
    let table = "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, free INTEGER, held INTEGER, sold INTEGER)";
    database.writer().execute_unprepared(table).await?;
    let stock = "INSERT OR IGNORE INTO stock VALUES ('seats', 40, 0, 0), ('meals', 30, 0, 0)";
    database.writer().execute_unprepared(stock).await?;
    Ok(Arc::new(Service::builder("restaurant", database.clone(), Restaurant).tcc::<Hold>().build()?))
}

/// What the saga is started with.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Party {
    guests: u32,
}

/// The saga. `meals` reads what `seats` replied, and so comes after it; when it is refused, the seats are free again.
fn dinner() -> Definition<Party, Held> {
    let saga = Saga::<Party>::new("dinner", 1);
    let party = saga.input();
    let seats = saga.tcc("seats", Hold).request(party, |p| Pieces { item: "seats".to_owned(), pieces: p.guests });
    let meals = saga.tcc("meals", Hold).request(seats, |s| Pieces { item: "meals".to_owned(), pieces: s.pieces });
    saga.output(meals, |m| m)
}

/// The participants that `dev` and `serve` host in their process, with their databases in its folder.
async fn participants(config: Config) -> Result<Hosted, Failure> {
    let database = SeaOrm::sqlite(&config.participants().join("restaurant.db")).await?;
    Ok(Hosted::new(vec![restaurant(&database).await?]))
}

fn main() -> ExitCode {
    Tercet::new("own-saga").registry(Registry::new().with(dinner())).participants(participants).main()
}
