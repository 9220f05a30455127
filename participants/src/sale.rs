//! Sales to begin with: orders that are paid, granted, told to the warehouse or shipped, in every participant's database.

use crate::{
    catalog::{self, Ware},
    channel::Channel,
    coupons,
    ids::{UserId, VoucherId},
    inventory,
    lines::{Line, OrderLines},
    money::Money,
    orders::{self, OrderState, SeedOrder},
    payments::{self, Receipt},
    points, red_packets,
    shop::{Shop, ShopError},
    vouchers::Issue,
    warehouse,
};
use tercet_participant::{
    Database, SeaOrm, Transaction,
    database::{Access, Tx},
};

/// One sale, as far as it has come.
#[derive(Clone, Debug)]
pub struct Sale {
    /// The order, its money and its state.
    pub order: SeedOrder,
    /// What the coupon that was spent on it is worth.
    pub coupon_value: Money,
    /// Points that its payment granted.
    pub points_granted: u32,
    /// A coupon that its payment granted.
    pub coupon_granted: Option<(VoucherId, Money)>,
    /// What the red packet that its payment granted is worth.
    pub red_packet_value: Money,
}

impl Sale {
    fn goods(&self) -> OrderLines {
        let lines = self.order.lines.iter().map(|l| Line { sku: l.sku.clone(), quantity: l.quantity }).collect();
        OrderLines { order: self.order.id.clone(), lines }
    }

    fn issue(&self, voucher: &VoucherId, value: Money) -> Issue {
        let (order, user) = (self.order.id.clone(), self.order.user.clone());
        Issue { voucher: voucher.clone(), order, user, value }
    }
}

/// Runs `$body` for each sale in one transaction of one participant's database.
macro_rules! each {
    ($db:expr, $sales:expr, |$tx:ident, $sale:ident| $body:block) => {{
        let $tx = begin(&$db).await?;
        for $sale in $sales $body
        Tx::commit($tx).await?;
    }};
}

async fn begin(db: &SeaOrm) -> Result<Transaction, ShopError> {
    Ok(db.begin(Access::Write).await?)
}

/// What a buyer has to spend beside money.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// Who.
    pub user: UserId,
    /// Points.
    pub points: u32,
    /// Coupons, and what they are worth.
    pub coupons: Vec<(VoucherId, Money)>,
}

impl Shop {
    /// Puts goods on sale and takes them into stock. Call it once for each: pieces are added every time.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn put_on_sale(&self, wares: &[Ware]) -> Result<(), ShopError> {
        let dbs = &self.databases;
        each!(dbs.catalog, wares, |tx, ware| {
            catalog::seed(&tx, ware).await?;
        });
        each!(dbs.inventory, wares, |tx, ware| {
            inventory::seed_stock(&tx, &Line { sku: ware.sku.clone(), quantity: ware.pieces }).await?;
        });
        Ok(())
    }

    /// Gives buyers points and coupons. Call it once for each: points are added every time.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn endow(&self, wallets: &[Wallet]) -> Result<(), ShopError> {
        let dbs = &self.databases;
        each!(dbs.points, wallets, |tx, wallet| {
            points::seed_balance(&tx, &wallet.user, wallet.points).await?;
        });
        each!(dbs.coupons, wallets, |tx, wallet| {
            for (coupon, value) in &wallet.coupons {
                coupons::seed_usable(&tx, coupon, &wallet.user, *value).await?;
            }
        });
        Ok(())
    }

    /// Adds sales, each once: those that are there already are left as they are.
    ///
    /// # Errors
    /// When a database fails, or a sale does not add up.
    pub async fn seed(&self, sales: &[Sale]) -> Result<(), ShopError> {
        let dbs = &self.databases;
        let charges: Vec<_> = sales.iter().map(|sale| (sale.order.payment.clone(), sale.order.paid)).collect();
        self.channel.charge(&charges).await?;
        each!(dbs.payments, sales, |tx, sale| {
            let (payment, amount) = (&sale.order.payment, sale.order.paid);
            let receipt = Receipt { transaction: Channel::charge_transaction(payment), amount };
            payments::seed_paid(&tx, payment, &sale.order.id, &sale.order.user, &receipt).await?;
        });
        each!(dbs.inventory, sales, |tx, sale| {
            inventory::seed_sold(&tx, &sale.goods()).await?;
        });
        each!(dbs.points, sales, |tx, sale| {
            let order = &sale.order;
            points::seed_sale(&tx, &order.user, &order.id, order.points_spent, sale.points_granted).await?;
        });
        each!(dbs.coupons, sales, |tx, sale| {
            if let Some(spent) = &sale.order.coupon {
                coupons::seed_spent(&tx, spent, &sale.order.user, sale.coupon_value, &sale.order.id).await?;
            }
            if let Some((granted, value)) = &sale.coupon_granted {
                coupons::seed_granted(&tx, sale.issue(granted, *value)).await?;
            }
        });
        each!(dbs.red_packets, sales, |tx, sale| {
            if let Some(granted) = &sale.order.red_packet {
                red_packets::seed_granted(&tx, sale.issue(granted, sale.red_packet_value)).await?;
            }
        });
        each!(dbs.warehouse, sales, |tx, sale| {
            seed_shipment(&tx, sale).await?;
        });
        each!(dbs.orders, sales, |tx, sale| {
            orders::seed(&tx, &sale.order, self.clock.now()).await?;
        });
        Ok(())
    }
}

async fn seed_shipment(tx: &Transaction, sale: &Sale) -> Result<(), ShopError> {
    let shipped = sale.order.state.is_shipped();
    if !shipped && sale.order.state != OrderState::AwaitingShipment {
        return Ok(());
    }
    warehouse::seed_told(tx, &sale.goods()).await?;
    if shipped && warehouse::state(tx, &sale.order.id).await? == Some(warehouse::Shipped::Waiting) {
        warehouse::dispatch(tx, &sale.order.id).await?;
    }
    Ok(())
}
