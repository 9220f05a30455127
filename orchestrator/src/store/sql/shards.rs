//! The condition that a row's saga is in one of some shards, worked out by the server from the saga's id: no column holds it.

use super::server::Dialect;
use crate::store::Shards;
use sea_orm::{DbBackend, sea_query::Expr};
use tercet_core::SHARDS;

const MASK: u16 = SHARDS - 1;

/// The saga in `column` is in one of these shards. `None` where there is nothing to ask: of all shards, and of a file, whose process owns
/// all. See `SagaId::shard` and `Shards::to_bytes` for which bits are meant.
pub(super) fn in_shards(backend: DbBackend, column: &str, of: &Shards) -> Option<Expr> {
    if *of == Shards::ALL || backend == DbBackend::Sqlite {
        return None;
    }
    let sql = match Dialect::of(backend) {
        Dialect::Postgres => {
            format!("get_bit(CAST($1 AS bytea), (get_byte({column}, 14) << 8 | get_byte({column}, 15)) & {MASK}) = 1")
        }
        Dialect::MySql => {
            let shard = format!("((ORD(SUBSTRING({column}, 15, 1)) << 8) | ORD(SUBSTRING({column}, 16, 1))) & {MASK}");
            format!("((ORD(SUBSTRING(?, 1 + (({shard}) >> 3), 1)) >> (({shard}) & 7)) & 1) = 1")
        }
    };
    Some(Expr::cust_with_values(sql, [of.to_bytes()]))
}
