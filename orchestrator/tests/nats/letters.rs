//! Messages that fill what the server takes: with the reason why they cannot succeed they are larger, and are laid aside all the same.

use super::ingress::{Node, letters, send, start, streams, toy, until, waiting};
use std::sync::Arc;
use tercet::{
    Registry,
    ingress::{DeadLetter, DeadLetters},
    store::MemoryStore,
};
use tercet_nats::{
    async_nats::HeaderMap,
    streams::{Outgoing, Stream, Streams},
};
use tercet_servers::nats::{Setup, Version};

/// What the server takes.
const MAX: usize = 8_192;

/// A start that fills it: without an id, as a sender may do that wants no copies found out.
fn full(key: &str) -> Outgoing {
    let mut message = Outgoing { id: None, ..start("quick", key) };
    message.body.resize(MAX, b' ');
    message
}

/// Waits until nothing waits and as many letters are there; these.
async fn settled(streams: &Streams, dead: &DeadLetters, count: usize) -> Vec<DeadLetter> {
    until(|| async { dead.page(0, 9).await.is_ok_and(|page| page.len() == count) }).await;
    until(|| async { waiting(streams).await == 0 }).await;
    letters(dead).await
}

#[tokio::test]
async fn a_message_that_leaves_no_room_for_a_reason_is_laid_aside_in_parts_and_sent_again_whole() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().payload_max(MAX).start(version).unwrap();
        let streams = streams(&server).await;
        let dead = DeadLetters::new(streams.clone());
        let store = Arc::new(MemoryStore::new());
        let mut node = Node::start(store.clone(), Registry::new()).await;
        node.listen(&server);
        send(&streams, full("one")).await;
        let one = settled(&streams, &dead, 1).await;
        assert_eq!((one[0].code.as_str(), &one[0].body), ("unknown_definition", &full("one").body), "{version:?}");
        assert_eq!(dead.one(one[0].number).await.unwrap().as_ref(), Some(&one[0]));
        // A part is no letter.
        let part = one[0].number - 1;
        assert!(streams.message(Stream::Dead, part).await.unwrap().is_some(), "{version:?}");
        assert_eq!(dead.one(part).await, Ok(None));
        assert_eq!((dead.resend(part).await, dead.discard(part).await), (Ok(false), Ok(false)));
        // Pages are of letters, however many parts are between them.
        send(&streams, full("two")).await;
        let two = settled(&streams, &dead, 2).await;
        assert_eq!(dead.page(0, 1).await.unwrap(), two[..1]);
        assert_eq!(dead.page(one[0].number + 1, 1).await.unwrap(), two[1..]);
        // What is dropped leaves nothing behind.
        assert_eq!(dead.discard(two[1].number).await, Ok(true));
        node.end().await;

        let mut node = Node::start(store, toy::registry().unwrap()).await;
        node.listen(&server);
        assert_eq!(dead.resend(one[0].number).await, Ok(true));
        until(|| async { node.saga("quick", "one").await.is_some() }).await;
        assert_eq!(streams.standing(Stream::Dead).await.unwrap().messages, 0, "no part is left");
        assert_eq!(dead.resend(one[0].number).await, Ok(false));
        node.end().await;
    }
}

/// It is the sender's own headers that fill it.
#[tokio::test]
async fn headers_that_leave_no_room_for_a_reason_are_left_out_and_it_is_said() {
    for version in Version::ALL {
        let server = Setup::default().jetstream().payload_max(MAX).start(version).unwrap();
        let streams = streams(&server).await;
        let dead = DeadLetters::new(streams.clone());
        let mut node = Node::start(Arc::new(MemoryStore::new()), toy::registry().unwrap()).await;
        node.listen(&server);
        let message = start("unheard_of", "k");
        let mut headers = HeaderMap::new();
        headers.insert("Own", "x".repeat(MAX - 20 - message.body.len()));
        send(&streams, Outgoing { id: None, headers, ..message.clone() }).await;
        let letter = settled(&streams, &dead, 1).await.remove(0);
        assert_eq!(
            letter.reason,
            "no definition `unheard_of` is known here; known are: quick 1, stuck 1, trip 1, trip 2, visit 1; its sender's own \
             headers were too large to be kept"
        );
        assert_eq!((letter.code.as_str(), &letter.body), ("unknown_definition", &message.body));
        node.end().await;
    }
}

/// Dropping a letter was broken off after its parts: what is left of it cannot be sent again as if it were whole.
#[tokio::test]
async fn a_letter_whose_part_is_missing_is_none() {
    let server = Setup::default().jetstream().payload_max(MAX).start(Version::Floor).unwrap();
    let streams = streams(&server).await;
    let dead = DeadLetters::new(streams.clone());
    let mut node = Node::start(Arc::new(MemoryStore::new()), Registry::new()).await;
    node.listen(&server);
    send(&streams, full("k")).await;
    let number = settled(&streams, &dead, 1).await[0].number;
    streams.delete(Stream::Dead, number - 1).await.unwrap();
    assert_eq!((dead.one(number).await, letters(&dead).await), (Ok(None), Vec::new()));
    assert_eq!(dead.resend(number).await, Ok(false));
    assert_eq!(waiting(&streams).await, 0);
    assert!(streams.message(Stream::Dead, number).await.unwrap().is_none(), "it is tidied away");
    node.end().await;
}
