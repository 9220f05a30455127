//! The demo for people: how far it is, and the ledgers as tables.

use super::{Report, Sagas};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use tercet_shop::money::Currency;

/// How far the sagas are: a bar on a terminal, else a line whenever one in ten more has come to rest.
pub struct Progress {
    bar: ProgressBar,
    all: u64,
    said: u64,
}

impl Progress {
    /// Of so many sagas.
    #[must_use]
    pub fn of(sagas: usize) -> Self {
        let all = sagas as u64;
        let bar = ProgressBar::new(all);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} at rest, {elapsed}  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, all, said: 0 }
    }

    /// Shows it.
    pub fn show(&mut self, sagas: &Sagas) {
        let rest = sagas.confirmed + sagas.cancelled + sagas.parked;
        let words = format!(
            "confirmed {}, cancelled {}, parked {} · trying {}, confirming {}, cancelling {}",
            sagas.confirmed, sagas.cancelled, sagas.parked, sagas.trying, sagas.confirming, sagas.cancelling
        );
        if !self.bar.is_hidden() {
            self.bar.set_position(rest);
            self.bar.set_message(words);
        } else if rest >= self.said + (self.all / 10).max(1) || (rest == self.all && rest > self.said) {
            self.said = rest;
            eprintln!("{rest}/{} at rest: {words}", self.all);
        }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("said", &self.said).finish_non_exhaustive()
    }
}

/// The report as tables and sentences.
#[must_use]
pub fn tables(report: &Report) -> String {
    let mut text = String::new();
    let sagas = report.sagas;
    let _ = writeln!(
        text,
        "Sagas: {} confirmed, {} cancelled, {} parked in front of a person.\n",
        sagas.confirmed, sagas.cancelled, sagas.parked
    );
    for (why, count) in &report.cancelled_for {
        let why = why.replace("#.#", "…").replace('#', "…");
        let _ = writeln!(text, "  {count:>4} cancelled, and undone: {why}");
    }
    for (row, why) in report.parked_for.iter().take(PARKED_SHOWN) {
        let _ = writeln!(text, "  parked {} {} ({}): {why}", row.definition, row.key, row.id);
    }
    if let Some(more) = report.parked_for.len().checked_sub(PARKED_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more that are parked");
    }
    let _ = writeln!(text, "\nMoney, in each party's own database:\n{}", money(report));
    let _ = writeln!(
        text,
        "Orders know of no payment that none of them took, and of no money given back by hand; what is reserved belongs to parked sagas."
    );
    let _ = writeln!(text, "\nGoods, points and vouchers:\n{}", goods(report));
    let behaviours: Vec<String> =
        report.ledger.channel.behaviours.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(text, "\nHow the third party behaved: {}.", behaviours.join(", "));
    if report.violations.is_empty() {
        let _ = writeln!(text, "Everything adds up: no minor unit went astray.");
    } else {
        let _ = writeln!(text, "DOES NOT ADD UP:\n  {}", report.violations.join("\n  "));
    }
    text
}

const PARKED_SHOWN: usize = 5;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.iter().map(ToString::to_string).collect::<Vec<_>>());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn money(report: &Report) -> Table {
    let mut table = table(&["who", "currency", "money in", "money back", "reserved", "left"]);
    let ledger = &report.ledger;
    for (currency, account) in &ledger.channel.accounts {
        let show = |minor: i64| decimal(minor, currency);
        let (received, back, left) = (account.received.0, account.given_back.0, account.balance.0);
        table.add_row(["third party", currency, &show(received), &show(back), "", &show(left)]);
        let ours = ledger.payments.money.get(currency).copied().unwrap_or_default();
        let left = ours.received - ours.refunded;
        table.add_row([
            "payments",
            currency,
            &show(ours.received),
            &show(ours.refunded),
            &show(ours.reserved),
            &show(left),
        ]);
        let known = ledger.gateway.given_back.get(currency).copied().unwrap_or(0);
        table.add_row(["gateway", currency, "", &show(known), "", ""]);
        let of = |figures: &std::collections::BTreeMap<String, i64>| figures.get(currency).copied().unwrap_or(0);
        let (paid, refunded, held) = (of(&ledger.orders.paid), of(&ledger.orders.refunded), of(&ledger.orders.held));
        table.add_row(["orders", currency, &show(paid), &show(refunded), &show(held), &show(paid - refunded)]);
    }
    table
}

fn decimal(minor: i64, currency: &str) -> String {
    let decimals = currency.parse::<Currency>().map_or(0, |currency| currency.decimals() as usize);
    if decimals == 0 {
        return minor.to_string();
    }
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    format!("{}{whole}.{part}", if minor < 0 { "-" } else { "" })
}

fn goods(report: &Report) -> Table {
    let mut table = table(&["what", "out", "came back", "held"]);
    let ledger = &report.ledger;
    let states =
        |of: &std::collections::BTreeMap<String, u64>, name: &str| of.get(name).copied().unwrap_or(0).to_string();
    let number = |n: i64| n.to_string();
    table.add_row([
        "stock, pieces".to_owned(),
        number(ledger.stock.sold),
        number(ledger.stock.returned),
        number(ledger.stock.returning),
    ]);
    table.add_row([
        "shipments stopped, pieces".to_owned(),
        String::new(),
        number(ledger.shipments.stopped),
        ledger.shipments.holds.to_string(),
    ]);
    table.add_row([
        "points granted".to_owned(),
        number(ledger.points.granted),
        number(ledger.points.taken),
        number(ledger.points.holds.try_into().unwrap_or(i64::MAX)),
    ]);
    table.add_row([
        "points spent".to_owned(),
        number(ledger.points.spent),
        number(ledger.points.given_back),
        String::new(),
    ]);
    table.add_row([
        "coupons".to_owned(),
        states(&ledger.coupons.vouchers, "usable"),
        states(&ledger.coupons.vouchers, "taken"),
        ledger.coupons.holds.to_string(),
    ]);
    table.add_row([
        "red packets".to_owned(),
        states(&ledger.red_packets.vouchers, "usable"),
        states(&ledger.red_packets.vouchers, "taken"),
        ledger.red_packets.holds.to_string(),
    ]);
    table.add_row(["holds left, all together".to_owned(), String::new(), String::new(), ledger.holds().to_string()]);
    table
}
