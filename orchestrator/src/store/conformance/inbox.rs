//! Inboxes are queues, read and deleted by id; the audit log; registered definitions.

use super::{Tested, append, begun, changes, name, ok, saga};
use crate::store::{AuditRow, Change, DefinitionRow, InboxId, InboxItem, Shards};
use tercet_core::Millis;

fn item(n: u64, text: &str) -> InboxItem {
    InboxItem { saga: saga(n), at: Millis(5), message: text.as_bytes().to_vec() }
}

async fn texts(store: &Tested, except: Vec<InboxId>, limit: u32) -> Vec<(InboxId, String)> {
    let text = |(id, item): (InboxId, InboxItem)| (id, String::from_utf8_lossy(&item.message).into_owned());
    ok(store.inbox(Shards::ALL, except, limit).await).into_iter().map(text).collect()
}

/// A message may be put there for a saga that nobody knows yet, and by who owns no incarnation.
pub async fn an_inbox_is_read_by_id_and_leaves_out_what_is_in_hand(store: Tested) {
    ok(store.deliver(vec![item(1, "a"), item(2, "b"), item(1, "c")]).await);
    ok(store.deliver(vec![item(3, "d")]).await);
    ok(store.deliver(Vec::new()).await);
    let all = texts(&store, Vec::new(), 10).await;
    assert_eq!(all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(ok(store.inbox(Shards::ALL, Vec::new(), 1).await)[0].1, item(1, "a"));
    let in_hand = vec![all[0].0, all[2].0, InboxId(i64::MAX)];
    assert_eq!(texts(&store, in_hand.clone(), 10).await, [all[1].clone(), all[3].clone()]);
    assert_eq!(texts(&store, in_hand, 1).await, [all[1].clone()]);
    ok(store.forget_inbox(vec![all[1].0, all[1].0, InboxId(i64::MAX)]).await);
    assert_eq!(texts(&store, Vec::new(), 10).await, [all[0].clone(), all[2].clone(), all[3].clone()]);
}

/// Or a late deletion would take another's message.
pub async fn an_inbox_id_is_never_used_again(store: Tested) {
    ok(store.deliver(vec![item(1, "a"), item(1, "b")]).await);
    let before = texts(&store, Vec::new(), 10).await;
    ok(store.forget_inbox(before.iter().map(|(id, _)| *id).collect()).await);
    ok(store.deliver(vec![item(1, "c")]).await);
    let after = texts(&store, Vec::new(), 10).await;
    assert!(after[0].0 > before[1].0, "{after:?} after {before:?}");
}

/// A signal and its verdict cross in the transaction of the entries about them.
pub async fn a_change_takes_from_the_inbox_and_puts_into_it(store: Tested) {
    let node = begun(&store, 2).await;
    ok(store.deliver(vec![item(1, "paid"), item(2, "other")]).await);
    let paid = texts(&store, Vec::new(), 10).await[0].0;
    let change = Change { taken: vec![paid], put: vec![item(2, "accepted")], ..append(1, 2) };
    let fenced = store.commit(node.later(0), changes(vec![change.clone()])).await;
    assert!(fenced.is_err());
    assert_eq!(texts(&store, Vec::new(), 10).await.len(), 2);
    ok(store.commit(node, changes(vec![change])).await);
    let left: Vec<_> = texts(&store, Vec::new(), 10).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(left, ["other", "accepted"]);
}

/// In the order of writing, not of the clock.
pub async fn audit_rows_come_oldest_first(store: Tested) {
    let node = begun(&store, 2).await;
    let audit = |n, at, action: &str| AuditRow {
        saga: saga(n),
        at: Millis(at),
        actor: "ann".into(),
        action: action.into(),
        reason: "the bank called".into(),
    };
    let first = Change { audit: vec![audit(1, 9, "retry"), audit(1, 8, "resolve")], ..append(1, 2) };
    let other = Change { audit: vec![audit(2, 1, "close")], ..append(2, 2) };
    ok(store.commit(node, changes(vec![first, other])).await);
    let last = Change { audit: vec![audit(1, 7, "cancel")], ..Change::default() };
    ok(store.commit(node, changes(vec![last])).await);
    let found = ok(store.audit(saga(1)).await);
    assert_eq!(found, [audit(1, 9, "retry"), audit(1, 8, "resolve"), audit(1, 7, "cancel")]);
    assert_eq!(ok(store.audit(saga(3)).await), []);
}

/// The same again is nothing; an edited one under an old version is handed back as it was registered.
pub async fn a_definition_is_registered_once_and_never_overwritten(store: Tested) {
    let definition = |of: &str, version, fingerprint: &str| DefinitionRow {
        name: name(of),
        version,
        fingerprint: fingerprint.to_owned(),
        description: format!(r#"{{"steps":["{fingerprint}"]}}"#),
    };
    let (chain, relay) = (definition("chain", 1, "aa"), definition("relay", 1, "bb"));
    assert_eq!(ok(store.register(vec![chain.clone(), relay.clone()]).await), []);
    assert_eq!(ok(store.register(vec![relay.clone(), chain.clone()]).await), []);
    let (edited, newer) = (definition("chain", 1, "cc"), definition("chain", 2, "cc"));
    assert_eq!(ok(store.register(vec![relay, edited, newer.clone()]).await), vec![chain.clone()]);
    assert_eq!(ok(store.definition(name("chain"), 1).await), Some(chain));
    assert_eq!(ok(store.definition(name("chain"), 2).await), Some(newer));
    assert_eq!(ok(store.definition(name("chain"), 3).await), None);
    assert_eq!(ok(store.register(Vec::new()).await), []);
}
