//! Of several processes that change a schema at once each waits for the others.

use crate::pool;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tercet_database::{AloneError, alone};
use tercet_servers::{MariaDb, Postgres};

const PATIENCE: Duration = Duration::from_secs(30);

async fn turn(db: DatabaseConnection, inside: Arc<AtomicU32>) -> bool {
    let mut said = false;
    let alone = alone(&db, "test", PATIENCE, || said = true).await.unwrap();
    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is inside");
    alone.tx().execute_unprepared("CREATE TABLE IF NOT EXISTS turns (id BIGINT PRIMARY KEY)").await.unwrap();
    alone.tx().execute_unprepared("INSERT INTO turns SELECT COUNT(*) FROM turns").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    inside.fetch_sub(1, Ordering::SeqCst);
    let waited = alone.waited();
    assert_eq!(waited, said);
    alone.commit().await.unwrap();
    waited
}

async fn check(url: &str) {
    let inside = Arc::new(AtomicU32::new(0));
    let mut pools = Vec::new();
    for _ in 0..8 {
        pools.push(pool(url, 2).await);
    }
    let turns: Vec<_> = pools.into_iter().map(|pool| tokio::spawn(turn(pool, inside.clone()))).collect();
    let mut waited = 0;
    for turn in turns {
        waited += u32::from(turn.await.unwrap());
    }
    assert!(waited > 0, "nobody waited for anybody");
    // One that dies at it is nobody's hindrance; one that does not end is.
    let (one, other) = (pool(url, 2).await, pool(url, 2).await);
    let dying = alone(&one, "test", PATIENCE, || {}).await.unwrap();
    let refused = alone(&other, "test", Duration::from_millis(120), || {}).await;
    assert!(matches!(refused, Err(AloneError::Waited(_))), "{refused:?}");
    drop(dying);
    let rows = alone(&other, "test", PATIENCE, || {}).await.unwrap();
    let select = sea_orm::Statement::from_string(other.get_database_backend(), "SELECT COUNT(*) FROM turns");
    let rows: i64 = rows.tx().query_one_raw(select).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert_eq!(rows, 8);
}

#[tokio::test]
async fn on_postgres() {
    check(&Postgres::start().unwrap().url()).await;
}

#[tokio::test]
async fn on_mariadb() {
    check(&MariaDb::start().unwrap().url()).await;
}
