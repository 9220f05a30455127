//! Coupons: a refund takes back the one that the payment granted, and the one that was spent on the order comes back at its end.

use crate::{
    equation::Violation,
    ids::{OrderId, UserId, VoucherId},
    money::Money,
    shares::{Granting, TakeBack, TakenBack},
    vouchers::{self, Issue, VoucherLedger},
};
use sea_orm::{ConnectionTrait, DbErr};
use tercet_core::{Call, Operation, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction};

/// `coupons.take_back/1`: freeze what the order granted, take it with the last part; what was spent on it returns then.
pub struct TakeCouponBack;

impl Operation for TakeCouponBack {
    const NAME: &'static str = "coupons.take_back/1";
    type Kind = kind::Tcc;
    type Request = TakeBack;
    type Reply = TakenBack;
}

/// `coupons.issue/1`: the coupon that a payment grants.
pub struct IssueCoupon;

impl Operation for IssueCoupon {
    const NAME: &'static str = "coupons.issue/1";
    type Kind = kind::Retriable;
    type Request = Issue;
    type Reply = Granting;
}

/// The participant.
pub struct Coupons;

impl Tcc<TakeCouponBack> for Coupons {
    async fn try_(&self, tx: &Transaction, _: &Call, request: TakeBack) -> Outcome<TakenBack> {
        vouchers::freeze(tx, request).await
    }

    async fn confirm(&self, tx: &Transaction, _: &Call, request: TakeBack, _: TakenBack) -> Outcome<()> {
        vouchers::take(tx, request).await
    }

    async fn cancel(&self, tx: &Transaction, _: &Call, request: TakeBack, _: Option<TakenBack>) -> Outcome<()> {
        vouchers::unfreeze(tx, request).await
    }
}

impl Retriable<IssueCoupon> for Coupons {
    async fn execute(&self, tx: &Transaction, _: &Call, request: Issue) -> Outcome<Granting> {
        vouchers::issue(tx, request).await
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    vouchers::ensure_schema(db).await
}

/// Grants a coupon, as the order's payment would have.
///
/// # Errors
/// When the database fails.
pub async fn seed_granted(db: &impl ConnectionTrait, issue: Issue) -> Outcome<Granting> {
    vouchers::issue(db, issue).await
}

/// Adds a coupon that was spent on the order.
///
/// # Errors
/// When the database fails.
pub async fn seed_spent(
    db: &impl ConnectionTrait, id: &VoucherId, user: &UserId, value: Money, order: &OrderId,
) -> Result<(), DbErr> {
    vouchers::seed_spent(db, id, user, value, order).await
}

/// The buyer spends a coupon on an order.
///
/// # Errors
/// A refusal when it is not usable.
pub async fn spend(db: &impl ConnectionTrait, id: &VoucherId, order: &OrderId) -> Outcome<()> {
    vouchers::spend(db, id, order).await
}

/// The figures of the participant's database.
///
/// # Errors
/// When the database fails.
pub async fn ledger(db: &impl ConnectionTrait) -> Result<VoucherLedger, DbErr> {
    vouchers::ledger(db).await
}

/// Coupons are frozen exactly by the refunds that are held.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    vouchers::check_equation(db, "coupon").await
}
