//! What must be so at a day's end, and its figures.

use crate::{
    face::Nodes,
    faults::{Fault, Fired},
    options::{Options, Shelf},
    place::Place,
};
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write, time::Duration};
use tercet_shop::{
    Ledger, PARTICIPANTS, Shop,
    channel::{Behaviour, Ends as Ending, Said, Script, ThirdParty},
};
use tercet_workflows::demo::{Cases, Ends, Sagas, Told};

/// A day that is over.
pub(crate) struct Ended {
    pub(crate) options: Options,
    pub(crate) cases: Cases,
    pub(crate) script: Script,
    pub(crate) nodes: Nodes,
    pub(crate) place: Place,
    pub(crate) shop: Shop,
    pub(crate) fired: Vec<Fired>,
    pub(crate) took: Duration,
    /// What went wrong on the way.
    pub(crate) wrong: Vec<String>,
}

/// What became of it.
pub(crate) struct Report {
    options: Options,
    shop: Shop,
    url: String,
    sagas: Sagas,
    by_definition: BTreeMap<String, Ends>,
    ledger: Ledger,
    told: Told,
    fired: Vec<Fired>,
    asked_in_vain: (u64, u64),
    /// How often a node took over from one that was not heard of, and how often one learnt that it had been.
    take_overs: [usize; 2],
    took: Duration,
    wrong: Vec<String>,
    /// The databases, for as long as this is looked at.
    _place: Place,
}

pub(crate) async fn check(ended: Ended) -> Report {
    let Ended { options, cases, script, nodes, mut place, shop, fired, took, mut wrong } = ended;
    let counts = nodes.counts().await.unwrap();
    let (sagas, by_definition) = (Sagas::of(&counts), Sagas::by_definition(&counts));
    let rows = nodes.all().await.unwrap();
    wrong.extend(every_acknowledged_start_is_there(&nodes, &rows));
    wrong.extend(whoever_is_parked_has_a_final_reason(&nodes, &rows, &cases, &script, &shop).await);
    wrong.extend(every_participant_is_listed(&nodes).await);
    wrong.extend(every_fault_happened(&fired, options.rounds));
    if sagas.under_way > 0 {
        wrong.push(format!("{} sagas have neither ended nor parked", sagas.under_way));
    }
    if [sagas.confirmed, sagas.cancelled, sagas.parked].contains(&0) {
        wrong.push("one of the three ends is missing: such a day shows nothing".to_owned());
    }
    let asked_in_vain = nodes.asked_in_vain();
    let take_overs = ["took over a node", "this node was taken over"].map(|words| place.times_said(words));
    place.close();

    let mut told = Told::default();
    for row in rows.iter().filter(|row| row["status"] == "confirmed") {
        told.hear(text(row, "definition"), row.get("parent").is_some(), &row["output"].to_string()).unwrap();
    }
    let ledger = shop.ledger().await.unwrap();
    wrong.extend(told.violations(&shop, &ledger, sagas.parked).await);
    wrong.extend(each_effect_once(&ledger, &by_definition, sagas.parked));
    let url = place.shop.clone();
    Report {
        options,
        shop,
        url,
        sagas,
        by_definition,
        ledger,
        told,
        fired,
        asked_in_vain,
        take_overs,
        took,
        wrong,
        _place: place,
    }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name}: {row}"))
}

/// G9, G10: what was acknowledged is there, once, under the id that was told.
fn every_acknowledged_start_is_there(nodes: &Nodes, rows: &[Value]) -> Vec<String> {
    let mut there = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows {
        let name = (text(row, "definition").to_owned(), text(row, "key").to_owned());
        if let Some(other) = there.insert(name.clone(), text(row, "id").to_owned()) {
            wrong.push(format!("two sagas of {name:?}: {other} and {}", row["id"]));
        }
    }
    let lost = nodes.acknowledged().into_iter().filter(|(name, id)| there.get(name) != Some(id));
    wrong.extend(lost.map(|(name, id)| format!("acknowledged and lost: {name:?}, {id}")));
    wrong
}

/// Parked are those whose money the third party refuses for good, as it says when it is asked, and which is nobody's to keep: no answer
/// could still come. And all of them are.
async fn whoever_is_parked_has_a_final_reason(
    nodes: &Nodes, rows: &[Value], cases: &Cases, script: &Script, shop: &Shop,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_refused = |id: &str| {
        let behaviour = script.refunds.of(&id.parse().unwrap());
        matches!(behaviour, Behaviour::Refuse | Behaviour::Accept { ends: Ending::Badly, .. })
    };
    let by_hand = cases.requests.iter().filter(|request| request.definition == "refund_money");
    let mut expected: Vec<&str> = by_hand.map(|request| &*request.key).filter(|id| is_refused(id)).collect();
    for row in rows.iter().filter(|row| row["parked"] != 0) {
        let (definition, key) = (text(row, "definition"), text(row, "key"));
        let shown = nodes.get(&format!("sagas/{}", text(row, "id"))).await.unwrap();
        let parked: Vec<_> =
            shown["steps"].as_array().unwrap().iter().filter(|step| step.get("parked").is_some()).collect();
        let Some(place) = expected.iter().position(|id| *id == key) else {
            wrong.push(format!("{definition} {key} is parked, and nobody refused it: {parked:?}"));
            continue;
        };
        expected.swap_remove(place);
        let has_a_reason = |step: &&Value| {
            !step["parked"].as_str().unwrap_or_default().is_empty()
                && step["choices"].as_array().is_some_and(|choices| !choices.is_empty())
        };
        if parked.is_empty() || !parked.iter().all(has_a_reason) {
            wrong.push(format!("{definition} {key} is parked without a reason or a way out: {parked:?}"));
        }
        let said = shop.channel().query(&key.parse().unwrap()).await;
        if !matches!(said, Ok(Said::Failed { .. })) {
            wrong.push(format!("{definition} {key} is parked, but the channel says: {said:?}"));
        }
    }
    wrong.extend(expected.into_iter().map(|key| format!("refund_money {key} was refused for good, and is not parked")));
    wrong
}

/// As `tercet participant ls` shows it: who is there over NATS, in which version, and how often it was asked.
async fn every_participant_is_listed(nodes: &Nodes) -> Vec<String> {
    let listed = nodes.get("participants?within=3s").await.unwrap();
    let listed = listed["participants"].as_array().unwrap();
    let is_right = |name: &str| {
        let instances: Vec<_> = listed.iter().filter(|one| one["participant"] == name).collect();
        let [one] = &*instances else { return false };
        let operations = one["operations"].as_array().unwrap();
        let calls: u64 = operations.iter().map(|operation| operation["calls"].as_u64().unwrap()).sum();
        one["version"] == env!("CARGO_PKG_VERSION") && calls > 0
    };
    let missing = PARTICIPANTS.into_iter().filter(|name| !is_right(name));
    missing.map(|name| format!("{name} is not listed as one instance that was asked: {listed:?}")).collect()
}

fn every_fault_happened(fired: &[Fired], rounds: usize) -> Vec<String> {
    let times = |fault: &Fault| fired.iter().filter(|fired| fired.fault == *fault).count();
    let missing = Fault::ALL.into_iter().filter(|fault| times(fault) != rounds);
    missing.map(|fault| format!("this happened {} times, not {rounds}: {fault}", times(&fault))).collect()
}

/// The figures of each party against how the sagas ended: what counts once for each of them.
fn each_effect_once(ledger: &Ledger, by_definition: &BTreeMap<String, Ends>, parked: u64) -> Vec<String> {
    let of = |definition: &str| by_definition.get(definition).copied().unwrap_or_default();
    let refunds = |end: fn(Ends) -> u64| end(of("refund")) + end(of("refund_money"));
    let (confirmed, cancelled) = (refunds(|ends| ends.confirmed), refunds(|ends| ends.cancelled));
    let count = |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0);
    let notices = |name| count(&ledger.notices, name);
    let figures = [
        ("refunds booked by payments", count(&ledger.payments.refunds, "refunded"), confirmed),
        ("refunds that moved money at the channel", count(&ledger.channel.refunds, "succeeded"), confirmed),
        ("refunds that hold money", count(&ledger.payments.refunds, "processing"), parked),
        ("buyers told of a refund", notices("refunded"), confirmed),
        ("buyers told of a refund that failed", notices("refund_failed"), cancelled),
        ("buyers told that their payment counts", notices("payment_accepted"), of("create_order").confirmed),
    ];
    let wrong = figures.into_iter().filter(|(_, is, must)| is != must);
    wrong.map(|(what, is, must)| format!("{what}: {is}, and must be {must}")).collect()
}

impl Report {
    /// The figures.
    pub(crate) fn print(&self) {
        let Options { store, nodes, sagas, seed, shelf, .. } = self.options;
        let mut text =
            format!("{sagas} sagas of seed {seed} on {nodes} node(s), {store}, participants' databases: {shelf:?}\n");
        let mut line = |line: String| writeln!(text, "{line}").unwrap();
        line(format!("{:<16}{:>10}{:>10}{:>10}", "sagas", "confirmed", "cancelled", "parked"));
        let all = Ends { confirmed: self.sagas.confirmed, cancelled: self.sagas.cancelled, parked: self.sagas.parked };
        for (name, ends) in self.by_definition.iter().map(|(name, ends)| (&**name, *ends)).chain([("all", all)]) {
            line(format!("{name:<16}{:>10}{:>10}{:>10}", ends.confirmed, ends.cancelled, ends.parked));
        }
        for Fired { fault, at_rest, after } in &self.fired {
            line(format!("{:>7.1} s  {at_rest:>5} at rest  {fault}", after.as_secs_f64()));
        }
        let [took_over, taken_over] = self.take_overs;
        line(format!("take-overs: {took_over}; nodes that learnt of theirs, and joined again: {taken_over}"));
        let (unavailable, unanswered) = self.asked_in_vain;
        line(format!("asked in vain: refused for now {unavailable} times, not answered {unanswered} times"));
        for (currency, account) in &self.ledger.channel.accounts {
            let (received, given_back) = (account.received.0, account.given_back.0);
            line(format!("the channel, {currency}: {received} received, {given_back} given back, in minor units"));
        }
        line(format!("{:.1} s", self.took.as_secs_f64()));
        println!("{text}");
    }

    /// Nothing is wrong.
    pub(crate) fn pass(&self) {
        assert!(self.wrong.is_empty(), "{} violations:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }

    /// The checks themselves: money that went astray in one participant's database is noticed, and so is a buyer who was not told.
    pub(crate) async fn a_corrupted_row_is_found(&self) {
        assert_eq!(self.options.shelf, Shelf::Files);
        let corrupted = [
            (
                "payments",
                "UPDATE payment_refunds SET amount = amount + 1 WHERE id = (SELECT min(id) FROM payment_refunds WHERE state = 'refunded')",
            ),
            ("push", "DELETE FROM notices WHERE key = (SELECT min(key) FROM notices WHERE topic = 'refunded')"),
        ];
        for (participant, statement) in corrupted {
            let url = self.url.replace("{participant}", participant);
            let changed = Database::connect(&url).await.unwrap().execute_unprepared(statement).await.unwrap();
            assert_eq!(changed.rows_affected(), 1, "{statement}");
            let ledger = self.shop.ledger().await.unwrap();
            let mut wrong = self.told.violations(&self.shop, &ledger, self.sagas.parked).await;
            wrong.extend(each_effect_once(&ledger, &self.by_definition, self.sagas.parked));
            assert!(!wrong.is_empty(), "nobody notices: {statement}");
        }
    }
}
