//! Lines of goods: what inventory, warehouse and orders speak of.

use crate::ids::{OrderId, RefundId, Sku};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tercet_core::Refusal;

/// So many pieces of one variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Of what.
    pub sku: Sku,
    /// How many, above zero.
    pub quantity: u32,
}

/// Goods of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderLines {
    /// The order.
    pub order: OrderId,
    /// Each variant once.
    pub lines: Vec<Line>,
}

/// Goods of an order that a refund is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefundLines {
    /// The refund's own id.
    pub refund: RefundId,
    /// The order.
    pub order: OrderId,
    /// Each variant once; none when the refund is about money alone.
    pub lines: Vec<Line>,
}

/// The lines by variant, in one order for everybody, so that two requests never wait for each other's rows.
///
/// # Errors
/// A refusal for a variant that stands there twice, or without a piece.
pub(crate) fn by_sku(lines: &[Line]) -> Result<BTreeMap<&Sku, i64>, Refusal> {
    let mut sorted = BTreeMap::new();
    for line in lines {
        if line.quantity == 0 || sorted.insert(&line.sku, i64::from(line.quantity)).is_some() {
            let message = format!("each variant stands once with a quantity above zero, not so {}", line.sku);
            return Err(Refusal::new("bad_lines", message));
        }
    }
    Ok(sorted)
}
