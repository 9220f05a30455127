//! What the demo does: the day's buyers, and refunds of earlier days' sales, drawn from a seed, the same in every run.

use super::{DemoError, stories::Story};
use crate::{refund::RefundRequest, refund_money::MoneyRequest};
use rand::RngExt;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{str::FromStr, time::Duration};
use tercet_core::Payload;
use tercet_shop::{
    Sale,
    channel::{Behaviour, Behaviours, Charges, Ends},
    ids::{PaymentId, RefundId},
    money::{Currency, Minor, Money},
    orders::{Goods, OrderState, Part, PartLine, SeedLine, SeedOrder},
    shares::OnSpent,
};

/// A saga to start.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it runs.
    pub definition: &'static str,
    /// Its key.
    pub key: String,
    /// What it is given.
    pub input: Payload,
}

/// Everything that a seed makes.
#[derive(Debug)]
pub struct Cases {
    /// Sales of earlier days.
    pub sales: Vec<Sale>,
    /// What is to be given back of them.
    pub requests: Vec<Request>,
    /// The day's buyers.
    pub stories: Vec<Story>,
    /// Money given back by hand that the third party refuses for good: it is nobody's to keep, so it must park.
    pub refused: Vec<RefundId>,
}

/// One saga in so many gives money back by hand.
const BY_HAND_ONE_IN: usize = 12;

impl Cases {
    /// So many sagas, with those that they start themselves: about half are refunds, the others' are the day's buyers.
    ///
    /// # Errors
    /// A bug of the drawing.
    pub fn draw(seed: u64, sagas: usize) -> Result<Self, DemoError> {
        let (sales, requests) = (Vec::new(), Vec::new());
        let mut cases = Self { sales, requests, stories: Vec::new(), refused: Vec::new() };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut number, mut buying) = (0, 0);
        while cases.requests.len() + buying < sagas {
            number += 1;
            let left = sagas - cases.requests.len() - buying;
            let story = if buying < sagas / 2 { Some(Story::draw(number, &mut rng)?) } else { None };
            match story.filter(|story| story.plot.sagas() <= left) {
                Some(story) => {
                    buying += story.plot.sagas();
                    cases.stories.push(story);
                }
                None => cases.draw_one(number, &mut rng)?,
            }
        }
        cases.requests.truncate(sagas - buying);
        Ok(cases)
    }

    /// How the channel behaves to refunds: by seed, but for what it is told to refuse, and for payments that no order took. These it
    /// gives back sooner or later: a refusal would leave a payment's saga waiting for one that waits for a person.
    ///
    /// # Errors
    /// A bug of the drawing.
    pub fn behaviours(&self, seed: u64, pace: Duration) -> Result<Behaviours, DemoError> {
        let mut behaviours = Behaviours::seeded(seed, pace);
        for reference in &self.refused {
            behaviours.tell(reference.clone(), Behaviour::Refuse);
        }
        for story in &self.stories {
            for attempt in [1, 2] {
                let reference: RefundId = id(story.payment(attempt)?.as_str())?;
                if let Behaviour::Refuse | Behaviour::Accept { ends: Ends::Badly, .. } = behaviours.of(&reference) {
                    behaviours.tell(reference, Behaviour::Accept { after: pace * 2, ends: Ends::Well, callbacks: 1 });
                }
            }
        }
        Ok(behaviours)
    }

    /// How the channel and the buyers behave to charges: by seed, but for what the stories ask for.
    ///
    /// # Errors
    /// A bug of the drawing.
    pub fn charges(&self, seed: u64, pace: Duration) -> Result<Charges, DemoError> {
        let mut charges = Charges::seeded(seed, pace);
        self.stories.iter().try_for_each(|story| story.tell(&mut charges, pace))?;
        Ok(charges)
    }

    fn draw_one(&mut self, number: usize, rng: &mut ChaCha8Rng) -> Result<(), DemoError> {
        let kind = rng.random_range(0..6_u8);
        let shipped = kind >= 2;
        let sale = sale(number, shipped, rng)?;
        if number.is_multiple_of(BY_HAND_ONE_IN) {
            self.by_hand(number, &sale)?;
        } else {
            let request = |suffix: &str, part, goods| refund(&sale, number, suffix, part, goods);
            let some = Money::new(sale.order.paid.minor.0 * 3 / 5, sale.order.paid.currency);
            match kind {
                0 | 1 => self.requests.push(request("", Part::Whole, Goods::NotShipped)?),
                2 => self.requests.push(request("", Part::Whole, Goods::Returned)?),
                3 => self.requests.push(request("", one_piece(&sale), Goods::Kept)?),
                4 => self.requests.push(request("", Part::Amount(some), Goods::Kept)?),
                // Two at once, of three fifths each: together they are more than was paid.
                _ => {
                    self.requests.push(request("-a", Part::Amount(some), Goods::Kept)?);
                    self.requests.push(request("-b", Part::Amount(some), Goods::Kept)?);
                }
            }
        }
        self.sales.push(sale);
        Ok(())
    }

    fn by_hand(&mut self, number: usize, sale: &Sale) -> Result<(), DemoError> {
        let id: RefundId = id(&format!("by-hand-{number}"))?;
        if number.is_multiple_of(BY_HAND_ONE_IN * 2) || self.refused.is_empty() {
            self.refused.push(id.clone());
        }
        let amount = Money::new(sale.order.paid.minor.0 / 4, sale.order.paid.currency);
        let request = MoneyRequest {
            id,
            payment: sale.order.payment.clone(),
            user: sale.order.user.clone(),
            amount,
            reason: "goodwill".to_owned(),
            received: None,
        };
        let key = request.id.to_string();
        self.requests.push(Request { definition: "refund_money", key, input: payload(&request)? });
        Ok(())
    }
}

fn refund(sale: &Sale, number: usize, suffix: &str, part: Part, goods: Goods) -> Result<Request, DemoError> {
    let request = RefundRequest {
        id: id(&format!("refund-{number}{suffix}"))?,
        order: sale.order.id.clone(),
        claim: id(&format!("claim-{number}"))?,
        user: sale.order.user.clone(),
        part,
        goods,
        on_spent: OnSpent::Deduct,
        reason: "changed my mind".to_owned(),
    };
    Ok(Request { definition: "refund", key: request.id.to_string(), input: payload(&request)? })
}

fn one_piece(sale: &Sale) -> Part {
    let line = &sale.order.lines[0];
    Part::Lines(vec![PartLine { sku: line.sku.clone(), quantity: 1, amount: None }])
}

fn sale(number: usize, shipped: bool, rng: &mut ChaCha8Rng) -> Result<Sale, DemoError> {
    let eur = |minor| Money::new(minor, Currency::EUR);
    let mut lines = Vec::new();
    for _ in 0..rng.random_range(1..=3_u8) {
        let quantity = rng.random_range(1..=4_u32);
        let sku = id(&format!("sku-{}-{}", lines.len(), rng.random_range(0..20_u32)))?;
        lines.push(SeedLine { sku, quantity, price: Minor(i64::from(quantity) * rng.random_range(199..=9_999_i64)) });
    }
    let goods: i64 = lines.iter().map(|line| line.price.0).sum();
    let coupon = rng.random_bool(0.3).then(|| id(&format!("coupon-{number}"))).transpose()?;
    let coupon_value = goods / 10;
    let points_spent = if rng.random_bool(0.3) { rng.random_range(1..=100_u32) } else { 0 };
    let paid = goods - i64::from(coupon.is_some()) * coupon_value - i64::from(points_spent);
    let gift = |name: &str| id(&format!("{name}-{number}"));
    Ok(Sale {
        order: SeedOrder {
            id: id(&format!("order-{number}"))?,
            user: id(&format!("user-{}", number % 97))?,
            payment: id::<PaymentId>(&format!("payment-{number}"))?,
            lines,
            paid: eur(paid),
            coupon,
            points_spent,
            red_packet: rng.random_bool(0.2).then(|| gift("packet")).transpose()?,
            state: if shipped { OrderState::Shipped } else { OrderState::AwaitingShipment },
            after_sales_until: None,
        },
        coupon_value: eur(coupon_value),
        points_granted: u32::try_from(paid / 100).unwrap_or(0),
        coupon_granted: rng.random_bool(0.2).then(|| gift("gift")).transpose()?.map(|coupon| (coupon, eur(500))),
        red_packet_value: eur(188),
    })
}

pub(super) fn id<T: FromStr>(text: &str) -> Result<T, DemoError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| DemoError::Bug(error.to_string()))
}

pub(super) fn payload<T: serde::Serialize>(value: &T) -> Result<Payload, DemoError> {
    Payload::of(value).map_err(|error| DemoError::Bug(error.to_string()))
}
