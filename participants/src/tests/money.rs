//! Exact sums, splits that add up, and texts that say both figures.

use super::{eur, id};
use crate::{
    ids::{BadId, OrderId},
    money::{Currency, Minor, Money, share},
};
use proptest::prelude::*;

fn check(text: &str, currency: Currency) -> String {
    match Money::parse(text, currency) {
        Ok(money) => format!("{} = {money}", money.minor.0),
        Err(error) => error.to_string(),
    }
}

#[test]
fn b46_currencies_have_none_two_or_three_decimals() {
    let (eur, jpy, kwd) = (Currency::EUR, Currency::JPY, Currency::KWD);
    let cases = [
        ("179.26", eur),
        ("0.1", eur),
        ("-0.05", eur),
        ("7", eur),
        ("0.001", eur),
        ("1.", eur),
        (".5", eur),
        ("1e3", eur),
        ("9223372036854775807", eur),
        ("500", jpy),
        ("500.0", jpy),
        ("1.234", kwd),
        ("0.5", kwd),
        ("-1.5", kwd),
    ];
    let table: Vec<_> = cases.iter().map(|(text, currency)| check(text, *currency)).collect();
    insta::assert_snapshot!(table.join("\n"), @"
    17926 = 179.26 EUR
    10 = 0.10 EUR
    -5 = -0.05 EUR
    700 = 7.00 EUR
    `0.001` is no amount of EUR: a decimal number with at most 2 decimals
    100 = 1.00 EUR
    `.5` is no amount of EUR: a decimal number with at most 2 decimals
    `1e3` is no amount of EUR: a decimal number with at most 2 decimals
    `9223372036854775807` is no amount of EUR: a decimal number with at most 2 decimals
    500 = 500 JPY
    `500.0` is no amount of JPY: a decimal number with at most 0 decimals
    1234 = 1.234 KWD
    500 = 0.500 KWD
    -1500 = -1.500 KWD
    ");
}

#[test]
fn b46_a_tenth_and_two_tenths_are_three_tenths() {
    let parse = |text| Money::parse(text, Currency::EUR).unwrap();
    assert_eq!(parse("0.1").plus(parse("0.2")).unwrap(), parse("0.3"));
    assert_eq!(parse("89.63").plus(parse("89.62")).unwrap(), parse("179.25"));
    assert_eq!(parse("179.25").minus(parse("89.63")).unwrap().minus(parse("89.62")).unwrap(), parse("0"));
}

#[test]
fn money_of_two_currencies_is_never_added_up() {
    let mixed = eur(1).plus(Money::new(1, Currency::JPY));
    insta::assert_snapshot!(mixed.unwrap_err(), @"EUR and JPY cannot be added up");
    assert!(eur(i64::MAX).plus(eur(1)).is_err());
}

#[test]
fn money_travels_as_integer_minor_units_and_currency() {
    insta::assert_snapshot!(serde_json::to_string(&eur(17_925)).unwrap(), @r#"{"minor":17925,"currency":"EUR"}"#);
    for bad in [
        r#"{"minor":179.25,"currency":"EUR"}"#,
        r#"{"minor":"1","currency":"EUR"}"#,
        r#"{"minor":1,"currency":"eur"}"#,
        r#"{"minor":1}"#,
        r#"{"minor":1,"currency":"EUR","scale":2}"#,
    ] {
        assert!(serde_json::from_str::<Money>(bad).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_printable_and_short() {
    let bad = |text: &str| text.parse::<OrderId>().map_err(|BadId { .. }| ()).is_err();
    assert!(bad("") && bad("a\nb") && bad(&"x".repeat(121)));
    assert_eq!(id::<OrderId>("o-1").to_string(), "o-1");
    assert!(serde_json::from_str::<OrderId>(r#""""#).is_err());
}

#[test]
fn a_split_gives_what_is_left_over_to_the_largest_remainders() {
    let split = |total: i64, weights: &[u64]| {
        Minor(total).split(weights).map(|parts| parts.iter().map(|p| p.0).collect::<Vec<_>>())
    };
    assert_eq!(split(100, &[1, 1, 1]), Ok(vec![34, 33, 33]));
    assert_eq!(split(-100, &[1, 1, 1]), Ok(vec![-34, -33, -33]));
    assert_eq!(split(17_925, &[9_000, 6_000, 4_000]), Ok(vec![8_491, 5_660, 3_774]));
    assert!(split(1, &[0, 0]).is_err());
    assert!(split(1, &[]).is_err());
}

proptest! {
    #[test]
    fn parts_always_add_up(total in any::<i64>(), weights in prop::collection::vec(any::<u64>(), 1..40)) {
        prop_assume!(weights.iter().any(|&w| w > 0));
        let parts = Minor(total).split(&weights).unwrap();
        prop_assert_eq!(parts.iter().map(|p| i128::from(p.0)).sum::<i128>(), i128::from(total));
        for (part, &weight) in parts.iter().zip(&weights) {
            let all: i128 = weights.iter().copied().map(i128::from).sum();
            // Within one unit of the exact share, on the side of zero or beyond it by less than one.
            let exact_times_all = i128::from(total.unsigned_abs()).checked_mul(i128::from(weight));
            if let Some(exact) = exact_times_all {
                let off = i128::from(part.0.unsigned_abs()) * all - exact;
                prop_assert!(off.abs() < all, "{} of {total} by {weight}", part.0);
            }
        }
    }

    #[test]
    fn shares_of_growing_parts_add_up_to_the_total(total in 0_i64..1_000_000, parts in prop::collection::vec(1_i64..10_000, 1..30)) {
        let whole = Minor(parts.iter().sum());
        let (mut so_far, mut given) = (0, 0);
        for part in parts {
            so_far += part;
            let due = share(total, Minor(so_far), whole).unwrap() - given;
            prop_assert!(due >= 0);
            given += due;
        }
        prop_assert_eq!(given, total);
    }

    #[test]
    fn what_is_printed_is_read_back(minor in any::<i64>(), currency in prop::sample::select(vec![Currency::EUR, Currency::JPY, Currency::KWD])) {
        prop_assume!(minor != i64::MIN);
        let money = Money::new(minor, currency);
        let text = money.to_string();
        let (amount, code) = text.split_once(' ').unwrap();
        prop_assert_eq!(Money::parse(amount, code.parse().unwrap()).unwrap(), money);
    }
}
