//! The warehouse: told to ship an order, and to stop what has not left; a stop may come before the order to ship.

use crate::{
    db::{Changing, create, insert_new, plus, states, table, to},
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, Sku},
    lines::{OrderLines, RefundLines, by_sku},
    refusals::duplicate,
    shares::Hold,
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::{Cond, Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction};

/// `warehouse.stop/1`: intercept goods that have not shipped, stop them for good, or let them go.
pub struct Stop;

impl Operation for Stop {
    const NAME: &'static str = "warehouse.stop/1";
    type Kind = kind::Tcc;
    type Request = RefundLines;
    type Reply = ();
}

/// `warehouse.ship/1`: the order to ship.
pub struct Ship;

impl Operation for Ship {
    const NAME: &'static str = "warehouse.ship/1";
    type Kind = kind::Retriable;
    type Request = OrderLines;
    type Reply = Shipping;
}

/// What became of an order to ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shipping {
    /// It, or what refunds left of it, will leave.
    Accepted,
    /// Refunds came before it: nothing leaves. If one that is not decided yet is cancelled, its goods leave then.
    Stopped,
}

/// The participant.
pub struct Warehouse;

impl Tcc<Stop> for Warehouse {
    async fn try_(&self, tx: &Transaction, _: &Call, request: RefundLines) -> Outcome<()> {
        intercept(tx, &request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: RefundLines, (): ()) -> Outcome<()> {
        end(tx, &request, Hold::Confirmed).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: RefundLines, _: Option<()>) -> Outcome<()> {
        end(tx, &request, Hold::Released).await
    }
}

impl Retriable<Ship> for Warehouse {
    async fn execute(&self, tx: &Transaction, _: &Call, request: OrderLines) -> Outcome<Shipping> {
        ship(tx, &request).await
    }
}

table! {
    /// What is to leave, or left. Before the order to ship the row is the mark of a stop that came first.
    shipment "shipments" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        told: bool,
        shipped: bool,
        stops: i64,
    }
}

table! {
    /// Its goods. The quantity is unknown before the order to ship.
    goods "shipment_goods" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        quantity: Option<i64>,
        stopping: i64,
        stopped: i64,
    }
}

table! {
    /// The refunds that stop, or stopped, goods.
    stop "shipment_stops" {
        #[sea_orm(primary_key, auto_increment = false)]
        refund_id: String,
        #[sea_orm(indexed)]
        order_id: String,
        state: Hold,
    }
}

states! {
    /// Where a shipment stands.
    pub enum Shipped {
        /// A refund came before the order to ship.
        Marked = "marked",
        /// It will leave.
        Waiting = "waiting",
        /// A refund that is not decided holds it.
        Intercepted = "intercepted",
        /// Nothing of it is left to leave.
        Stopped = "stopped",
        /// It has left.
        Shipped = "shipped",
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, shipment::Entity).await?;
    create(db, goods::Entity).await?;
    create(db, stop::Entity).await
}

async fn enter(db: &impl ConnectionTrait, order: &OrderId) -> Result<(), DbErr> {
    let row = shipment::Model { order_id: order.to_string(), told: false, shipped: false, stops: 0 };
    insert_new(db, row).await.map(drop)
}

async fn intercept(db: &impl ConnectionTrait, request: &RefundLines) -> Outcome<()> {
    enter(db, &request.order).await?;
    let caught = shipment::Entity::update_many()
        .changing([plus(shipment::Column::Stops, 1)])
        .filter(shipment::Column::OrderId.eq(request.order.as_str()))
        .filter(shipment::Column::Shipped.eq(false))
        .exec(db)
        .await?;
    if caught.rows_affected != 1 {
        return Err(Refusal::new("shipped", format!("the goods of order {} have left", request.order)).into());
    }
    let row =
        stop::Model { refund_id: request.refund.to_string(), order_id: request.order.to_string(), state: Hold::Held };
    if !insert_new(db, row).await? {
        return Err(duplicate(&request.refund).into());
    }
    for (sku, quantity) in by_sku(&request.lines)? {
        stop_one(db, &request.order, sku, quantity).await?;
    }
    Ok(())
}

async fn stop_one(db: &impl ConnectionTrait, order: &OrderId, sku: &Sku, quantity: i64) -> Outcome<()> {
    let told = shipment::Entity::find_by_id(order.as_str()).one(db).await?.is_some_and(|row| row.told);
    if !told {
        insert_new(db, fresh(order, sku, None)).await?;
    }
    let fits = Expr::col(goods::Column::Stopping)
        .add(Expr::col(goods::Column::Stopped))
        .add(quantity)
        .lte(Expr::col(goods::Column::Quantity));
    let stopping = of(order, sku)
        .changing([plus(goods::Column::Stopping, quantity)])
        .filter(Cond::any().add(goods::Column::Quantity.is_null()).add(fits))
        .exec(db)
        .await?;
    if stopping.rows_affected == 1 {
        return Ok(());
    }
    let row = goods::Entity::find_by_id((order.to_string(), sku.to_string())).one(db).await?;
    let left = row.map_or(0, |r| r.quantity.unwrap_or(0) - r.stopping - r.stopped);
    Err(Refusal::new("above_ordered", format!("{quantity} of {sku} to stop, {left} to leave for {order}")).into())
}

fn fresh(order: &OrderId, sku: &Sku, quantity: Option<i64>) -> goods::Model {
    goods::Model { order_id: order.to_string(), sku: sku.to_string(), quantity, stopping: 0, stopped: 0 }
}

fn of(order: &OrderId, sku: &Sku) -> sea_orm::UpdateMany<goods::Entity> {
    goods::Entity::update_many()
        .filter(goods::Column::OrderId.eq(order.as_str()))
        .filter(goods::Column::Sku.eq(sku.as_str()))
}

async fn end(db: &impl ConnectionTrait, request: &RefundLines, as_: Hold) -> Outcome<()> {
    let moved = stop::Entity::update_many()
        .changing([to(stop::Column::State, as_)])
        .filter(stop::Column::RefundId.eq(request.refund.as_str()))
        .filter(stop::Column::State.eq(Hold::Held))
        .exec(db)
        .await?;
    if moved.rows_affected == 0 {
        return Ok(());
    }
    shipment::Entity::update_many()
        .changing([plus(shipment::Column::Stops, -1)])
        .filter(shipment::Column::OrderId.eq(request.order.as_str()))
        .exec(db)
        .await?;
    for (sku, quantity) in by_sku(&request.lines)? {
        let stopped = if as_ == Hold::Confirmed { quantity } else { 0 };
        let moves = [plus(goods::Column::Stopping, -quantity), plus(goods::Column::Stopped, stopped)];
        of(&request.order, sku).changing(moves).exec(db).await?;
    }
    Ok(())
}

/// Keeps the order to ship, and says whether anything of it will leave as things stand.
async fn ship(db: &impl ConnectionTrait, request: &OrderLines) -> Outcome<Shipping> {
    enter(db, &request.order).await?;
    let told = shipment::Entity::update_many()
        .changing([to(shipment::Column::Told, true)])
        .filter(shipment::Column::OrderId.eq(request.order.as_str()))
        .filter(shipment::Column::Told.eq(false))
        .exec(db)
        .await?;
    if told.rows_affected == 1 {
        for (sku, quantity) in by_sku(&request.lines)? {
            insert_new(db, fresh(&request.order, sku, None)).await?;
            of(&request.order, sku).changing([to(goods::Column::Quantity, quantity)]).exec(db).await?;
        }
    }
    let left = rows_of(db, &request.order).await?.iter().any(|r| r.quantity.unwrap_or(0) > r.stopping + r.stopped);
    Ok(if left { Shipping::Accepted } else { Shipping::Stopped })
}

async fn rows_of(db: &impl ConnectionTrait, order: &OrderId) -> Result<Vec<goods::Model>, DbErr> {
    goods::Entity::find().filter(goods::Column::OrderId.eq(order.as_str())).all(db).await
}

/// The goods leave: those that no refund has stopped.
///
/// # Errors
/// A refusal with the shipment's state when it is not told to, a refund holds it, nothing is left of it, or it has left.
pub async fn dispatch(db: &impl ConnectionTrait, order: &OrderId) -> Outcome<()> {
    let state = state(db, order).await?;
    if state == Some(Shipped::Waiting) {
        let left = shipment::Entity::update_many()
            .changing([to(shipment::Column::Shipped, true)])
            .filter(shipment::Column::OrderId.eq(order.as_str()))
            .filter(shipment::Column::Told.eq(true))
            .filter(shipment::Column::Shipped.eq(false))
            .filter(shipment::Column::Stops.eq(0))
            .exec(db)
            .await?;
        if left.rows_affected == 1 {
            return Ok(());
        }
    }
    let state = state.map_or("not known", Shipped::as_str);
    Err(Refusal::new("cannot_leave", format!("the shipment of order {order} is {state}")).into())
}

/// Where the order's shipment stands, once the warehouse heard of it.
///
/// # Errors
/// When the database fails.
pub async fn state(db: &impl ConnectionTrait, order: &OrderId) -> Result<Option<Shipped>, DbErr> {
    let Some(row) = shipment::Entity::find_by_id(order.as_str()).one(db).await? else { return Ok(None) };
    let goods = rows_of(db, order).await?;
    Ok(Some(state_of(&row, &goods)))
}

fn state_of(row: &shipment::Model, goods: &[goods::Model]) -> Shipped {
    let left = goods.iter().any(|r| r.quantity.unwrap_or(0) > r.stopped);
    match (row.told, row.shipped, row.stops > 0, left) {
        (false, ..) => Shipped::Marked,
        (_, true, ..) => Shipped::Shipped,
        (_, _, true, _) => Shipped::Intercepted,
        (_, _, _, true) => Shipped::Waiting,
        (_, _, _, false) => Shipped::Stopped,
    }
}

/// Keeps an order to ship, as the long chain after the payment would have.
///
/// # Errors
/// When the database fails.
pub async fn seed_told(db: &impl ConnectionTrait, request: &OrderLines) -> Outcome<Shipping> {
    ship(db, request).await
}

/// The shipments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShipmentLedger {
    /// How many stand where.
    pub shipments: BTreeMap<String, u64>,
    /// Pieces that refunds have stopped.
    pub stopped: i64,
    /// Refunds that still hold a shipment.
    pub holds: u64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<ShipmentLedger, DbErr> {
    let mut ledger = ShipmentLedger::default();
    let by_order = goods_by_order(db).await?;
    for row in shipment::Entity::find().all(db).await? {
        let goods = by_order.get(&row.order_id).map_or(&[][..], Vec::as_slice);
        *ledger.shipments.entry(state_of(&row, goods).as_str().to_owned()).or_default() += 1;
        ledger.stopped += goods.iter().map(|r| r.stopped).sum::<i64>();
    }
    let held = stop::Entity::find().filter(stop::Column::State.eq(Hold::Held)).all(db).await?;
    ledger.holds = u64::try_from(held.len()).unwrap_or(u64::MAX);
    Ok(ledger)
}

async fn goods_by_order(db: &impl ConnectionTrait) -> Result<BTreeMap<String, Vec<goods::Model>>, DbErr> {
    let mut by_order: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in goods::Entity::find().all(db).await? {
        by_order.entry(row.order_id.clone()).or_default().push(row);
    }
    Ok(by_order)
}

/// No more is stopped than was to leave, a shipment is held by exactly the stops that are, and nothing left that was held.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let open = stop::Entity::find().filter(stop::Column::State.eq(Hold::Held)).all(db).await?;
    let held = sums(open.into_iter().map(|row| (row.order_id, 1)));
    let goods = goods_by_order(db).await?;
    for row in shipment::Entity::find().all(db).await? {
        let name = |what: &str| format!("shipment of order {}: {what}", row.order_id);
        must_equal(name("stops = refunds that hold it"), row.stops, held.get(&row.order_id).copied().unwrap_or(0))?;
        must_equal(name("shipped while held"), i64::from(row.shipped && row.stops > 0), 0)?;
        for line in goods.get(&row.order_id).into_iter().flatten() {
            must_not_be_negative(name("stopping"), line.stopping)?;
            let left = line.quantity.map_or(0, |quantity| quantity - line.stopping - line.stopped);
            must_not_be_negative(name("left to leave"), left)?;
        }
    }
    Ok(())
}
