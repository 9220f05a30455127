//! Coupons and red packets: what a payment grants is taken back with the last part of its refund, what was spent on the order
//! comes back then, and what the buyer has spent meanwhile is deducted in proportion.

use crate::{
    db::{Changing, create, insert_new, states, table, to},
    equation::{Violation, must_equal},
    ids::{OrderId, RefundId, UserId, VoucherId},
    money::{Currency, Minor, Money},
    refusals::duplicate,
    shares::{self, Granting, Hold, OnSpent, Shares, TakeBack, TakenBack},
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tercet_core::Refusal;
use tercet_participant::{Outcome, retry};

/// A voucher that a payment grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// The voucher's own id.
    pub voucher: VoucherId,
    /// The order whose payment grants it.
    pub order: OrderId,
    /// Who gets it.
    pub user: UserId,
    /// What it is worth.
    pub value: Money,
}

/// A voucher to be spent on an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spending {
    /// Which.
    pub voucher: VoucherId,
    /// The order.
    pub order: OrderId,
    /// Whose both are.
    pub user: UserId,
}

states! {
    /// Where a voucher stands.
    pub enum VoucherState {
        /// The buyer may spend it.
        Usable = "usable",
        /// A refund holds it.
        Frozen = "frozen",
        /// An order that is not paid yet holds it.
        Reserved = "reserved",
        /// It was spent on an order.
        Spent = "spent",
        /// A refund took it back.
        Taken = "taken",
    }
}

table! {
    /// The vouchers.
    voucher "vouchers" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        user_id: String,
        currency: String,
        value: i64,
        state: VoucherState,
        #[sea_orm(indexed)]
        granted_by: Option<String>,
        #[sea_orm(indexed)]
        spent_on: Option<String>,
    }
}

table! {
    /// Which refund holds which voucher.
    hold "voucher_holds" {
        #[sea_orm(primary_key, auto_increment = false)]
        refund_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        voucher_id: String,
    }
}

table! {
    /// The refunds that hold, or held, an order's vouchers.
    refund "voucher_refunds" {
        #[sea_orm(primary_key, auto_increment = false)]
        refund_id: String,
        #[sea_orm(indexed)]
        order_id: String,
        part: i64,
        deduct: i64,
        state: Hold,
    }
}

pub(crate) async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    shares::ensure_schema(db).await?;
    create(db, voucher::Entity).await?;
    create(db, hold::Entity).await?;
    create(db, refund::Entity).await
}

/// Freezes what the order's payment granted, or leaves the mark that stops a grant to come.
pub(crate) async fn freeze(db: &impl ConnectionTrait, request: TakeBack) -> Outcome<TakenBack> {
    let all = shares::hold(db, &request).await?;
    if let Some(row) = granted(db, &request.order, VoucherState::Reserved).await?.first() {
        let order = row.spent_on.as_deref().unwrap_or("another");
        return retry(format!("the voucher {} is held by order {order}, which is not paid yet", row.id));
    }
    let granted = voucher::Entity::find()
        .filter(voucher::Column::GrantedBy.eq(request.order.as_str()))
        .filter(voucher::Column::State.is_in([VoucherState::Usable, VoucherState::Frozen]))
        .all(db)
        .await?;
    for row in granted {
        hold_one(db, &request.refund, &row.id).await?;
    }
    let deduct = to_deduct(db, &request, all).await?;
    let row = refund::Model {
        refund_id: request.refund.to_string(),
        order_id: request.order.to_string(),
        part: request.part.minor.0,
        deduct: deduct.0,
        state: Hold::Held,
    };
    if !insert_new(db, row).await? {
        return Err(duplicate(&request.refund).into());
    }
    Ok(TakenBack { deduct: Money { minor: deduct, ..request.part } })
}

async fn hold_one(db: &impl ConnectionTrait, refund: &RefundId, voucher: &str) -> Outcome<()> {
    let frozen = voucher::Entity::update_many()
        .changing([to(voucher::Column::State, VoucherState::Frozen)])
        .filter(voucher::Column::Id.eq(voucher))
        .filter(voucher::Column::State.is_in([VoucherState::Usable, VoucherState::Frozen]))
        .exec(db)
        .await?;
    if frozen.rows_affected != 1 {
        return retry(format!("the voucher {voucher} was spent meanwhile"));
    }
    insert_new(db, hold::Model { refund_id: refund.to_string(), voucher_id: voucher.to_owned() }).await?;
    Ok(())
}

async fn granted(
    db: &impl ConnectionTrait, order: &OrderId, state: VoucherState,
) -> Result<Vec<voucher::Model>, DbErr> {
    let theirs = voucher::Entity::find().filter(voucher::Column::GrantedBy.eq(order.as_str()));
    theirs.filter(voucher::Column::State.eq(state)).all(db).await
}

/// The worth of granted vouchers that were spent meanwhile: this refund's share of it, by the request's policy.
async fn to_deduct(db: &impl ConnectionTrait, request: &TakeBack, all: Shares) -> Outcome<Minor> {
    let spent = granted(db, &request.order, VoucherState::Spent).await?;
    if let (Some(first), OnSpent::Refuse) = (spent.first(), request.on_spent) {
        let message = format!("{} that the order granted is spent already", first.id);
        return Err(Refusal::new("voucher_spent", message).into());
    }
    let worth = Minor::sum(spent.iter().map(|v| Minor(v.value))).map_err(Refusal::from)?;
    let before = refund::Entity::find()
        .filter(refund::Column::OrderId.eq(request.order.as_str()))
        .filter(refund::Column::State.ne(Hold::Released))
        .all(db)
        .await?;
    let before: i64 = before.iter().map(|r| r.deduct).sum();
    Ok(Minor((all.of_all(worth.0)? - before).max(0)))
}

/// The refund is final: with the last part what was granted is taken, and what was spent on the order comes back.
pub(crate) async fn take(db: &impl ConnectionTrait, request: TakeBack) -> Outcome<()> {
    if !moved(db, &request.refund, Hold::Confirmed).await? {
        return Ok(());
    }
    let all = shares::confirm(db, &request.order, request.part.minor).await?;
    let held = let_go(db, &request.refund).await?;
    if !all.is_whole() {
        return thaw(db, held).await;
    }
    // The last part: no other refund of this order can hold anything any more.
    voucher::Entity::update_many()
        .changing([to(voucher::Column::State, VoucherState::Taken)])
        .filter(voucher::Column::Id.is_in(held))
        .filter(voucher::Column::State.eq(VoucherState::Frozen))
        .exec(db)
        .await?;
    voucher::Entity::update_many()
        .changing([to(voucher::Column::State, VoucherState::Usable), to(voucher::Column::SpentOn, None::<String>)])
        .filter(voucher::Column::SpentOn.eq(request.order.as_str()))
        .filter(voucher::Column::State.eq(VoucherState::Spent))
        .exec(db)
        .await?;
    Ok(())
}

/// The refund did not come about.
pub(crate) async fn unfreeze(db: &impl ConnectionTrait, request: TakeBack) -> Outcome<()> {
    if !moved(db, &request.refund, Hold::Released).await? {
        return Ok(());
    }
    shares::release(db, &request.order, request.part.minor).await?;
    let held = let_go(db, &request.refund).await?;
    thaw(db, held).await
}

async fn moved(db: &impl ConnectionTrait, id: &RefundId, state: Hold) -> Result<bool, DbErr> {
    let moved = refund::Entity::update_many()
        .changing([to(refund::Column::State, state)])
        .filter(refund::Column::RefundId.eq(id.as_str()))
        .filter(refund::Column::State.eq(Hold::Held))
        .exec(db)
        .await?;
    Ok(moved.rows_affected == 1)
}

/// Drops the refund's holds and says which vouchers they were on.
async fn let_go(db: &impl ConnectionTrait, refund: &RefundId) -> Result<Vec<String>, DbErr> {
    let mine = hold::Column::RefundId.eq(refund.as_str());
    let held = hold::Entity::find().filter(mine.clone()).all(db).await?;
    hold::Entity::delete_many().filter(mine).exec(db).await?;
    Ok(held.into_iter().map(|row| row.voucher_id).collect())
}

/// Makes those usable again that no other refund holds.
async fn thaw(db: &impl ConnectionTrait, vouchers: Vec<String>) -> Outcome<()> {
    for id in vouchers {
        if hold::Entity::find().filter(hold::Column::VoucherId.eq(&id)).one(db).await?.is_some() {
            continue;
        }
        voucher::Entity::update_many()
            .changing([to(voucher::Column::State, VoucherState::Usable)])
            .filter(voucher::Column::Id.eq(&id))
            .filter(voucher::Column::State.eq(VoucherState::Frozen))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Grants a voucher, unless refunds have overtaken it: wholly refunded, it is never made; held, it begins frozen.
pub(crate) async fn issue(db: &impl ConnectionTrait, request: Issue) -> Outcome<Granting> {
    if shares::of(db, &request.order).await?.is_some_and(Shares::is_whole) {
        return Ok(Granting::Stopped);
    }
    let held = refund::Entity::find()
        .filter(refund::Column::OrderId.eq(request.order.as_str()))
        .filter(refund::Column::State.eq(Hold::Held))
        .all(db)
        .await?;
    let state = if held.is_empty() { VoucherState::Usable } else { VoucherState::Frozen };
    if add(db, &request, state).await? {
        for refund in &held {
            hold_one(db, &RefundId::stored(&refund.refund_id), request.voucher.as_str()).await?;
        }
    }
    Ok(if held.is_empty() { Granting::Granted } else { Granting::Stopped })
}

async fn add(db: &impl ConnectionTrait, issue: &Issue, state: VoucherState) -> Result<bool, DbErr> {
    let row = voucher::Model {
        id: issue.voucher.to_string(),
        user_id: issue.user.to_string(),
        currency: issue.value.currency.to_string(),
        value: issue.value.minor.0,
        state,
        granted_by: Some(issue.order.to_string()),
        spent_on: None,
    };
    insert_new(db, row).await
}

/// What a voucher is worth to that buyer. Whether it can be had is the hold's to say: of one order submitted twice, the second must
/// get as far as the orders, which know the first, though the first has this voucher.
pub(crate) async fn worth(db: &impl ConnectionTrait, id: &VoucherId, user: &UserId) -> Outcome<Money> {
    let row = voucher::Entity::find_by_id(id.as_str()).one(db).await?;
    match row.filter(|row| row.user_id == user.as_str()) {
        Some(row) => Ok(Money::new(row.value, row.currency.parse().map_err(Refusal::from)?)),
        None => Err(not_usable(db, id, user).await?.into()),
    }
}

async fn not_usable(db: &impl ConnectionTrait, id: &VoucherId, user: &UserId) -> Result<Refusal, DbErr> {
    let row = voucher::Entity::find_by_id(id.as_str()).one(db).await?;
    let mine = row.filter(|row| row.user_id == user.as_str());
    let state = mine.map_or("not there", |row| row.state.as_str());
    Ok(Refusal::new("not_usable", format!("{id} of {user} is {state}")))
}

/// Holds a buyer's voucher for an order that is not paid yet.
pub(crate) async fn reserve(db: &impl ConnectionTrait, request: &Spending) -> Outcome<()> {
    let held = voucher::Entity::update_many()
        .changing([
            to(voucher::Column::State, VoucherState::Reserved),
            to(voucher::Column::SpentOn, request.order.to_string()),
        ])
        .filter(voucher::Column::Id.eq(request.voucher.as_str()))
        .filter(voucher::Column::UserId.eq(request.user.as_str()))
        .filter(voucher::Column::State.eq(VoucherState::Usable))
        .exec(db)
        .await?;
    if held.rows_affected == 1 {
        return Ok(());
    }
    Err(not_usable(db, &request.voucher, &request.user).await?.into())
}

/// Ends what the order holds: as spent on it, or usable again.
pub(crate) async fn end(db: &impl ConnectionTrait, request: &Spending, spent: bool) -> Outcome<()> {
    let (state, on) =
        if spent { (VoucherState::Spent, Some(request.order.to_string())) } else { (VoucherState::Usable, None) };
    voucher::Entity::update_many()
        .changing([to(voucher::Column::State, state), to(voucher::Column::SpentOn, on)])
        .filter(voucher::Column::Id.eq(request.voucher.as_str()))
        .filter(voucher::Column::SpentOn.eq(request.order.as_str()))
        .filter(voucher::Column::State.eq(VoucherState::Reserved))
        .exec(db)
        .await?;
    Ok(())
}

/// Adds a voucher that some other event granted; spent on `order`, if one is named.
pub(crate) async fn seed(
    db: &impl ConnectionTrait, id: &VoucherId, user: &UserId, value: Money, order: Option<&OrderId>,
) -> Result<(), DbErr> {
    let row = voucher::Model {
        id: id.to_string(),
        user_id: user.to_string(),
        currency: value.currency.to_string(),
        value: value.minor.0,
        state: if order.is_some() { VoucherState::Spent } else { VoucherState::Usable },
        granted_by: None,
        spent_on: order.map(ToString::to_string),
    };
    insert_new(db, row).await.map(drop)
}

/// The buyer spends a usable voucher on an order.
pub(crate) async fn spend(db: &impl ConnectionTrait, id: &VoucherId, order: &OrderId) -> Outcome<()> {
    let spent = voucher::Entity::update_many()
        .changing([to(voucher::Column::State, VoucherState::Spent), to(voucher::Column::SpentOn, order.to_string())])
        .filter(voucher::Column::Id.eq(id.as_str()))
        .filter(voucher::Column::State.eq(VoucherState::Usable))
        .exec(db)
        .await?;
    if spent.rows_affected == 1 {
        return Ok(());
    }
    let state = voucher::Entity::find_by_id(id.as_str()).one(db).await?.map_or("not there", |v| v.state.as_str());
    Err(Refusal::new("not_usable", format!("{id} is {state}")).into())
}

/// Where the vouchers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VoucherLedger {
    /// How many are in which state.
    pub vouchers: BTreeMap<String, u64>,
    /// What buyers were charged for granted vouchers that they had spent, by currency, in minor units.
    pub deducted: i64,
    /// Refunds that still hold something, and vouchers that unpaid orders hold.
    pub holds: u64,
}

pub(crate) async fn ledger(db: &impl ConnectionTrait) -> Result<VoucherLedger, DbErr> {
    let mut ledger = VoucherLedger::default();
    for row in voucher::Entity::find().all(db).await? {
        *ledger.vouchers.entry(row.state.as_str().to_owned()).or_default() += 1;
        ledger.holds += u64::from(row.state == VoucherState::Reserved);
    }
    for row in refund::Entity::find().all(db).await? {
        ledger.holds += u64::from(row.state == Hold::Held);
        ledger.deducted += if row.state == Hold::Confirmed { row.deduct } else { 0 };
    }
    Ok(ledger)
}

/// Each voucher is frozen exactly by the refunds that are held, and each part is within its order.
pub(crate) async fn check_equation(db: &impl ConnectionTrait, who: &str) -> Result<(), Violation> {
    let refunds = refund::Entity::find().order_by_asc(refund::Column::RefundId).all(db).await?;
    let parts: Vec<_> = refunds.iter().map(|r| (r.order_id.clone(), r.part, r.state)).collect();
    shares::check(db, who, &parts).await?;
    let open: BTreeSet<_> = refunds.iter().filter(|r| r.state == Hold::Held).map(|r| &r.refund_id).collect();
    let holds = hold::Entity::find().all(db).await?;
    for row in &holds {
        let name = format!("{who} {}: held by a refund that is held", row.voucher_id);
        must_equal(name, i64::from(open.contains(&row.refund_id)), 1)?;
    }
    let held: BTreeSet<_> = holds.iter().map(|row| &row.voucher_id).collect();
    for row in voucher::Entity::find().all(db).await? {
        let name = |what: &str| format!("{who} {}: {what}", row.id);
        let (frozen, held) = (row.state == VoucherState::Frozen, held.contains(&row.id));
        must_equal(name("frozen while it is held"), i64::from(frozen), i64::from(held))?;
        let spent = matches!(row.state, VoucherState::Reserved | VoucherState::Spent);
        must_equal(name("held or spent by an order"), i64::from(spent), i64::from(row.spent_on.is_some()))?;
        row.currency.parse::<Currency>().map_err(|e| Violation::Unreadable(e.to_string()))?;
    }
    Ok(())
}
