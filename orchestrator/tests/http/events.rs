//! What hosted participants publish, and what the process counts.

use crate::support::{Node, Reply};
use insta::assert_snapshot;
use std::sync::Arc;
use tercet::{
    api::record_metrics,
    core::{Millis, Payload},
    published::{EventSource, Paging, PublishedEvent, Wanted},
};

/// Seven events of two subjects, a second apart; or a database that fails.
struct Seven {
    fails: bool,
}

impl EventSource for Seven {
    fn page(&self, wanted: Wanted) -> Paging<'_> {
        let event = |number: i64| PublishedEvent {
            number,
            id: format!("o-{}@{}", number % 2, (number + 1) / 2),
            source: "orders".to_owned(),
            subject: format!("o-{}", number % 2),
            version: (number + 1) / 2,
            kind: "order.changed".to_owned(),
            at: Millis(1_780_000_000_000 + number * 1_000),
            data: Payload::of(&number).unwrap(),
        };
        let fits = |event: &PublishedEvent| {
            wanted.after.is_none_or(|after| event.number > after)
                && wanted.since.is_none_or(|since| event.at >= since)
                && wanted.subject.as_ref().is_none_or(|subject| event.subject == *subject)
        };
        let page: Vec<_> = (1..=7).map(event).filter(fits).take(wanted.limit as usize).collect();
        Box::pin(async move { if self.fails { Err("disk I/O error in /secret/path".to_owned()) } else { Ok(page) } })
    }
}

async fn node(fails: bool) -> Node {
    Node::showing(Arc::new(Seven { fails })).await
}

fn ids(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let page = reply.json();
    let ids: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    format!("{} next {} more {}", ids.join(" "), page["next"], page["more"])
}

#[tokio::test]
async fn events_are_shown_in_order_a_page_at_a_time() {
    let node = node(false).await;
    assert_snapshot!(node.get("/v1/events?limit=1").await.shown(), @r#"
    200
    {
      "events": [
        {
          "at": "<time>",
          "data": 1,
          "id": "o-1@1",
          "source": "orders",
          "subject": "o-1",
          "type": "order.changed",
          "version": 1
        }
      ],
      "more": true,
      "next": "after-1"
    }
    "#);
    let mut said = Vec::new();
    for query in [
        "",
        "?limit=3",
        "?limit=3&cursor=after-3",
        "?limit=3&cursor=after-6",
        "?cursor=after-7",
        "?subject=o-0",
        "?subject=o-0&since=2026-05-28T20:26:44Z",
        "?subject=nobody",
    ] {
        said.push(format!("{query}: {}", ids(&node.get(&format!("/v1/events{query}")).await)));
    }
    assert_snapshot!(said.join("\n"), @r#"
    : o-1@1 o-0@1 o-1@2 o-0@2 o-1@3 o-0@3 o-1@4 next "after-7" more false
    ?limit=3: o-1@1 o-0@1 o-1@2 next "after-3" more true
    ?limit=3&cursor=after-3: o-0@2 o-1@3 o-0@3 next "after-6" more true
    ?limit=3&cursor=after-6: o-1@4 next "after-7" more false
    ?cursor=after-7:  next "after-7" more false
    ?subject=o-0: o-0@1 o-0@2 o-0@3 next "after-6" more false
    ?subject=o-0&since=2026-05-28T20:26:44Z: o-0@2 o-0@3 next "after-6" more false
    ?subject=nobody:  next null more false
    "#);
}

#[tokio::test]
async fn events_are_asked_for_rightly_or_not_at_all() {
    let node = node(false).await;
    let mut said = Vec::new();
    for query in ["?limit=0", "?limit=1001", "?cursor=3", "?since=yesterday", "?subjekt=o-0"] {
        let reply = node.get(&format!("/v1/events{query}")).await;
        said.push(format!("{} {query}: {}", reply.status, reply.json()["detail"].as_str().unwrap()));
    }
    assert_snapshot!(said.join("\n"), @"
    400 ?limit=0: `limit` must be a number from 1 to 1000
    400 ?limit=1001: `limit` must be a number from 1 to 1000
    400 ?cursor=3: `cursor` must be the `next` of the page before
    400 ?since=yesterday: `since` must be a moment, as in `2026-11-25T06:53:48Z`
    400 ?subjekt=o-0: there is no parameter `subjekt` here
    ");
    let nothing = Node::start().await.get("/v1/events").await;
    assert_eq!((nothing.status, nothing.json()["code"].as_str().unwrap()), (404, "no_events"));
}

#[tokio::test]
async fn a_participants_database_that_fails_is_told_and_nothing_of_it() {
    let reply = node(true).await.get("/v1/events").await;
    assert_eq!(reply.status, 503);
    assert!(!reply.body.contains("secret"), "{}", reply.body);
}

/// The value of a line of `/metrics`.
fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn what_a_saga_does_is_counted() {
    record_metrics();
    let node = Node::start().await;
    let before = node.get("/metrics").await;
    assert_eq!(before.status, 200, "{}", before.body);
    assert!(before.head.contains("content-type: text/plain; version=0.0.4"), "{}", before.head);
    let started = "tercet_sagas_started_total{definition=\"quick\"}";
    let ended = "tercet_sagas_ended_total{definition=\"quick\",outcome=\"confirmed\"}";
    let done = "tercet_steps_total{definition=\"quick\",outcome=\"done\"}";
    let counts = |text: &str| [started, ended, done].map(|name| value(text, name));
    let [started_before, ended_before, done_before] = counts(&before.body);
    node.begin("quick", "counted", "end").await;
    let after = node.get("/metrics").await.body;
    let [started_after, ended_after, done_after] = counts(&after);
    assert!(started_after > started_before && ended_after > ended_before && done_after > done_before, "{after}");
    assert!(value(&after, "tercet_commit_rows_count") >= 1.0);
    assert!(value(&after, "tercet_commit_seconds_count") >= 1.0);
    for name in ["tercet_timers_armed_total", "tercet_timers_fired_total", "tercet_sagas_in_memory"] {
        value(&after, name);
    }
    assert!(after.contains("tercet_breaker{participant="), "{after}");
}
