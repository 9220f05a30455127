//! Red packets: a refund takes back what the payment granted.

use crate::{
    equation::Violation,
    ids::{OrderId, VoucherId},
    shares::{Granting, TakeBack, TakenBack},
    vouchers::{self, Issue, VoucherLedger},
};
use sea_orm::{ConnectionTrait, DbErr};
use tercet_core::{Call, Operation, kind};
use tercet_participant::{Outcome, Retriable, Tcc, Transaction};

/// `red_packets.take_back/1`: freeze what the order granted, take it with the last part.
pub struct TakeRedPacketBack;

impl Operation for TakeRedPacketBack {
    const NAME: &'static str = "red_packets.take_back/1";
    type Kind = kind::Tcc;
    type Request = TakeBack;
    type Reply = TakenBack;
}

/// `red_packets.issue/1`: the red packet that a payment grants.
pub struct IssueRedPacket;

impl Operation for IssueRedPacket {
    const NAME: &'static str = "red_packets.issue/1";
    type Kind = kind::Retriable;
    type Request = Issue;
    type Reply = Granting;
}

/// The participant.
pub struct RedPackets;

impl Tcc<TakeRedPacketBack> for RedPackets {
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

impl Retriable<IssueRedPacket> for RedPackets {
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

/// Grants a red packet, as the order's payment would have.
///
/// # Errors
/// When the database fails.
pub async fn seed_granted(db: &impl ConnectionTrait, issue: Issue) -> Outcome<Granting> {
    vouchers::issue(db, issue).await
}

/// The buyer spends a red packet on an order.
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

/// Red packets are frozen exactly by the refunds that are held.
///
/// # Errors
/// The equation that does not hold.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    vouchers::check_equation(db, "red packet").await
}
