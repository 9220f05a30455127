//! B28: whatever is dropped half way, no connection of a pool is left inside a transaction, and nothing that was written is lost.

use crate::pool;
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use std::task::Poll;
use tercet_servers::{MariaDb, Postgres};

/// How often `begin` is dropped; as often as it takes it is let through, since a server at hand may answer at once.
const DROPPED: u32 = 60;

/// Beyond so many rounds something else is wrong.
const ROUNDS_MAX: u32 = 20_000;

/// Drops `future` when it has been polled so often and is not ready: at each of its steps, whatever the time.
async fn dropped_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut polled = 0;
    std::future::poll_fn(|context| {
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polled > polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn count(db: &DatabaseConnection) -> i64 {
    let select = sea_orm::Statement::from_string(db.get_database_backend(), "SELECT COUNT(*) FROM marks");
    db.query_one_raw(select).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Cancels `begin` at every moment, then writes on what the pool hands out: another pool sees each row.
async fn check(url: &str) {
    let (db, other) = (pool(url, 2).await, pool(url, 1).await);
    db.execute_unprepared("CREATE TABLE marks (id BIGINT PRIMARY KEY)").await.unwrap();
    let (mut round, mut dropped) = (0, 0);
    while dropped < DROPPED {
        assert!(round < ROUNDS_MAX, "{dropped} of {round} were dropped: too few to prove anything");
        let begun = dropped_after(round % 6, db.begin()).await;
        dropped += u32::from(begun.is_none());
        drop(begun);
        db.execute_unprepared(&format!("INSERT INTO marks VALUES ({round})")).await.unwrap();
        round += 1;
    }
    assert_eq!(count(&other).await, i64::from(round));
}

#[tokio::test]
async fn b28_a_cancelled_begin_loses_nothing_on_postgres() {
    let server = Postgres::start().unwrap();
    check(&server.url()).await;
    let db = pool(&server.url(), 1).await;
    let idle = "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    let select = sea_orm::Statement::from_string(db.get_database_backend(), idle);
    let left: i64 = db.query_one_raw(select).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert_eq!(left, 0, "sessions that are idle in a transaction");
}

#[tokio::test]
async fn b28_a_cancelled_begin_loses_nothing_on_mariadb() {
    let server = MariaDb::start().unwrap();
    check(&server.url()).await;
}
