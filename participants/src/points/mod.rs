//! Points: granted by a payment, spent on an order; a refund freezes its share of the grant, takes it, and gives the spent back.

mod level;
mod spend;

pub use level::{Level, level};
pub use spend::{SomePoints, SpendPoints, Spending, WorthOfPoints};

use crate::{
    db::{Changing, create, insert_new, plus, states, table, to},
    equation::{Violation, must_equal, must_not_be_negative, sums},
    ids::{OrderId, RefundId, UserId},
    money::{Minor, Money},
    refusals::duplicate,
    shares::{self, Granting, Hold, OnSpent, Shares, TakeBack, TakenBack},
};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction, retry};

/// `points.take_back/1`: freeze what the order granted, take it; the points spent on the order go back in proportion.
pub struct TakePointsBack;

impl Operation for TakePointsBack {
    const NAME: &'static str = "points.take_back/1";
    type Kind = kind::Tcc;
    type Request = TakeBack;
    type Reply = TakenBack;
}

/// `points.grant/1`: the points that a payment earns.
pub struct GrantPoints;

impl Operation for GrantPoints {
    const NAME: &'static str = "points.grant/1";
    type Kind = kind::Retriable;
    type Request = Grant;
    type Reply = Granting;
}

/// What a payment earns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// The order whose payment earns them.
    pub order: OrderId,
    /// Who.
    pub user: UserId,
    /// How many, above zero.
    pub points: u32,
}

/// The participant: it knows what a point is worth.
pub struct Points {
    /// Minor units of the order's currency that one point is worth where one that was spent must be deducted.
    pub minor_per_point: i64,
}

impl Tcc<TakePointsBack> for Points {
    async fn try_(&self, tx: &Transaction, _: &Call, request: TakeBack) -> Outcome<TakenBack> {
        freeze(tx, request, self.minor_per_point).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: TakeBack, _: TakenBack) -> Outcome<()> {
        take(tx, request).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: TakeBack, _: Option<TakenBack>) -> Outcome<()> {
        unfreeze(tx, request).await
    }
}

impl Retriable<GrantPoints> for Points {
    async fn execute(&self, tx: &Transaction, _: &Call, request: Grant) -> Outcome<Granting> {
        grant(tx, request).await
    }
}

table! {
    /// Each buyer's points.
    account "point_accounts" {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: String,
        balance: i64,
        frozen: i64,
    }
}

table! {
    /// What an order granted and cost in points. Without a grant the row is the mark of a refund that came before it.
    order "point_orders" {
        #[sea_orm(primary_key, auto_increment = false)]
        order_id: String,
        user_id: String,
        granted: Option<i64>,
        taken: i64,
        frozen: i64,
        spent: i64,
        given_back: i64,
    }
}

table! {
    /// The refunds that hold, or held, points.
    refund "point_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        refund_id: String,
        #[sea_orm(indexed)]
        order_id: String,
        part: i64,
        frozen: i64,
        short: i64,
        state: Hold,
    }
}

table! {
    /// Every change of an account, for good.
    movement "point_movements" {
        #[sea_orm(primary_key)]
        id: i64,
        #[sea_orm(indexed)]
        user_id: String,
        order_id: String,
        why: Why,
        points: i64,
    }
}

states! {
    /// Why points moved.
    pub(crate) enum Why {
        /// From elsewhere.
        Opening = "opening",
        /// Earned by a payment.
        Granted = "granted",
        /// Spent on an order.
        Spent = "spent",
        /// Taken back by a refund.
        Taken = "taken",
        /// Given back by a refund.
        GivenBack = "given_back",
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    shares::ensure_schema(db).await?;
    create(db, account::Entity).await?;
    create(db, order::Entity).await?;
    create(db, refund::Entity).await?;
    create(db, movement::Entity).await
}

async fn freeze(db: &impl ConnectionTrait, request: TakeBack, minor_per_point: i64) -> Outcome<TakenBack> {
    let all = shares::hold(db, &request).await?;
    let row = entered(db, &request.order, &request.user).await?;
    let due = match row.granted {
        Some(granted) => Ord::max(all.of_all(granted)? - row.taken - claimed(db, &request.order).await?, 0),
        None => 0,
    };
    let balance = account::Entity::find_by_id(request.user.as_str()).one(db).await?.map_or(0, |a| a.balance);
    let frozen = Ord::min(due, Ord::max(balance, 0));
    let short = due - frozen;
    if short > 0 && request.on_spent == OnSpent::Refuse {
        let message = format!("{short} of the {due} points to take back are spent already");
        return Err(Refusal::new("points_spent", message).into());
    }
    shift(db, &request.user, frozen).await?;
    let row = refund::Model {
        refund_id: request.refund.to_string(),
        order_id: request.order.to_string(),
        part: request.part.minor.0,
        frozen,
        short,
        state: Hold::Held,
    };
    if !insert_new(db, row).await? {
        return Err(duplicate(&request.refund).into());
    }
    let deduct = Minor(minor_per_point).times(short).map_err(Refusal::from)?;
    Ok(TakenBack { deduct: Money { minor: deduct, ..request.part } })
}

/// The order's row, made as a mark when no grant has come yet.
async fn entered(db: &impl ConnectionTrait, id: &OrderId, user: &UserId) -> Result<order::Model, DbErr> {
    let mark = order::Model {
        order_id: id.to_string(),
        user_id: user.to_string(),
        granted: None,
        taken: 0,
        frozen: 0,
        spent: 0,
        given_back: 0,
    };
    insert_new(db, mark).await?;
    read(db, id).await
}

async fn read(db: &impl ConnectionTrait, id: &OrderId) -> Result<order::Model, DbErr> {
    let row = order::Entity::find_by_id(id.as_str()).one(db).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(format!("the points of order {id}")))
}

/// The points of the grant that refunds hold, or that were deducted from their money; those taken are in the order's row.
async fn claimed(db: &impl ConnectionTrait, id: &OrderId) -> Result<i64, DbErr> {
    let refunds = refund::Entity::find()
        .filter(refund::Column::OrderId.eq(id.as_str()))
        .filter(refund::Column::State.ne(Hold::Released))
        .all(db)
        .await?;
    let frozen = |r: &refund::Model| if r.state == Hold::Held { r.frozen } else { 0 };
    Ok(refunds.iter().map(|r| frozen(r) + r.short).sum())
}

/// From the balance to the frozen points, never below zero.
async fn shift(db: &impl ConnectionTrait, user: &UserId, points: i64) -> Outcome<()> {
    let moved = account::Entity::update_many()
        .changing([plus(account::Column::Balance, -points), plus(account::Column::Frozen, points)])
        .filter(account::Column::UserId.eq(user.as_str()))
        .filter(account::Column::Balance.gte(points))
        .filter(Expr::col(account::Column::Frozen).gte(-points))
        .exec(db)
        .await?;
    if points == 0 || moved.rows_affected == 1 { Ok(()) } else { retry("the points were spent meanwhile") }
}

async fn take(db: &impl ConnectionTrait, request: TakeBack) -> Outcome<()> {
    let Some(mine) = moved(db, &request.refund, Hold::Confirmed).await? else { return Ok(()) };
    let all = shares::confirm(db, &request.order, request.part.minor).await?;
    let row = read(db, &request.order).await?;
    account::Entity::update_many()
        .changing([plus(account::Column::Frozen, -mine.frozen)])
        .filter(account::Column::UserId.eq(request.user.as_str()))
        .exec(db)
        .await?;
    record(db, &request.user, &request.order, Why::Taken, -mine.frozen).await?;
    let back = all.of_confirmed(row.spent)? - row.given_back;
    order::Entity::update_many()
        .changing([plus(order::Column::Taken, mine.frozen), plus(order::Column::GivenBack, back)])
        .filter(order::Column::OrderId.eq(request.order.as_str()))
        .exec(db)
        .await?;
    credit(db, &request.user, &request.order, Why::GivenBack, back).await?;
    Ok(())
}

async fn unfreeze(db: &impl ConnectionTrait, request: TakeBack) -> Outcome<()> {
    let Some(mine) = moved(db, &request.refund, Hold::Released).await? else { return Ok(()) };
    shares::release(db, &request.order, request.part.minor).await?;
    account::Entity::update_many()
        .changing([plus(account::Column::Balance, mine.frozen), plus(account::Column::Frozen, -mine.frozen)])
        .filter(account::Column::UserId.eq(request.user.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

/// Moves the refund's hold out of *held*; nothing when it was moved before.
async fn moved(db: &impl ConnectionTrait, id: &RefundId, state: Hold) -> Result<Option<refund::Model>, DbErr> {
    let moved = refund::Entity::update_many()
        .changing([to(refund::Column::State, state)])
        .filter(refund::Column::RefundId.eq(id.as_str()))
        .filter(refund::Column::State.eq(Hold::Held))
        .exec(db)
        .await?;
    if moved.rows_affected == 0 {
        return Ok(None);
    }
    refund::Entity::find_by_id(id.as_str()).one(db).await
}

/// Adds to the balance and books why; the account is made when it is not there.
async fn credit(db: &impl ConnectionTrait, user: &UserId, order: &OrderId, why: Why, points: i64) -> Result<(), DbErr> {
    insert_new(db, account::Model { user_id: user.to_string(), balance: 0, frozen: 0 }).await?;
    account::Entity::update_many()
        .changing([plus(account::Column::Balance, points)])
        .filter(account::Column::UserId.eq(user.as_str()))
        .exec(db)
        .await?;
    record(db, user, order, why, points).await
}

async fn record(db: &impl ConnectionTrait, user: &UserId, order: &OrderId, why: Why, points: i64) -> Result<(), DbErr> {
    if points == 0 {
        return Ok(());
    }
    let mut row = movement::Model { id: 0, user_id: user.to_string(), order_id: order.to_string(), why, points }
        .into_active_model();
    row.id = sea_orm::NotSet;
    movement::Entity::insert(row).exec_without_returning(db).await.map(drop)
}

/// Grants an order's points. What refunds that came before hold of it begins frozen, what they took never arrives.
async fn grant(db: &impl ConnectionTrait, request: Grant) -> Outcome<Granting> {
    let granted = i64::from(request.points);
    entered(db, &request.order, &request.user).await?;
    let first = order::Entity::update_many()
        .changing([to(order::Column::Granted, granted)])
        .filter(order::Column::OrderId.eq(request.order.as_str()))
        .filter(order::Column::Granted.is_null())
        .exec(db)
        .await?;
    if first.rows_affected == 0 {
        return Ok(Granting::Granted);
    }
    credit(db, &request.user, &request.order, Why::Granted, granted).await?;
    let Some(all) = shares::of(db, &request.order).await? else { return Ok(Granting::Granted) };
    let taken = all.of_confirmed(granted)?;
    credit(db, &request.user, &request.order, Why::Taken, -taken).await?;
    order::Entity::update_many()
        .changing([plus(order::Column::Taken, taken)])
        .filter(order::Column::OrderId.eq(request.order.as_str()))
        .exec(db)
        .await?;
    let frozen = freeze_marked(db, &request, all, granted).await?;
    Ok(if taken + frozen == granted { Granting::Stopped } else { Granting::Granted })
}

/// Gives each refund that is held its share of a grant that came after it.
async fn freeze_marked(db: &impl ConnectionTrait, request: &Grant, all: Shares, granted: i64) -> Outcome<i64> {
    let held = refund::Entity::find()
        .filter(refund::Column::OrderId.eq(request.order.as_str()))
        .filter(refund::Column::State.eq(Hold::Held))
        .order_by_asc(refund::Column::RefundId)
        .all(db)
        .await?;
    let (mut parts, mut before) = (Minor(0), all.of_confirmed(granted)?);
    let mut frozen = 0;
    for row in held {
        parts = parts.plus(Minor(row.part)).map_err(Refusal::from)?;
        let so_far = all.of_confirmed_and(parts, granted)?;
        let share = so_far - before;
        before = so_far;
        frozen += share;
        shift(db, &request.user, share).await?;
        refund::Entity::update_many()
            .changing([to(refund::Column::Frozen, share)])
            .filter(refund::Column::RefundId.eq(&row.refund_id))
            .exec(db)
            .await?;
    }
    Ok(frozen)
}

/// Gives a buyer points from elsewhere.
///
/// # Errors
/// When the database fails.
pub async fn seed_balance(db: &impl ConnectionTrait, user: &UserId, points: u32) -> Result<(), DbErr> {
    credit(db, user, &OrderId::stored("-"), Why::Opening, i64::from(points)).await
}

/// Spends points on an order, given for it, and grants those that its payment earned, as its saga would have; nothing when the
/// order is known.
///
/// # Errors
/// When the database fails.
pub async fn seed_sale(db: &impl ConnectionTrait, user: &UserId, id: &OrderId, costs: u32, earns: u32) -> Outcome<()> {
    if order::Entity::find_by_id(id.as_str()).one(db).await?.is_some() {
        return Ok(());
    }
    seed_balance(db, user, costs).await?;
    spend(db, user, id, costs).await?;
    grant(db, Grant { order: id.clone(), user: user.clone(), points: earns }).await?;
    Ok(())
}

/// Spends points of the buyer's balance on an order.
///
/// # Errors
/// A refusal when the balance is too small.
pub async fn spend(db: &impl ConnectionTrait, user: &UserId, id: &OrderId, costs: u32) -> Outcome<()> {
    let points = i64::from(costs);
    entered(db, id, user).await?;
    let spent = account::Entity::update_many()
        .changing([plus(account::Column::Balance, -points)])
        .filter(account::Column::UserId.eq(user.as_str()))
        .filter(account::Column::Balance.gte(points))
        .exec(db)
        .await?;
    if spent.rows_affected != 1 {
        return Err(spend::too_few(user, costs).into());
    }
    order::Entity::update_many()
        .changing([plus(order::Column::Spent, points)])
        .filter(order::Column::OrderId.eq(id.as_str()))
        .exec(db)
        .await?;
    record(db, user, id, Why::Spent, -points).await?;
    Ok(())
}

/// All buyers' points, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PointLedger {
    /// To be spent.
    pub balance: i64,
    /// Held by refunds, and by orders that are not paid.
    pub frozen: i64,
    /// Earned by payments.
    pub granted: i64,
    /// Taken back by refunds.
    pub taken: i64,
    /// Spent on orders.
    pub spent: i64,
    /// Of these, given back by refunds.
    pub given_back: i64,
    /// Points to take back that were spent already, and deducted from the money.
    pub deducted: i64,
    /// Refunds that still hold something, were it only a mark, and orders that are not paid.
    pub holds: u64,
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<PointLedger, DbErr> {
    let mut ledger = PointLedger::default();
    for row in account::Entity::find().all(db).await? {
        ledger.balance += row.balance;
        ledger.frozen += row.frozen;
    }
    for row in order::Entity::find().all(db).await? {
        ledger.granted += row.granted.unwrap_or(0);
        ledger.taken += row.taken;
        ledger.spent += row.spent;
        ledger.given_back += row.given_back;
        ledger.holds += u64::from(row.frozen > 0);
    }
    for row in refund::Entity::find().all(db).await? {
        ledger.holds += u64::from(row.state == Hold::Held);
        ledger.deducted += if row.state == Hold::Confirmed { row.short } else { 0 };
    }
    Ok(ledger)
}

/// What accounts hold is what their movements say; what is frozen is what refunds and unpaid orders hold.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    let refunds = refund::Entity::find().all(db).await?;
    let parts: Vec<_> = refunds.iter().map(|r| (r.order_id.clone(), r.part, r.state)).collect();
    shares::check(db, "points", &parts).await?;
    let moved = sums(movement::Entity::find().all(db).await?.into_iter().map(|m| (m.user_id, m.points)));
    let orders = order::Entity::find().all(db).await?;
    let owner: BTreeMap<_, _> = orders.iter().map(|o| (&o.order_id, &o.user_id)).collect();
    let held = refunds.iter().filter(|r| r.state == Hold::Held);
    let held = held.filter_map(|r| Some(((*owner.get(&r.order_id)?).clone(), r.frozen)));
    let held = sums(held.chain(orders.iter().map(|o| (o.user_id.clone(), o.frozen))));
    for row in account::Entity::find().all(db).await? {
        let name = |what: &str| format!("points of {}: {what}", row.user_id);
        let of = |sums: &BTreeMap<String, i64>| sums.get(&row.user_id).copied().unwrap_or(0);
        must_equal(name("balance + frozen = movements"), row.balance + row.frozen, of(&moved))?;
        must_equal(name("frozen = held by refunds and orders"), row.frozen, of(&held))?;
        must_not_be_negative(name("balance"), row.balance)?;
    }
    for row in &orders {
        let name = |what: &str| format!("points of order {}: {what}", row.order_id);
        must_not_be_negative(name("granted - taken"), row.granted.unwrap_or(0) - row.taken)?;
        must_not_be_negative(name("frozen"), row.frozen)?;
        must_not_be_negative(name("spent - given back"), row.spent - row.given_back)?;
    }
    Ok(())
}
