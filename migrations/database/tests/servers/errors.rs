//! Each kind of failure, provoked on each server, means the same everywhere.

use crate::pool;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tercet_database::{Meaning, is_undone, meaning};
use tercet_servers::{MariaDb, Postgres};

const CONNECTIONS: u32 = 4;

/// What that statement's failure means.
async fn fails(db: &impl ConnectionTrait, sql: &str) -> Meaning {
    meaning(&db.execute_unprepared(sql).await.unwrap_err())
}

async fn check(db: &DatabaseConnection) {
    for sql in [
        "CREATE TABLE rows_ (id BIGINT PRIMARY KEY, text VARCHAR(8) NOT NULL)",
        "INSERT INTO rows_ VALUES (1, 'a'), (2, 'b')",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    assert_eq!(fails(db, "INSERT INTO rows_ VALUES (1, 'c')").await, Meaning::Taken);
    assert_eq!(fails(db, "INSERT INTO rows_ VALUES (3, 'far too long')").await, Meaning::Refused, "never cut");
    assert_eq!(fails(db, "INSERT INTO rows_ VALUES (3, NULL)").await, Meaning::Refused);
    assert_eq!(fails(db, "SELECT nothing FROM rows_").await, Meaning::Schema);
    assert_eq!(fails(db, "SELECT 1 FROM nowhere").await, Meaning::Schema);
    assert_eq!(fails(db, "SELECT FROM WHERE").await, Meaning::Refused);
    deadlock(db).await;
}

async fn change(tx: &DatabaseTransaction, row: u8) -> Result<(), DbErr> {
    tx.execute_unprepared(&format!("UPDATE rows_ SET text = 'x' WHERE id = {row}")).await.map(drop)
}

/// Two transactions that want each other's row: one goes through, the other is told to begin again.
async fn deadlock(db: &DatabaseConnection) {
    let (one, other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    change(&one, 1).await.unwrap();
    change(&other, 2).await.unwrap();
    let (a, b) = tokio::join!(
        async {
            let done = change(&one, 2).await;
            one.rollback().await.unwrap();
            done
        },
        async {
            let done = change(&other, 1).await;
            other.rollback().await.unwrap();
            done
        }
    );
    let error = a.and(b).unwrap_err();
    assert_eq!(meaning(&error), Meaning::InTheWay, "{error}");
    assert!(is_undone(&error), "{error}");
}

/// Each connection that was lost may say so once.
async fn comes_back(db: &DatabaseConnection) {
    for _ in 0..CONNECTIONS {
        if let Err(error) = db.execute_unprepared("SELECT 1").await {
            assert_eq!(meaning(&error), Meaning::Away, "{error}");
        }
    }
    db.execute_unprepared("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn postgres() {
    let mut server = Postgres::start().unwrap();
    let db = pool(&server.url(), CONNECTIONS).await;
    check(&db).await;
    // A lock that does not come.
    let (one, other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    change(&one, 1).await.unwrap();
    other.execute_unprepared("SET LOCAL lock_timeout = 50").await.unwrap();
    assert_eq!(meaning(&change(&other, 1).await.unwrap_err()), Meaning::InTheWay);
    drop((one, other));
    // A change since the transaction began.
    let late = db.begin().await.unwrap();
    late.execute_unprepared("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    late.execute_unprepared("SELECT text FROM rows_").await.unwrap();
    db.execute_unprepared("UPDATE rows_ SET text = 'y'").await.unwrap();
    assert_eq!(meaning(&change(&late, 1).await.unwrap_err()), Meaning::InTheWay);
    drop(late);
    // The connection is ended, the server goes away.
    let tx = db.begin().await.unwrap();
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL";
    db.execute_unprepared(end).await.unwrap();
    assert_eq!(meaning(&change(&tx, 1).await.unwrap_err()), Meaning::Away);
    drop(tx);
    server.kill();
    assert_eq!(meaning(&db.execute_unprepared("SELECT 1").await.unwrap_err()), Meaning::Away);
    server.start_again().unwrap();
    comes_back(&db).await;
}

#[tokio::test]
async fn b29_mariadb() {
    let mut server = MariaDb::start_set(&["--innodb-snapshot-isolation=ON"]).unwrap();
    let db = pool(&server.url(), CONNECTIONS).await;
    check(&db).await;
    // 1205: a lock that does not come.
    let (one, other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    change(&one, 1).await.unwrap();
    other.execute_unprepared("SET SESSION innodb_lock_wait_timeout = 0").await.unwrap();
    let error = change(&other, 1).await.unwrap_err();
    assert!(error.to_string().contains("1205"), "{error}");
    assert_eq!(meaning(&error), Meaning::InTheWay);
    drop((one, other));
    // 1020: a change since the transaction began.
    let late = db.begin_with_config(Some(sea_orm::IsolationLevel::RepeatableRead), None).await.unwrap();
    late.execute_unprepared("SELECT text FROM rows_").await.unwrap();
    db.execute_unprepared("UPDATE rows_ SET text = 'y'").await.unwrap();
    let error = change(&late, 1).await.unwrap_err();
    assert!(error.to_string().contains("1020"), "{error}");
    assert_eq!(meaning(&error), Meaning::InTheWay);
    drop(late);
    server.kill();
    assert_eq!(meaning(&db.execute_unprepared("SELECT 1").await.unwrap_err()), Meaning::Away);
    server.start_again().unwrap();
    comes_back(&db).await;
}
