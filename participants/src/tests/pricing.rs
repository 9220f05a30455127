//! What an order costs: to the minor unit, by the server's figures, and never another than the buyer was shown.

use super::{Bench, bench, eur, id, line, reply};
use crate::{
    catalog::{CheckGoods, PricedLine, Wanted, Ware},
    channel::Behaviour,
    lines::Line,
    money::{Currency, Minor, Money},
    price::{Price, price},
};
use proptest::prelude::*;

async fn on_sale() -> Bench {
    let bench = bench(Behaviour::Succeed).await;
    let ware = |sku: &str, price, on_sale, promotions: &[(u32, i64)]| Ware {
        sku: id(sku),
        good: "crockery".to_owned(),
        price,
        on_sale,
        pieces: 5,
        promotions: promotions.iter().map(|(from, off)| (*from, Minor(*off))).collect(),
    };
    let wares = [
        ware("cup", eur(3_000), true, &[(2, 100), (3, 250)]),
        ware("pot", eur(6_000), true, &[(1, 9_999)]),
        ware("old", eur(1), false, &[]),
        ware("bowl", Money::new(500, Currency::JPY), true, &[]),
    ];
    bench.shop.put_on_sale(&wares).await.unwrap();
    bench
}

fn wanted(lines: &[(&str, u32)]) -> Wanted {
    Wanted { lines: lines.iter().map(|(sku, quantity)| Line { sku: id(sku), quantity: *quantity }).collect() }
}

#[tokio::test]
async fn goods_are_priced_with_the_best_promotion_or_refused_in_words() {
    let bench = on_sale().await;
    let goods = |lines| bench.step::<CheckGoods>(1, &wanted(lines));
    let priced = reply::<CheckGoods>(&goods(&[("cup", 3), ("pot", 1)]).try_().await);
    let lines: Vec<_> =
        priced.lines.iter().map(|l| format!("{} x{}: {} - {}", l.sku, l.quantity, l.base.0, l.off.0)).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    cup x3: 9000 - 750
    pot x1: 6000 - 6000
    ");
    let mut said = Vec::new();
    for lines in
        [&[("old", 1)][..], &[("spoon", 1)], &[], &[("cup", 0)], &[("cup", 1), ("cup", 1)], &[("cup", 1), ("bowl", 1)]]
    {
        said.push(line(&goods(lines).try_().await));
    }
    insta::assert_snapshot!(said.join("\n"), @"
    refused not_on_sale: old is not on sale
    refused no_variant: there is no spoon
    refused bad_lines: an order has at least one line
    refused bad_lines: each variant stands once with a quantity above zero, not so cup
    refused bad_lines: each variant stands once with a quantity above zero, not so cup
    refused bad_lines: cup is priced in EUR, other goods are not
    ");
    bench.is_sound().await;
}

fn cups(base: i64, off: i64) -> PricedLine {
    PricedLine { sku: id("cup"), quantity: 1, base: Minor(base), off: Minor(off) }
}

fn priced(coupon: Option<Money>, points: i64) -> Result<Price, tercet_core::Refusal> {
    price(&[cups(9_000, 300)], Currency::EUR, coupon, Minor(points))
}

#[test]
fn another_figure_is_refused_with_both_and_nothing_to_pay_is_no_order() {
    let said = [
        priced(Some(eur(1_000)), 75).and_then(|p| p.agreed(eur(7_626))).map(|m| m.to_string()),
        priced(Some(eur(1_000)), 75).and_then(|p| p.agreed(eur(7_625))).map(|m| m.to_string()),
        priced(None, 0).and_then(|p| p.agreed(Money::new(8_700, Currency::JPY))).map(|m| m.to_string()),
        priced(Some(Money::new(1, Currency::JPY)), 0).map(|p| p.total.to_string()),
        priced(Some(eur(8_700)), 0).map(|p| p.total.to_string()),
        priced(None, 8_700).map(|p| p.total.to_string()),
        priced(None, 8_699).map(|p| p.total.to_string()),
    ];
    let said = said.map(|said| said.unwrap_or_else(|no| no.to_string()));
    insta::assert_snapshot!(said.join("\n"), @"
    other_price: the buyer was shown 76.26 EUR, the order costs 76.25 EUR: 90.00 EUR less 3.00 EUR promotions, 10.00 EUR coupon and 0.75 EUR points
    76.25 EUR
    other_price: the buyer was shown 8700 JPY, the order costs 87.00 EUR: 90.00 EUR less 3.00 EUR promotions, 0.00 EUR coupon and 0.00 EUR points
    bad_amount: EUR and JPY cannot be added up
    nothing_to_pay: 90.00 EUR less 3.00 EUR, 87.00 EUR and 0.00 EUR leave 0.00 EUR to pay
    nothing_to_pay: 90.00 EUR less 3.00 EUR, 0.00 EUR and 87.00 EUR leave 0.00 EUR to pay
    0.01 EUR
    ");
}

fn lines() -> impl Strategy<Value = Vec<PricedLine>> {
    let line = (0..1_000_000_i64).prop_flat_map(|base| (Just(base), 0..=base)).prop_map(|(base, off)| cups(base, off));
    proptest::collection::vec(line, 1..8)
}

proptest! {
    #[test]
    fn the_price_is_base_less_promotions_coupon_and_points_and_its_shares_add_up(
        lines in lines(), coupon in proptest::option::of(0..5_000_i64), points in 0..5_000_i64, by in -3..=3_i64,
    ) {
        let sum = |of: fn(&PricedLine) -> i64| lines.iter().map(of).sum::<i64>();
        let exact = sum(|l| l.base.0) - sum(|l| l.off.0) - coupon.unwrap_or(0) - points;
        match price(&lines, Currency::EUR, coupon.map(eur), Minor(points)) {
            Err(no) => {
                prop_assert!(exact <= 0);
                prop_assert_eq!(no.code, "nothing_to_pay");
            }
            Ok(price) => {
                prop_assert_eq!(price.total, eur(exact));
                prop_assert_eq!(price.agreed(eur(exact + by)).is_ok(), by == 0);
                let shares = price.shares(&lines).unwrap();
                prop_assert_eq!(shares.iter().map(|share| share.0).sum::<i64>(), exact);
                prop_assert!(shares.iter().all(|share| share.0 >= 0));
            }
        }
    }
}
