//! The store on servers: conformance, lost commits, fences that wait, and what is wrong with a URL.

use super::*;
use crate::store::{
    Change, JournalRow,
    conformance::{self, Tested, big_batch},
    holds, join,
};
use std::sync::atomic::{AtomicU32, Ordering};
use tercet_servers::{MariaDb, Postgres, Proxy};

crate::store_conformance!(fn every_check);
crate::store_conformance!(shared fn every_check_of_nodes);

fn url(text: &str) -> DatabaseUrl {
    text.parse().unwrap()
}

async fn create(text: &str) -> ServerStore {
    ServerStore::create(&url(text)).await.unwrap()
}

async fn conforms(create_database: impl Fn(&str) -> String) {
    let next = AtomicU32::new(0);
    let open = || {
        let url = create_database(&format!("store{}", next.fetch_add(1, Ordering::Relaxed)));
        async move { (Arc::new(create(&url).await) as Tested, ()) }
    };
    every_check_of_nodes(open).await;
    every_check(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_on_postgres() {
    let server = Postgres::start().unwrap();
    conforms(|name| server.create(name).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_on_mariadb() {
    let server = MariaDb::start().unwrap();
    conforms(|name| server.create(name).unwrap()).await;
}

/// Of an entry: what a request that writes it can be told by.
fn content(seq: u32) -> String {
    format!("{{\"entry\":{seq}}}")
}

fn entry(seq: u32) -> JournalRow {
    JournalRow { saga: SagaId::from_bytes([1; 16]), seq, at: Millis(1), entry: content(seq).into_bytes() }
}

fn append(seq: u32) -> Batch {
    conformance::batch(Vec::new(), vec![Change { entries: vec![entry(seq)], ..Change::default() }])
}

/// Of a batch whose commit's answer is lost nobody knows; raising the incarnation first, then reading, tells.
async fn loses_commits(straight: &str, port: u16) {
    create(straight).await.close().await;
    let proxy = Proxy::start(port).unwrap();
    let store = ServerStore::open(&url(&proxy.url(straight, port))).await.unwrap();
    let mut node = join(&store, NodeId(1)).await.unwrap();
    store.commit(node, append(1)).await.unwrap();
    for (arrives, seq) in [(true, 2), (false, 3)] {
        // PostgreSQL is given a batch and its commit as one.
        match (store.server.dialect, arrives) {
            (Dialect::Postgres, _) => proxy.lose_one_with(&content(seq), arrives),
            (Dialect::MySql, true) => proxy.lose_answers("COMMIT", 1),
            (Dialect::MySql, false) => proxy.lose_requests("COMMIT", 1),
        }
        let lost = store.commit(node, append(seq)).await;
        assert!(matches!(lost, Err(StoreError::Ambiguous(_))), "{lost:?}");
        let raised = node.later(40);
        // Of a raise, too, the answer may be lost: it is tried again, and is not taken for somebody else's.
        proxy.lose_answers("COMMIT", 1);
        let lost = store.raise(node, raised).await;
        assert!(lost.is_err(), "{lost:?}");
        loop {
            match store.raise(node, raised).await {
                Err(StoreError::Unavailable(_)) => {}
                done => break done.unwrap(),
            }
        }
        let journal = store.journals(vec![entry(1).saga]).await.unwrap().remove(0);
        assert_eq!(holds(&journal, &[entry(seq)]), arrives);
        let stale = store.commit(node, append(9)).await;
        assert!(matches!(stale, Err(StoreError::Fenced)), "{stale:?}");
        node = raised;
    }
    proxy.cut();
    let away = store.journals(vec![entry(1).saga]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    proxy.mend();
    let back = loop {
        match join(&store, NodeId(1)).await {
            Err(StoreError::Unavailable(_)) => {}
            raised => break raised.unwrap(),
        }
    };
    store.commit(back, append(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_commit_whose_answer_is_lost_is_ambiguous() {
    let server = Postgres::start().unwrap();
    loses_commits(&server.url(), server.port()).await;
    let server = MariaDb::start().unwrap();
    loses_commits(&server.url(), server.port()).await;
}

/// Whoever raises the incarnation, or takes the node over, waits for a batch that is under way, and finds what it wrote.
async fn waits_for_batches(text: &str, by_take_over: bool) {
    let (one, other) = (create(text).await, create(text).await);
    let node = join(&one, NodeId(1)).await.unwrap();
    let tx = one.server.begin().await.unwrap();
    write::fence(&tx, one.server.dialect, node).await.unwrap();
    apply(&tx, one.server.dialect, &dialect::JOURNAL, vec![super::super::rows::journal(&entry(1))]).await.unwrap();
    // Its lease is at its end, so that it may be taken over.
    let expire = "UPDATE leases SET expires = 0";
    other.server.pool.execute_unprepared(expire).await.unwrap();
    let raising = other.clone();
    let mut raised = tokio::spawn(async move {
        if by_take_over {
            raising.take_over(node.node).await.map(drop)
        } else {
            raising.raise(node, node.later(0)).await
        }
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut raised).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    tx.commit().await.unwrap();
    raised.await.unwrap().unwrap();
    assert_eq!(other.journals(vec![entry(1).saga]).await.unwrap(), [[entry(1)]]);
    let late = one.commit(node, append(2)).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raising_an_incarnation_waits_for_the_batch_under_way() {
    let (postgres, mariadb) = (Postgres::start().unwrap(), MariaDb::start().unwrap());
    for by_take_over in [false, true] {
        let name = format!("waits_{by_take_over}");
        waits_for_batches(&postgres.create(&name).unwrap(), by_take_over).await;
        waits_for_batches(&mariadb.create(&name).unwrap(), by_take_over).await;
    }
}

/// B31: several nodes that begin at once on an empty database; then on one where a migration broke off.
async fn races_to_migrate(text: &str) {
    let nodes: Vec<_> = (0..8).map(|_| tokio::spawn(ServerStore::create_owned(url(text)))).collect();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
    let store = create(text).await;
    let forget = "DELETE FROM tercet_migrations WHERE version > 'm0002'";
    if store.server.dialect == Dialect::MySql {
        store.server.pool.execute_unprepared(forget).await.unwrap();
        let nodes: Vec<_> = (0..4).map(|_| tokio::spawn(ServerStore::create_owned(url(text)))).collect();
        for node in nodes {
            node.await.unwrap().unwrap();
        }
    }
    join(&store, NodeId(1)).await.unwrap();
}

impl ServerStore {
    async fn create_owned(url: DatabaseUrl) -> Result<Self, StoreError> {
        Self::create(&url).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b31_nodes_that_begin_at_once_migrate_once() {
    races_to_migrate(&Postgres::start().unwrap().url()).await;
    races_to_migrate(&MariaDb::start().unwrap().url()).await;
}

/// B28: a caller that goes away takes nothing with it.
async fn finishes_what_was_begun(text: &str) {
    let store = create(text).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    for seq in 1..=50 {
        drop(store.commit(node, append(seq)));
        while store.journals(vec![entry(1).saga]).await.unwrap()[0].len() < seq as usize {}
    }
    for round in 0..2 {
        store.commit(node, big_batch(round)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b28_a_write_that_nobody_waits_for_is_written() {
    finishes_what_was_begun(&Postgres::start().unwrap().url()).await;
    finishes_what_was_begun(&MariaDb::start().unwrap().url()).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line_without_the_password() {
    let mut server = Postgres::start().unwrap();
    let mut said = Vec::new();
    for text in [server.url().replace("sea-salt", "s3cr3t"), server.url_of("nowhere"), server.url()] {
        said.push(ServerStore::open(&url(&text)).await.unwrap_err());
    }
    server.end();
    said.push(ServerStore::open(&url(&server.url())).await.unwrap_err());
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    let said = said.join("\n").replace(&server.port().to_string(), "PORT");
    assert!(!said.contains("s3cr3t") && !said.contains("sea-salt"), "{said}");
    insta::assert_snapshot!(said, @r#"
    failed to sign in to the database postgres://tercet@127.0.0.1:PORT/tercet: password authentication failed for user "tercet"; check user and password
    failed to use the database postgres://tercet@127.0.0.1:PORT/nowhere: database "nowhere" does not exist; create it first
    the database has no Tercet tables: run `tercet migrate` first
    the store is unavailable: failed to reach the database postgres://tercet@127.0.0.1:PORT/tercet: Connection refused (os error 111); check its host and port, and that it runs
    "#);
}
