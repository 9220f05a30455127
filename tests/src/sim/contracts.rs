//! What the model participants offer and what the model sagas are told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tercet_core::{Operation, Signal, kind};

/// How the third party's channel ends what nobody carries out.
pub(crate) const PLAIN: u8 = 0;
/// It closes a key when asked.
pub(crate) const CLOSING: u8 = 1;
/// What goes out carries an expiry.
pub(crate) const EXPIRING: u8 = 2;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Amount {
    pub(crate) account: u32,
    pub(crate) minor: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    pub(crate) item: u32,
    pub(crate) pieces: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) order: String,
    pub(crate) account: u32,
    pub(crate) lines: Vec<Line>,
    pub(crate) minor: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Payment {
    pub(crate) payment: String,
    pub(crate) order: String,
    pub(crate) minor: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Refund {
    pub(crate) payment: String,
    pub(crate) request: String,
    pub(crate) minor: i64,
}

/// A refund with goods that come back and points that are taken back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Return {
    pub(crate) refund: Refund,
    pub(crate) points: Amount,
    pub(crate) line: Line,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Said {
    pub(crate) to: String,
    pub(crate) text: String,
}

/// The signal that an order's payment came.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Paid {
    pub(crate) payment: String,
    pub(crate) minor: i64,
}

impl Signal for Paid {
    const NAME: &'static str = "orders.paid/1";
}

macro_rules! operations { ($($name:ident $contract:literal $kind:ident $request:ty => $reply:ty;)+) => { $(
    pub(crate) struct $name;
    impl Operation for $name {
        const NAME: &'static str = $contract;
        type Kind = kind::$kind;
        type Request = $request;
        type Reply = $reply;
    }
)+ } }

operations! {
    HoldPoints "accounts.hold/1" Tcc Amount => i64;
    TakeStock "stock.take/1" Compensable Line => i64;
    PutBack "stock.put_back/1" Tcc Line => i64;
    PlaceOrder "orders.place/1" Tcc Order => String;
    Quote "price.quote/1" Read Order => i64;
    Tell "notify.tell/1" Retriable Said => u32;
    RecordPayment "pay.record/1" Tcc Payment => Payment;
    HoldRefund "pay.hold/1" Tcc Refund => Refund;
    Payout "pay.payout/1" External Refund => i64;
    Waybill "carrier.waybill/1" Tcc Line => String;
}

/// The charge, by a channel of one sort.
pub(crate) struct Charge<const SORT: u8>;
/// Money back, by a channel of one sort.
pub(crate) struct GiveBack<const SORT: u8>;

const fn name(sort: u8, names: [&'static str; 3]) -> &'static str {
    names[sort as usize]
}

const fn expiry(sort: u8) -> Option<Duration> {
    if sort == EXPIRING { Some(Duration::from_secs(240)) } else { None }
}

impl<const SORT: u8> Operation for Charge<SORT> {
    const NAME: &'static str = name(SORT, ["pay.charge/1", "pay.charge_closing/1", "pay.charge_expiring/1"]);
    type Kind = kind::Pivot;
    type Request = Payment;
    type Reply = i64;
    const CLOSES: bool = SORT == CLOSING;
    const EXPIRES_AFTER: Option<Duration> = expiry(SORT);
}

impl<const SORT: u8> Operation for GiveBack<SORT> {
    const NAME: &'static str = name(SORT, ["pay.refund/1", "pay.refund_closing/1", "pay.refund_expiring/1"]);
    type Kind = kind::Pivot;
    type Request = Refund;
    type Reply = i64;
    const CLOSES: bool = SORT == CLOSING;
    const EXPIRES_AFTER: Option<Duration> = expiry(SORT);
}
