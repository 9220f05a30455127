//! Stock: reserved for an order by one conditional update, never below zero; a refund's goods come back when it is confirmed.

use crate::{
    db::{Changing, create, insert_new, plus, states, table, to},
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, Sku},
    lines::{Line, OrderLines, RefundLines, by_sku},
    refusals::missing,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use serde::Serialize;
use std::collections::BTreeMap;
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Tcc, Transaction};

/// `inventory.reserve/1`: hold stock for an order, sell it, or release it.
pub struct Reserve;

impl Operation for Reserve {
    const NAME: &'static str = "inventory.reserve/1";
    type Kind = kind::Tcc;
    type Request = OrderLines;
    type Reply = ();
}

/// `inventory.put_back/1`: goods of a refund come back; they can be sold again once it is confirmed.
pub struct PutBack;

impl Operation for PutBack {
    const NAME: &'static str = "inventory.put_back/1";
    type Kind = kind::Tcc;
    type Request = RefundLines;
    type Reply = ();
}

/// The participant.
pub struct Inventory;

impl Tcc<Reserve> for Inventory {
    async fn try_(&self, tx: &Transaction, _: &Call, request: OrderLines) -> Outcome<()> {
        reserve(tx, &request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: OrderLines, (): ()) -> Outcome<()> {
        end(tx, &request, Allocated::Sold, stock::Column::Sold).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: OrderLines, _: Option<()>) -> Outcome<()> {
        end(tx, &request, Allocated::Released, stock::Column::Available).await
    }
}

impl Tcc<PutBack> for Inventory {
    async fn try_(&self, tx: &Transaction, _: &Call, request: RefundLines) -> Outcome<()> {
        for (sku, quantity) in by_sku(&request.lines)? {
            expect_back(tx, &request.order, sku, quantity).await?;
        }
        Ok(())
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: RefundLines, (): ()) -> Outcome<()> {
        for (sku, quantity) in by_sku(&request.lines)? {
            put_back(tx, &request.order, sku, quantity).await?;
        }
        Ok(())
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: RefundLines, _: Option<()>) -> Outcome<()> {
        for (sku, quantity) in by_sku(&request.lines)? {
            let back = [plus(allocation::Column::Returning, -quantity)];
            of(&request.order, sku, allocation::Entity::update_many().changing(back)).exec(tx).await?;
        }
        Ok(())
    }
}

table! {
    /// The stock of each variant.
    stock "stock" {
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        stocked: i64,
        available: i64,
        held: i64,
        sold: i64,
    }
}

table! {
    /// What each order has of it.
    allocation "stock_allocations" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        quantity: i64,
        state: Allocated,
        returning: i64,
        returned: i64,
    }
}

states! {
    /// What became of an order's reservation.
    pub(crate) enum Allocated {
        /// It stands.
        Held = "held",
        /// The goods are the buyer's.
        Sold = "sold",
        /// It was given up.
        Released = "released",
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, stock::Entity).await?;
    create(db, allocation::Entity).await
}

fn of(
    order: &OrderId, sku: &Sku, update: sea_orm::UpdateMany<allocation::Entity>,
) -> sea_orm::UpdateMany<allocation::Entity> {
    update.filter(allocation::Column::OrderId.eq(order.as_str())).filter(allocation::Column::Sku.eq(sku.as_str()))
}

async fn reserve(db: &impl ConnectionTrait, request: &OrderLines) -> Outcome<()> {
    for (sku, quantity) in by_sku(&request.lines)? {
        let held = stock::Entity::update_many()
            .changing([plus(stock::Column::Available, -quantity), plus(stock::Column::Held, quantity)])
            .filter(stock::Column::Sku.eq(sku.as_str()))
            .filter(stock::Column::Available.gte(quantity))
            .exec(db)
            .await?;
        if held.rows_affected != 1 {
            return Err(short(db, sku, quantity).await?.into());
        }
        let row = allocation::Model {
            order_id: request.order.to_string(),
            sku: sku.to_string(),
            quantity,
            state: Allocated::Held,
            returning: 0,
            returned: 0,
        };
        if !insert_new(db, row).await? {
            let message = format!("the order {} holds or held {sku} already", request.order);
            return Err(Refusal::new("duplicate", message).into());
        }
    }
    Ok(())
}

async fn short(db: &impl ConnectionTrait, sku: &Sku, wanted: i64) -> Result<Refusal, DbErr> {
    Ok(match stock::Entity::find_by_id(sku.as_str()).one(db).await? {
        None => missing("no_variant", sku),
        Some(row) => Refusal::new("no_stock", format!("{wanted} of {sku} wanted, {} left", row.available)),
    })
}

/// Ends what the order holds, as sold or as released, and counts it in `into`.
async fn end(db: &impl ConnectionTrait, request: &OrderLines, as_: Allocated, into: stock::Column) -> Outcome<()> {
    for (sku, quantity) in by_sku(&request.lines)? {
        let moved = of(&request.order, sku, allocation::Entity::update_many())
            .changing([to(allocation::Column::State, as_)])
            .filter(allocation::Column::State.eq(Allocated::Held))
            .exec(db)
            .await?;
        if moved.rows_affected == 1 {
            stock::Entity::update_many()
                .changing([plus(stock::Column::Held, -quantity), plus(into, quantity)])
                .filter(stock::Column::Sku.eq(sku.as_str()))
                .exec(db)
                .await?;
        }
    }
    Ok(())
}

/// Counts goods as coming back, if the order bought that many and has not brought them back yet.
async fn expect_back(db: &impl ConnectionTrait, order: &OrderId, sku: &Sku, quantity: i64) -> Outcome<()> {
    let expected = of(order, sku, allocation::Entity::update_many())
        .changing([plus(allocation::Column::Returning, quantity)])
        .filter(allocation::Column::State.eq(Allocated::Sold))
        .filter(
            Expr::col(allocation::Column::Returning)
                .add(Expr::col(allocation::Column::Returned))
                .add(quantity)
                .lte(Expr::col(allocation::Column::Quantity)),
        )
        .exec(db)
        .await?;
    if expected.rows_affected == 1 {
        return Ok(());
    }
    let row = allocation::Entity::find_by_id((order.to_string(), sku.to_string())).one(db).await?;
    let left = row.filter(|r| r.state == Allocated::Sold).map_or(0, |r| r.quantity - r.returning - r.returned);
    Err(Refusal::new("above_sold", format!("{quantity} of {sku} to come back, {left} left of order {order}")).into())
}

async fn put_back(db: &impl ConnectionTrait, order: &OrderId, sku: &Sku, quantity: i64) -> Outcome<()> {
    let arrive = [plus(allocation::Column::Returning, -quantity), plus(allocation::Column::Returned, quantity)];
    of(order, sku, allocation::Entity::update_many().changing(arrive)).exec(db).await?;
    stock::Entity::update_many()
        .changing([plus(stock::Column::Sold, -quantity), plus(stock::Column::Available, quantity)])
        .filter(stock::Column::Sku.eq(sku.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

/// Takes pieces into stock.
///
/// # Errors
/// When the database fails.
pub async fn seed_stock(db: &impl ConnectionTrait, line: &Line) -> Result<(), DbErr> {
    let row = stock::Model { sku: line.sku.to_string(), stocked: 0, available: 0, held: 0, sold: 0 };
    insert_new(db, row).await?;
    let pieces = i64::from(line.quantity);
    stock::Entity::update_many()
        .changing([plus(stock::Column::Stocked, pieces), plus(stock::Column::Available, pieces)])
        .filter(stock::Column::Sku.eq(line.sku.as_str()))
        .exec(db)
        .await
        .map(drop)
}

/// Takes an order's goods into stock and sells them, as its saga would have; nothing when the order is known.
///
/// # Errors
/// A refusal for lines that are none.
pub async fn seed_sold(db: &impl ConnectionTrait, request: &OrderLines) -> Outcome<()> {
    let known = allocation::Entity::find().filter(allocation::Column::OrderId.eq(request.order.as_str()));
    if known.one(db).await?.is_some() {
        return Ok(());
    }
    for line in &request.lines {
        seed_stock(db, line).await?;
    }
    reserve(db, request).await?;
    end(db, request, Allocated::Sold, stock::Column::Sold).await
}

/// All stock, in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StockLedger {
    /// Ever taken in.
    pub stocked: i64,
    /// To be sold.
    pub available: i64,
    /// Reserved by orders.
    pub held: i64,
    /// With buyers.
    pub sold: i64,
    /// Came back from refunds.
    pub returned: i64,
    /// Expected back by refunds that are not decided.
    pub returning: i64,
    /// Reservations of orders that are not paid.
    pub holds: u64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<StockLedger, DbErr> {
    let mut ledger = StockLedger::default();
    for row in stock::Entity::find().all(db).await? {
        ledger.stocked += row.stocked;
        ledger.available += row.available;
        ledger.held += row.held;
        ledger.sold += row.sold;
    }
    for row in allocation::Entity::find().all(db).await? {
        ledger.returned += row.returned;
        ledger.returning += row.returning;
        ledger.holds += u64::from(row.state == Allocated::Held);
    }
    Ok(ledger)
}

/// What was taken in is available, held or sold, and held and sold are what orders have.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let rows = allocation::Entity::find().all(db).await?;
    let of_state = |state| rows.iter().filter(move |r| r.state == state);
    let held = sums(of_state(Allocated::Held).map(|r| (r.sku.clone(), r.quantity)));
    let sold = sums(of_state(Allocated::Sold).map(|r| (r.sku.clone(), r.quantity - r.returned)));
    for row in stock::Entity::find().all(db).await? {
        let name = |what: &str| format!("stock of {}: {what}", row.sku);
        let of = |sums: &BTreeMap<String, i64>| sums.get(&row.sku).copied().unwrap_or(0);
        must_equal(name("stocked = available + held + sold"), row.stocked, row.available + row.held + row.sold)?;
        must_equal(name("held = held by orders"), row.held, of(&held))?;
        must_equal(name("sold = sold to orders"), row.sold, of(&sold))?;
        must_not_be_negative(name("available"), row.available)?;
    }
    for row in &rows {
        let name = |what: &str| format!("{} of order {}: {what}", row.sku, row.order_id);
        must_not_be_negative(name("returning"), row.returning)?;
        must_not_be_negative(name("left with the buyer"), row.quantity - row.returned - row.returning)?;
    }
    Ok(())
}
