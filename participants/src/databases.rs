//! The databases of the shop's participants: one for each, and one for the channel.

use crate::{
    catalog, coupons, db, gateway, inventory, orders, payments, points, push, red_packets, shop::OpenError, warehouse,
};
use sea_orm::DatabaseConnection;
use tercet_participant::{
    Database, SeaOrm,
    database::{Access, Tx},
};

/// The participants' names.
pub const PARTICIPANTS: [&str; 10] =
    ["catalog", "coupons", "gateway", "inventory", "orders", "payments", "points", "push", "red_packets", "warehouse"];

/// The participants' databases.
pub(crate) struct Databases {
    pub(crate) catalog: SeaOrm,
    pub(crate) orders: SeaOrm,
    pub(crate) inventory: SeaOrm,
    pub(crate) points: SeaOrm,
    pub(crate) coupons: SeaOrm,
    pub(crate) red_packets: SeaOrm,
    pub(crate) warehouse: SeaOrm,
    pub(crate) push: SeaOrm,
    pub(crate) payments: SeaOrm,
    pub(crate) gateway: SeaOrm,
}

/// Stands in a URL for the name of who has the database.
pub(crate) const NAME: &str = "{participant}";

/// A participant's database with its tables, all made in one transaction.
macro_rules! opened {
    ($place:expr, $participant:ident) => {
        async {
            let db = $place.open(stringify!($participant)).await?;
            let tx = db.begin(Access::Write).await?;
            $participant::ensure_schema(&tx).await?;
            Tx::commit(tx).await?;
            Ok::<_, OpenError>(db)
        }
    };
}

/// Where databases are, and whose are wanted: without any name all of them.
pub(crate) struct Whereabouts<'a> {
    pub(crate) url: &'a str,
    pub(crate) only: &'a [String],
}

impl Whereabouts<'_> {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }

    /// The database of that name; of who is not wanted an empty one in memory, which nobody asks for anything.
    async fn open(&self, name: &'static str) -> Result<SeaOrm, OpenError> {
        let opened = match self.wants(name) {
            true => SeaOrm::open(&self.url.replace(NAME, name)).await,
            false => SeaOrm::sqlite_in_memory().await,
        };
        opened.map_err(|source| OpenError::Database { name, source })
    }

    /// The channel's, for whoever asks it.
    pub(crate) async fn channel(&self) -> Result<DatabaseConnection, OpenError> {
        let opened = match self.wants("gateway") || self.wants("payments") {
            true => db::open(&self.url.replace(NAME, "channel")).await,
            false => db::in_memory().await,
        };
        opened.map_err(|source| OpenError::Database { name: "channel", source })
    }
}

impl Databases {
    pub(crate) async fn open(place: &Whereabouts<'_>) -> Result<Self, OpenError> {
        let (catalog, orders, inventory, points, coupons, red_packets, warehouse, push, payments, gateway) = tokio::try_join!(
            opened!(place, catalog),
            opened!(place, orders),
            opened!(place, inventory),
            opened!(place, points),
            opened!(place, coupons),
            opened!(place, red_packets),
            opened!(place, warehouse),
            opened!(place, push),
            opened!(place, payments),
            opened!(place, gateway),
        )?;
        Ok(Self { catalog, orders, inventory, points, coupons, red_packets, warehouse, push, payments, gateway })
    }
}
