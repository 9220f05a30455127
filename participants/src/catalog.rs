//! The catalog: which variants there are, which are on sale, what they cost, and what a payment grants.

use crate::{
    db::{create, insert_new, table},
    equation::{Violation, must_not_be_negative},
    ids::Sku,
    lines::{Line, by_sku},
    money::{Currency, Minor, Money},
    refusals::missing,
};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use tercet_core::{Call, Operation, Refusal, kind};
use tercet_participant::{Outcome, Read, Transaction};

/// `catalog.check/1`: are the goods on sale, and what do they cost?
pub struct CheckGoods;

impl Operation for CheckGoods {
    const NAME: &'static str = "catalog.check/1";
    type Kind = kind::Read;
    type Request = Wanted;
    type Reply = Goods;
}

/// Goods that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Each variant once.
    pub lines: Vec<Line>,
}

/// Goods on sale, with what they cost, and what paying for them grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Goods {
    /// In what they are priced.
    pub currency: Currency,
    /// As they were wanted.
    pub lines: Vec<PricedLine>,
    /// What a payment for them grants.
    pub grants: Grants,
}

/// A line of goods and its price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PricedLine {
    /// Of what.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// All pieces together, before promotions.
    pub base: Minor,
    /// What promotions take off it, at most all of it.
    pub off: Minor,
}

/// What a payment grants the buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// Minor units paid for which a point is earned.
    pub minor_per_point: i64,
    /// What the coupon is worth, if there is one.
    pub coupon: Option<Money>,
    /// What the red packet is worth, if there is one.
    pub red_packet: Option<Money>,
}

impl Grants {
    /// A point for each whole unit of most currencies, and nothing else.
    pub const POINTS_ALONE: Self = Self { minor_per_point: 100, coupon: None, red_packet: None };

    /// The points that a payment earns: whole ones only.
    #[must_use]
    pub fn points(self, paid: Money) -> u32 {
        u32::try_from(paid.minor.0 / self.minor_per_point.max(1)).unwrap_or(0)
    }
}

/// The participant, with what a payment grants at present.
pub struct Catalog {
    /// What a payment grants.
    pub grants: Grants,
}

impl Read<CheckGoods> for Catalog {
    async fn read(&self, tx: &Transaction, _: &Call, request: Wanted) -> Outcome<Goods> {
        check(tx, &request, self.grants).await
    }
}

table! {
    /// The variants of the shop's goods.
    variant "catalog_variants" {
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        #[sea_orm(indexed)]
        good: String,
        currency: String,
        price: i64,
        on_sale: bool,
    }
}

table! {
    /// Promotions: so much off each piece when so many are bought.
    promotion "catalog_promotions" {
        #[sea_orm(primary_key, auto_increment = false)]
        sku: String,
        #[sea_orm(primary_key, auto_increment = false)]
        from_quantity: i64,
        off: i64,
    }
}

/// Makes the tables when they are not there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_schema(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    create(db, variant::Entity).await?;
    create(db, promotion::Entity).await
}

async fn check(db: &impl ConnectionTrait, wanted: &Wanted, grants: Grants) -> Outcome<Goods> {
    let mut currency = None;
    let mut lines = Vec::with_capacity(wanted.lines.len());
    for (sku, quantity) in by_sku(&wanted.lines)? {
        let row = variant::Entity::find_by_id(sku.as_str()).one(db).await?;
        let row = row.ok_or_else(|| missing("no_variant", sku))?;
        if !row.on_sale {
            return Err(Refusal::new("not_on_sale", format!("{sku} is not on sale")).into());
        }
        let own: Currency = row.currency.parse().map_err(Refusal::from)?;
        if *currency.get_or_insert(own) != own {
            return Err(Refusal::new("bad_lines", format!("{sku} is priced in {own}, other goods are not")).into());
        }
        lines.push(priced(db, sku, quantity, Minor(row.price)).await?);
    }
    let currency = currency.ok_or_else(|| Refusal::new("bad_lines", "an order has at least one line"))?;
    Ok(Goods { currency, lines, grants })
}

async fn priced(db: &impl ConnectionTrait, sku: &Sku, quantity: i64, price: Minor) -> Outcome<PricedLine> {
    let promotions = promotion::Entity::find()
        .filter(promotion::Column::Sku.eq(sku.as_str()))
        .filter(promotion::Column::FromQuantity.lte(quantity))
        .all(db)
        .await?;
    let best = promotions.iter().map(|p| p.off).max().unwrap_or(0).min(price.0);
    let base = price.times(quantity).map_err(Refusal::from)?;
    let off = Minor(best).times(quantity).map_err(Refusal::from)?;
    let quantity = u32::try_from(quantity).map_err(|_| Refusal::new("bad_lines", "a quantity does not fit"))?;
    Ok(PricedLine { sku: sku.clone(), quantity, base, off })
}

/// A variant to be sold.
#[derive(Clone, Debug)]
pub struct Ware {
    /// The variant.
    pub sku: Sku,
    /// The good that it is a variant of.
    pub good: String,
    /// What a piece costs.
    pub price: Money,
    /// It can be bought now.
    pub on_sale: bool,
    /// How many pieces come into stock with it.
    pub pieces: u32,
    /// From so many pieces on, so much off each.
    pub promotions: Vec<(u32, Minor)>,
}

/// Adds a variant with its promotions; nothing when it is there.
///
/// # Errors
/// When the database fails.
pub async fn seed(db: &impl ConnectionTrait, ware: &Ware) -> Result<(), DbErr> {
    let row = variant::Model {
        sku: ware.sku.to_string(),
        good: ware.good.clone(),
        currency: ware.price.currency.to_string(),
        price: ware.price.minor.0,
        on_sale: ware.on_sale,
    };
    insert_new(db, row).await?;
    for (from_quantity, off) in &ware.promotions {
        let from_quantity = i64::from(*from_quantity);
        insert_new(db, promotion::Model { sku: ware.sku.to_string(), from_quantity, off: off.0 }).await?;
    }
    Ok(())
}

/// No price and no promotion is below zero.
///
/// # Errors
/// The figure that is.
pub async fn check_equation(db: &impl ConnectionTrait) -> Result<(), Violation> {
    for row in variant::Entity::find().all(db).await? {
        must_not_be_negative(format!("the price of {}", row.sku), row.price)?;
    }
    for row in promotion::Entity::find().all(db).await? {
        must_not_be_negative(format!("a promotion of {}", row.sku), row.off)?;
    }
    Ok(())
}
