//! Buyers of the day, drawn from a seed: what each orders, how it is paid for, and what goes wrong.

use super::{DemoError, cases::id};
use crate::create_order::OrderRequest;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tercet_core::minutes;
use tercet_shop::{
    catalog::{PricedLine, Ware},
    channel::{Buyer, Charges, Charging},
    ids::{PaymentId, Sku, UserId, VoucherId},
    lines::Line,
    money::{Currency, Minor, Money},
    price::price,
    sale::Wallet,
};

/// One buyer's story.
#[derive(Clone, Debug)]
pub struct Story {
    /// Which: names are made of it.
    pub number: usize,
    /// What is ordered.
    pub order: OrderRequest,
    /// How it goes on.
    pub plot: Plot,
}

/// How a story goes on once the order is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// It is paid for, as the third party lets it.
    Pays,
    /// It is paid for, and taken back before it has left.
    PaysAndRegrets,
    /// The money comes when the order has closed, and must go back.
    PaysLate,
    /// It is paid for twice, and one of the two must go back.
    PaysTwice,
    /// Nobody pays.
    Abandons,
    /// The buyer cancels it.
    Cancels,
    /// The buyer clicks five times.
    ClicksFiveTimes,
    /// More is wanted than there is.
    WantsTooMuch,
}

impl Plot {
    /// Sagas that it comes to, with those that they start themselves.
    pub(super) const fn sagas(self) -> usize {
        match self {
            Self::Cancels | Self::WantsTooMuch => 1,
            Self::Pays | Self::Abandons | Self::ClicksFiveTimes => 2,
            Self::PaysAndRegrets | Self::PaysLate => 3,
            Self::PaysTwice => 4,
        }
    }

    fn draw(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..20_u8) {
            0..=6 => Self::Pays,
            7..=9 => Self::PaysAndRegrets,
            10 | 11 => Self::PaysLate,
            12 | 13 => Self::PaysTwice,
            14 | 15 => Self::Abandons,
            16 => Self::ClicksFiveTimes,
            17 => Self::WantsTooMuch,
            _ => Self::Cancels,
        }
    }

    /// How long the order waits for its money.
    const fn pays_within(self) -> Duration {
        match self {
            Self::PaysLate => Duration::from_secs(60),
            _ => minutes(8),
        }
    }
}

/// Variants of the shop's goods.
const WARES: u32 = 24;

/// Pieces of each: enough for everybody but those who want too much.
const PIECES: u32 = 50_000;

impl Story {
    pub(super) fn draw(number: usize, rng: &mut ChaCha8Rng) -> Result<Self, DemoError> {
        let plot = Plot::draw(rng);
        let mut lines: Vec<Line> = Vec::new();
        for _ in 0..rng.random_range(1..=3_u8) {
            let sku = sku(rng.random_range(0..WARES))?;
            if lines.iter().all(|line| line.sku != sku) {
                lines.push(Line { sku, quantity: rng.random_range(1..=4) });
            }
        }
        if plot == Plot::WantsTooMuch {
            lines.truncate(1);
            lines[0].quantity = PIECES + 1;
        }
        let priced = lines.iter().map(priced).collect::<Result<Vec<_>, _>>()?;
        let coupon = rng.random_bool(0.3).then(|| spent_coupon(number)).transpose()?;
        let points = if rng.random_bool(0.3) { rng.random_range(1..=100_u32) } else { 0 };
        let worth = coupon.is_some().then_some(COUPON_WORTH);
        let shown = price(&priced, Currency::EUR, worth, Minor(i64::from(points)));
        let order = OrderRequest {
            key: id(&format!("cart-{number}"))?,
            user: buyer(number)?,
            address: format!("{number} Long Street"),
            invoice_title: None,
            lines,
            coupon,
            points,
            shown: shown.map_err(|refusal| DemoError::Bug(refusal.to_string()))?.total,
            pay_within_ms: u64::try_from(plot.pays_within().as_millis()).unwrap_or(u64::MAX),
        };
        Ok(Self { number, order, plot })
    }

    /// The id of its order's n-th payment.
    pub(super) fn payment(&self, attempt: u32) -> Result<PaymentId, DemoError> {
        id(&format!("pay-{}-{attempt}", self.number))
    }

    /// What its buyer has to spend beside money.
    #[must_use]
    pub fn wallet(&self) -> Wallet {
        let coupons = self.order.coupon.iter().map(|coupon| (coupon.clone(), COUPON_WORTH)).collect();
        Wallet { user: self.order.user.clone(), points: self.order.points, coupons }
    }

    /// Tells the channel what must be so for the story: the others' payments go as the seed has it.
    pub(super) fn tell(&self, charges: &mut Charges, pace: Duration) -> Result<(), DemoError> {
        let paid = Charging::paid(pace);
        let waits = Charging::new(Buyer::Waits);
        match self.plot {
            Plot::Pays | Plot::ClicksFiveTimes | Plot::Cancels | Plot::WantsTooMuch => {}
            Plot::PaysAndRegrets => charges.tell(self.payment(1)?, paid),
            Plot::PaysLate => charges.tell(self.payment(1)?, Charging::paid(minutes(5))),
            Plot::PaysTwice => {
                charges.tell(self.payment(1)?, paid);
                charges.tell(self.payment(2)?, Charging::paid(pace * 2));
            }
            Plot::Abandons => charges.tell(self.payment(1)?, waits),
        }
        Ok(())
    }
}

const COUPON_WORTH: Money = Money::new(150, Currency::EUR);

fn spent_coupon(number: usize) -> Result<VoucherId, DemoError> {
    id(&format!("cart-coupon-{number}"))
}

fn buyer(number: usize) -> Result<UserId, DemoError> {
    id(&format!("buyer-{number}"))
}

fn sku(number: u32) -> Result<Sku, DemoError> {
    id(&format!("ware-{number}"))
}

/// What a piece of a ware costs, in minor units.
fn piece(sku: &Sku) -> i64 {
    let number: i64 = sku.as_str().trim_start_matches("ware-").parse().unwrap_or(0);
    1_200 + number * 377
}

/// From three pieces on, so much off each.
const THREE_AND_MORE: (u32, i64) = (3, 95);

fn priced(line: &Line) -> Result<PricedLine, DemoError> {
    let times = |minor: i64| Minor(minor).times(i64::from(line.quantity)).map_err(|e| DemoError::Bug(e.to_string()));
    let off = if line.quantity >= THREE_AND_MORE.0 { THREE_AND_MORE.1 } else { 0 };
    Ok(PricedLine { sku: line.sku.clone(), quantity: line.quantity, base: times(piece(&line.sku))?, off: times(off)? })
}

/// The goods of the day.
///
/// # Errors
/// A bug of their making.
pub fn wares() -> Result<Vec<Ware>, DemoError> {
    let ware = |number| {
        let sku = sku(number)?;
        let price = Money::new(piece(&sku), Currency::EUR);
        let (from, off) = THREE_AND_MORE;
        let good = format!("good-{}", number / 3);
        Ok(Ware { sku, good, price, on_sale: true, pieces: PIECES, promotions: vec![(from, Minor(off))] })
    };
    (0..WARES).map(ware).collect()
}
