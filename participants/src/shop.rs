//! The whole shop on one machine: every participant on a SQLite file of its own, the channel on another, their figures side by side.

use crate::{
    callbacks::{BadKey, Sender, SharedKey},
    catalog::{self, Catalog, CheckGoods, Grants},
    channel::{
        Behaviours, CallbackSink, Channel, ChannelError, ChannelLedger, ChargeSink, Charges,
        Settings as ChannelSettings,
    },
    clock::{Clock, SystemClock},
    coupons::{self, Coupons, IssueCoupon, SpendCoupon, TakeCouponBack, WorthOfCoupon},
    databases::{Databases, NAME, Whereabouts},
    equation::Violation,
    gateway::{self, Gateway, GatewayLedger, Refund, RefundWithoutClose},
    inventory::{self, Inventory, PutBack, Reserve, StockLedger},
    money::{Currency, Money},
    orders::{self, AwaitShipment, FindGivenUp, FindOrders, NotePayment, OrderLedger, Orders, Place, RefundOrder},
    payments::{self, BookRefunded, Charge, HoldRefund, PaymentLedger, Payments, Record},
    points::{self, GrantPoints, PointLedger, Points, SpendPoints, TakePointsBack, WorthOfPoints},
    push::{self, Push},
    red_packets::{self, IssueRedPacket, RedPackets, TakeRedPacketBack},
    requests::{Credentials, Demands, Door, Signing},
    vouchers::VoucherLedger,
    warehouse::{self, Ship, ShipmentLedger, Stop, Warehouse},
};
use sea_orm::DbErr;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tercet_core::{Millis, Participant};
use tercet_participant::{
    BuildError, Database, Fault, Otherwise, SeaOrm, Service,
    database::{Access, OpenError as DatabaseError},
    outbox::{Ingress, Relay, relay::Swept},
};

use tokio::sync::Notify;

/// How a shop is set up.
pub struct Settings {
    /// How the channel behaves to refunds.
    pub behaviours: Behaviours,
    /// How the channel, and the buyer, behave to charges.
    pub charges: Charges,
    /// Whether it can close a refund that it has taken on.
    pub closes: bool,
    /// Everybody's clock.
    pub clock: Arc<dyn Clock>,
    /// How long the gateway asks Tercet to wait after "insufficient balance" or "maintenance".
    pub patience: Duration,
    /// Minor units that a point is worth where one that was spent must be deducted.
    pub minor_per_point: i64,
}

impl Settings {
    /// A channel that misbehaves by `seed`, its delays multiples of `pace`, on the machine's clock.
    #[must_use]
    pub fn seeded(seed: u64, pace: Duration) -> Self {
        Self {
            behaviours: Behaviours::seeded(seed, pace),
            charges: Charges::seeded(seed, pace),
            closes: true,
            clock: Arc::new(SystemClock),
            patience: pace,
            minor_per_point: 1,
        }
    }
}

/// Why a shop cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A participant's database.
    #[error("{source} (the database of `{name}`: mend it, or move it away, or open the shop elsewhere)")]
    Database {
        /// Whose.
        name: &'static str,
        /// What is wrong with it.
        source: DatabaseError,
    },
    /// The URL names one database for all.
    #[error(
        "failed to open the shop: each participant has a database of its own, so its URL must have `{{participant}}` in it"
    )]
    Shared,
    /// A participant's tables.
    #[error("failed to prepare the shop's tables: {0}")]
    Tables(#[from] DbErr),
    /// The transaction in which they are made.
    #[error("failed to prepare the shop's tables: {0}")]
    Transaction(#[from] Fault),
    /// The channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A participant.
    #[error(transparent)]
    Participant(#[from] BuildError),
    /// The key by which the channel is asked.
    #[error(transparent)]
    Key(#[from] BadKey),
}

/// What goes wrong with an open shop: a database, in nearly all cases.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// A participant's database.
    #[error("failed to use the shop's databases: {0}")]
    Database(#[from] DbErr),
    /// A participant's outbox.
    #[error("failed to empty a participant's outbox: {0}")]
    Outbox(#[from] Fault),
    /// The channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Something to begin with that the shop's own rules refuse.
    #[error("failed to set up a sale: {0}")]
    Sale(#[from] Otherwise),
}

/// What a payment grants in this shop: a point for each euro, a coupon of five and a red packet of three.
const GRANTS: Grants = Grants {
    minor_per_point: 100,
    coupon: Some(Money::new(500, Currency::EUR)),
    red_packet: Some(Money::new(300, Currency::EUR)),
};

/// The shop's clock where the SDK asks for one.
pub(crate) struct Ticking(pub(crate) Arc<dyn Clock>);

impl tercet_participant::Clock for Ticking {
    fn now(&self) -> Millis {
        self.0.now()
    }
}

/// One participant's equations, in one transaction, so that no figure is read before and another after a commit.
macro_rules! checked {
    ($db:expr, $participant:ident) => {
        match $db.begin(Access::Read).await {
            Ok(tx) => $participant::check_equation(&tx).await,
            Err(fault) => Err(Violation::Unreadable(fault.to_string())),
        }
    };
}
/// Every reference participant of a refund, and the third party behind them.
pub struct Shop {
    pub(crate) databases: Databases,
    pub(crate) channel: Arc<Channel>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How the channel's reports reach the participants: over HTTP once that is served, directly before.
    pub(crate) reports_to: OnceLock<Sender>,
    gateway: Gateway,
    payments: Payments,
    participants: Vec<Arc<dyn Participant>>,
    minor_per_point: i64,
    kept: Arc<Notify>,
}

/// The outboxes of a shop, each emptied into the same ingress.
#[derive(Debug)]
pub struct Relays<I>(Vec<Relay<SeaOrm, I>>);

impl<I: Ingress> Relays<I> {
    /// Sends each message that waits now in any of them, once.
    ///
    /// # Errors
    /// When a database fails; what was sent and not deleted is sent again by the next sweep.
    pub async fn sweep(&self) -> Result<Swept, Fault> {
        let (mut all, mut failed) = (Swept::default(), None);
        for relay in &self.0 {
            match relay.sweep().await {
                Ok(Swept { sent, buried, left }) => {
                    all = Swept { sent: all.sent + sent, buried: all.buried + buried, left: all.left + left };
                }
                // One that fails holds up no other.
                Err(fault) => failed = Some(fault),
            }
        }
        failed.map_or(Ok(all), Err)
    }
}

impl Shop {
    /// Opens the shop in `dir`, on SQLite; files and tables that are not there are made.
    ///
    /// # Errors
    /// When a database cannot be opened or made.
    pub async fn open(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        Self::open_at(&format!("sqlite:{}/{NAME}.db", dir.display()), settings).await
    }

    /// Opens the shop on the databases of that URL, in which `{participant}` stands for the name of each: one database for each of
    /// them, as in `postgres://me:secret@host/shop_{participant}`, and one for the `channel`. Tables that are not there are made.
    ///
    /// # Errors
    /// When a database cannot be opened.
    pub async fn open_at(url: &str, settings: Settings) -> Result<Self, OpenError> {
        Self::open_of(url, &[], settings).await
    }

    /// The same of these participants alone: only they are [hosted](Self::participants), and no other's database is touched. Without
    /// any name all of them.
    ///
    /// # Errors
    /// When a database cannot be opened.
    pub async fn open_of(url: &str, only: &[String], settings: Settings) -> Result<Self, OpenError> {
        if !url.contains(NAME) {
            return Err(OpenError::Shared);
        }
        let place = Whereabouts { url, only };
        let databases = Box::pin(Databases::open(&place)).await?;
        let Settings { behaviours, charges, closes, clock, patience, minor_per_point } = settings;
        let book = place.channel().await?;
        let settings = ChannelSettings { behaviours, charges, closes, clock: clock.clone() };
        let channel = Arc::new(Channel::new(book, settings).await?);
        let kept = Arc::new(Notify::new());
        let asked = Arc::new(signing(&channel, &clock)?);
        let gateway = Gateway::new(databases.gateway.clone(), asked.clone(), clock.clone(), patience, kept.clone());
        let payments = Payments::new(databases.payments.clone(), asked, clock.clone(), patience, kept.clone());
        let mut participants = participants(&databases, &gateway, &payments, &clock, minor_per_point)?;
        participants.retain(|participant| place.wants(participant.name()));
        let reports_to = OnceLock::new();
        Ok(Self { databases, channel, clock, reports_to, gateway, payments, participants, minor_per_point, kept })
    }

    /// Every participant, to be hosted in this process.
    #[must_use]
    pub fn participants(&self) -> Vec<Arc<dyn Participant>> {
        self.participants.clone()
    }

    pub(crate) fn hosts(&self, name: &str) -> bool {
        self.participants.iter().any(|participant| participant.name() == name)
    }

    /// The third party.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Where the channel's reports of charges go.
    #[must_use]
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    /// Where the channel's reports of refunds go.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What waits in the outboxes, to be sent into `ingress`: the channel's reports, as completions, and sagas that they start.
    pub fn relay<I: Ingress + Clone>(&self, ingress: I) -> Relays<I> {
        let outboxes = [("gateway", &self.databases.gateway), ("payments", &self.databases.payments)];
        let own = outboxes.into_iter().filter(|(name, _)| self.hosts(name));
        let each = own.zip(std::iter::repeat(ingress));
        Relays(each.map(|((_, outbox), ingress)| Relay::new(outbox.clone(), ingress)).collect())
    }

    /// Comes back when a callback was kept since the last time: something may wait in an outbox.
    pub async fn kept(&self) {
        self.kept.notified().await;
    }

    /// Lets the world outside go on by one step: what is due at the channel ends, is reported, and leaves as completions. Call it
    /// every so often; it says when the channel has something due next, if it has.
    ///
    /// # Errors
    /// When a database fails; nothing is lost, call it again.
    pub async fn turn<I: Ingress>(&self, relay: &Relays<I>) -> Result<Option<Millis>, ShopError> {
        let next = self.channel.settle().await?;
        let sender = self.reports_to.get();
        // What is for a participant of another process is left for that one: nobody here would keep it.
        if self.hosts("gateway") {
            let directly: &dyn CallbackSink = &self.gateway;
            self.channel.call_back(sender.map_or(directly, |sender| sender)).await?;
        }
        if self.hosts("payments") {
            let directly: &dyn ChargeSink = &self.payments;
            self.channel.report_charges(sender.map_or(directly, |sender| sender)).await?;
        }
        relay.sweep().await?;
        Ok(next)
    }

    /// The figures of all databases.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn ledger(&self) -> Result<Ledger, ShopError> {
        let dbs = &self.databases;
        Ok(Ledger {
            channel: self.channel.ledger().await?,
            gateway: gateway::ledger(dbs.gateway.reader()).await?,
            payments: payments::ledger(dbs.payments.reader()).await?,
            orders: orders::ledger(dbs.orders.reader()).await?,
            stock: inventory::ledger(dbs.inventory.reader()).await?,
            points: points::ledger(dbs.points.reader()).await?,
            coupons: coupons::ledger(dbs.coupons.reader()).await?,
            red_packets: red_packets::ledger(dbs.red_packets.reader()).await?,
            shipments: warehouse::ledger(dbs.warehouse.reader()).await?,
            notices: push::ledger(dbs.push.reader()).await?,
            minor_per_point: self.minor_per_point,
        })
    }

    /// Every equation that does not hold, of each participant and the channel; at any time there is none.
    pub async fn violations(&self) -> Vec<Violation> {
        let dbs = &self.databases;
        let checks = [
            self.channel.check_equation().await,
            checked!(dbs.gateway, gateway),
            checked!(dbs.payments, payments),
            checked!(dbs.catalog, catalog),
            checked!(dbs.orders, orders),
            checked!(dbs.inventory, inventory),
            checked!(dbs.points, points),
            checked!(dbs.coupons, coupons),
            checked!(dbs.red_packets, red_packets),
            checked!(dbs.warehouse, warehouse),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }
}

/// The shop's own channel, asked by requests that are signed with a key that this process alone has.
fn signing(channel: &Arc<Channel>, clock: &Arc<dyn Clock>) -> Result<Signing, BadKey> {
    let key = SharedKey::random()?;
    let door = Door::new(channel.clone(), Demands::Stamped(vec![key.clone()]), clock.clone());
    Ok(Signing::new(Credentials::Stamped(key), clock.clone(), Arc::new(door)))
}

fn participants(
    dbs: &Databases, gateway: &Gateway, payments: &Payments, clock: &Arc<dyn Clock>, minor_per_point: i64,
) -> Result<Vec<Arc<dyn Participant>>, BuildError> {
    let tick = || Ticking(clock.clone());
    let catalog = Service::builder("catalog", dbs.catalog.clone(), Catalog { grants: GRANTS });
    let orders = Service::builder("orders", dbs.orders.clone(), Orders::new(clock.clone()));
    let inventory = Service::builder("inventory", dbs.inventory.clone(), Inventory);
    let points = Service::builder("points", dbs.points.clone(), Points { minor_per_point });
    let coupons = Service::builder("coupons", dbs.coupons.clone(), Coupons);
    let red_packets = Service::builder("red_packets", dbs.red_packets.clone(), RedPackets);
    let warehouse = Service::builder("warehouse", dbs.warehouse.clone(), Warehouse);
    let push = Service::builder("push", dbs.push.clone(), Push);
    let payments = Service::builder("payments", dbs.payments.clone(), payments.clone());
    let gateway = Service::builder("gateway", dbs.gateway.clone(), gateway.clone());
    Ok(vec![
        Arc::new(catalog.read::<CheckGoods>().clock(tick()).build()?),
        Arc::new(
            orders
                .tcc::<Place>()
                .retriable::<NotePayment>()
                .tcc::<RefundOrder>()
                .retriable::<AwaitShipment>()
                .read::<FindGivenUp>()
                .read::<FindOrders>()
                .clock(tick())
                .build()?,
        ),
        Arc::new(inventory.tcc::<Reserve>().tcc::<PutBack>().clock(tick()).build()?),
        Arc::new(
            points
                .read::<WorthOfPoints>()
                .tcc::<SpendPoints>()
                .tcc::<TakePointsBack>()
                .retriable::<GrantPoints>()
                .clock(tick())
                .build()?,
        ),
        Arc::new(
            coupons
                .read::<WorthOfCoupon>()
                .tcc::<SpendCoupon>()
                .tcc::<TakeCouponBack>()
                .retriable::<IssueCoupon>()
                .clock(tick())
                .build()?,
        ),
        Arc::new(red_packets.tcc::<TakeRedPacketBack>().retriable::<IssueRedPacket>().clock(tick()).build()?),
        Arc::new(warehouse.tcc::<Stop>().retriable::<Ship>().clock(tick()).build()?),
        Arc::new(push.retriable::<push::Notify>().clock(tick()).build()?),
        Arc::new(
            payments
                .tcc::<HoldRefund>()
                .retriable::<BookRefunded>()
                .tcc::<Record>()
                .pivot::<Charge>()
                .clock(tick())
                .build()?,
        ),
        Arc::new(gateway.pivot::<Refund>().pivot::<RefundWithoutClose>().clock(tick()).build()?),
    ])
}

/// The figures of all databases, side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// The third party's own.
    pub channel: ChannelLedger,
    /// Our side of it.
    pub gateway: GatewayLedger,
    /// Payments and refunds.
    pub payments: PaymentLedger,
    /// Orders.
    pub orders: OrderLedger,
    /// Stock, in pieces.
    pub stock: StockLedger,
    /// Points.
    pub points: PointLedger,
    /// Coupons.
    pub coupons: VoucherLedger,
    /// Red packets.
    pub red_packets: VoucherLedger,
    /// Shipments.
    pub shipments: ShipmentLedger,
    /// Messages to buyers, by topic.
    pub notices: BTreeMap<String, u64>,
    /// Minor units that a deducted point was worth.
    pub minor_per_point: i64,
}

impl Ledger {
    /// How many holds stand: refunds and payments that some participant still holds something for. None once every saga has ended.
    #[must_use]
    pub fn holds(&self) -> u64 {
        let open = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
        let processing_of = |states: &BTreeMap<String, u64>| states.get("processing").copied().unwrap_or(0);
        let processing = processing_of(&self.payments.refunds) + processing_of(&self.payments.states);
        let vouchers = self.coupons.holds + self.red_packets.holds;
        let unpaid = self.orders.states.get("pending_payment").copied().unwrap_or(0) + self.stock.holds;
        unpaid + processing + open(self.orders.open_refunds) + self.points.holds + vouchers + self.shipments.holds
    }

    /// What does not add up between the participants: at rest there is nothing. Money whose saga is not decided is reserved, and
    /// may have moved or not; that alone is allowed for. The figures are read one database after another: ask while nothing runs.
    #[must_use]
    pub fn mismatches(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (currency, account) in &self.channel.accounts {
            let money = self.payments.money.get(currency).copied().unwrap_or_default();
            let (received, given_back) = (account.received.0, account.given_back.0);
            if money.received != received {
                found.push(format!("{currency}: {} received by payments, {received} by the channel", money.received));
            }
            if given_back < money.refunded || given_back > money.refunded + money.reserved {
                found.push(format!(
                    "{currency}: {given_back} given back by the channel, {} booked as refunded and {} reserved",
                    money.refunded, money.reserved
                ));
            }
        }
        if self.channel.over_charge > 0 {
            found.push(format!("{} refunds were asked for beyond their charge", self.channel.over_charge));
        }
        found
    }
}
