//! A member's level: it follows the points earned, by grants and by what refunds take back, and is kept nowhere.

use super::order;
use crate::{db::states, ids::UserId};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

states! {
    /// How far a member has come.
    pub enum Level {
        /// To begin with.
        Plain = "plain",
        /// From 1,000 points earned.
        Silver = "silver",
        /// From 10,000.
        Gold = "gold",
    }
}

impl Level {
    /// The level of a member who earned so many points, those that refunds took back not counted.
    #[must_use]
    pub const fn of(earned: i64) -> Self {
        match earned {
            ..1_000 => Self::Plain,
            1_000..10_000 => Self::Silver,
            _ => Self::Gold,
        }
    }
}

/// A buyer's level.
///
/// # Errors
/// When the database fails.
pub async fn level(db: &impl ConnectionTrait, user: &UserId) -> Result<Level, DbErr> {
    let mine = order::Entity::find().filter(order::Column::UserId.eq(user.as_str())).all(db).await?;
    Ok(Level::of(mine.iter().map(|row| row.granted.unwrap_or(0) - row.taken).sum()))
}
