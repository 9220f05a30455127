//! Contracts that the mistakes are made with.
#![allow(dead_code, reason = "each mistake uses some of it")]

use serde::{Deserialize, Serialize};
pub use tercet_core::*;
use tercet_core::schemars::JsonSchema;

macro_rules! json { ($($name:ident { $($field:ident: $type:ty),+ })+) => { $(
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    pub struct $name { $(pub $field: $type),+ }
)+ } }
json! {
    RefundRequest { order: u64, amount_minor: i64 }
    Order { payment: u64, abroad: bool }
    Hold { payment: u64, amount_minor: i64 }
    Moved { at: i64 }
    Message { text: String }
    Review { approved: bool }
}

macro_rules! operations { ($($op:ident $name:literal $kind:ident $request:ty => $reply:ty;)+) => { $(
    pub struct $op;
    impl Operation for $op {
        const NAME: &'static str = $name;
        type Kind = kind::$kind;
        type Request = $request;
        type Reply = $reply;
    }
)+ } }
operations! {
    RefundOrder "orders.refund/1" Tcc RefundRequest => Order;
    HoldRefund "payments.hold/1" Tcc Hold => Hold;
    Move "gateway.move/1" Pivot Hold => Moved;
    Notify "push.notify/1" Retriable Message => ();
}

impl Signal for Review {
    const NAME: &'static str = "desk.review/1";
}

pub fn hold(request: RefundRequest) -> Hold {
    Hold { payment: request.order, amount_minor: request.amount_minor }
}
