//! Migrations on real SQLite files: once each, by one process at a time, and never onto a newer schema.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};
use tercet_migrations::{MigrateError, Report, check, migrate, migrate_saying, status, version};

fn url(file: &Path) -> String {
    format!("sqlite:{}?mode=rwc", file.display())
}

async fn open(file: &Path) -> DatabaseConnection {
    Database::connect(url(file)).await.unwrap()
}

async fn recorded(db: &DatabaseConnection) -> Vec<String> {
    let rows = db.query_all_raw(statement("SELECT version FROM tercet_migrations ORDER BY version")).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn statement(sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, sql)
}

/// Takes a migrated database back to how version 1 left it.
async fn back_to_version_1(db: &DatabaseConnection) {
    for sql in [
        "DROP TABLE leases",
        "DROP TABLE shards",
        "DROP TABLE ownership",
        "DROP TABLE lent",
        "DROP TABLE answers",
        "DROP INDEX sagas_of_namespace",
        "CREATE INDEX sagas_by_definition ON sagas (definition, status, id)",
        "DROP TABLE audit",
        "DROP TABLE definitions",
        "DELETE FROM tercet_migrations WHERE version > 'm0002'",
    ] {
        db.execute_raw(statement(sql)).await.unwrap();
    }
}

fn process(file: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tercet-migrations"))
        .args(["up", "--database", &url(file)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its exit code, what it printed, and what it complained of.
fn end(mut child: Child) -> (Option<i32>, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code(), out, err)
}

const WAITING: &str = "another process is migrating this database: waiting for it\n";

const ALL: [&str; 4] = ["m0001_sagas", "m0002_registry", "m0003_namespaces", "m0004_ownership"];

/// What a database of version 1 lacks.
const LATER: &[&str] = ALL.split_at(1).1;

#[tokio::test]
async fn a_new_file_gets_every_migration_and_a_second_run_none() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("tercet.db")).await;
    let first = migrate(&db).await.unwrap();
    assert_eq!(first, Report { applied: ALL.map(str::to_owned).to_vec(), version: 4, waited: false });
    assert_eq!(migrate(&db).await.unwrap(), Report { applied: Vec::new(), version: 4, waited: false });
    assert_eq!(recorded(&db).await, ALL);
    check(&db).await.unwrap();
}

#[tokio::test]
async fn looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("tercet.db")).await;
    assert_eq!(status(&db).await.unwrap().pending, ALL);
    let refused = check(&db).await.unwrap_err();
    assert_eq!(refused.to_string(), "the database has no Tercet tables: run `tercet migrate` first");
    let tables = db.query_all_raw(statement("SELECT name FROM sqlite_master")).await.unwrap();
    assert!(tables.is_empty());
}

#[tokio::test]
async fn an_older_schema_is_refused_until_it_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("tercet.db")).await;
    migrate(&db).await.unwrap();
    back_to_version_1(&db).await;
    let refused = check(&db).await.unwrap_err().to_string();
    assert_eq!(refused, "the database has schema version 1, this program needs 4: run `tercet migrate` first");
    assert_eq!(migrate(&db).await.unwrap().applied, LATER);
    check(&db).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("tercet.db")).await;
    migrate(&db).await.unwrap();
    db.execute_raw(statement("INSERT INTO tercet_migrations VALUES ('m0007_shards', 0)")).await.unwrap();
    let text = "the database has schema version 7 (m0007_shards), this program knows up to 4: run the newer program, \
                or restore the backup from before the upgrade";
    assert_eq!(check(&db).await.unwrap_err().to_string(), text);
    assert!(matches!(migrate(&db).await, Err(MigrateError::Newer { found: 7, known: 4, .. })));
    assert_eq!(recorded(&db).await, [&ALL[..], &["m0007_shards"]].concat());
    assert_eq!(version(), 4);
}

/// All of a migration run is one transaction: what a later migration cannot do takes the earlier ones back with it.
#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("tercet.db")).await;
    db.execute_raw(statement("CREATE TABLE audit (mine TEXT)")).await.unwrap();
    assert!(matches!(migrate(&db).await, Err(MigrateError::Database(_))));
    assert_eq!(status(&db).await.unwrap().pending, ALL);
    let tables = db.query_all_raw(statement("SELECT name FROM sqlite_master WHERE type = 'table'")).await.unwrap();
    assert_eq!(tables.len(), 1);
}

#[tokio::test]
async fn b31_eight_processes_at_once_apply_each_migration_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tercet.db");
    for round in ["empty", "one version older"] {
        let children: Vec<_> = (0..8).map(|_| process(&file)).collect();
        let ended: Vec<_> = children.into_iter().map(end).collect();
        for (code, out, err) in &ended {
            assert_eq!(*code, Some(0), "{round}: {out}{err}");
            assert!(out.ends_with("the schema is at version 4\n"), "{round}: {out}");
            assert!(err.is_empty() || err == WAITING, "{round}: {err}");
        }
        let applied: Vec<_> =
            ended.iter().flat_map(|(_, out, _)| out.lines()).filter(|l| l.starts_with("applied")).collect();
        let fresh = if round == "empty" { &ALL } else { LATER };
        let fresh: Vec<_> = fresh.iter().map(|name| format!("applied {name}")).collect();
        assert_eq!(applied, fresh, "{round}");
        let db = open(&file).await;
        assert_eq!(recorded(&db).await, ALL);
        back_to_version_1(&db).await;
        db.close().await.unwrap();
    }
}

/// The test holds the migration lock itself until each process has said that it waits; then one of them is killed.
#[tokio::test]
async fn b31_who_waits_says_so_and_a_killed_one_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tercet.db");
    let db = open(&file).await;
    let mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let held = db.begin_with_options(options).await.unwrap();
    let mut children: Vec<_> = (0..3).map(|_| process(&file)).collect();
    for child in &mut children {
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, WAITING);
    }
    let mut killed = children.remove(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    held.rollback().await.unwrap();
    db.close().await.unwrap();
    for child in children {
        let (code, out, err) = end(child);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    }
    assert_eq!(recorded(&open(&file).await).await, ALL);
}

#[tokio::test]
async fn migrate_tells_its_caller_that_it_waited() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tercet.db");
    let mut quick = sea_orm::ConnectOptions::new(url(&file));
    quick.map_sqlx_sqlite_opts(|sqlite| sqlite.busy_timeout(std::time::Duration::ZERO));
    let (holder, waiter) = (open(&file).await, Database::connect(quick).await.unwrap());
    let mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let held = holder.begin_with_options(options).await.unwrap();
    let (say, said) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move { migrate_saying(&waiter, || say.send(()).unwrap()).await });
    said.await.unwrap();
    held.rollback().await.unwrap();
    assert!(waiting.await.unwrap().unwrap().waited);
}

#[test]
fn a_database_that_is_not_there_is_named_and_not_made_by_status() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nothing.db");
    let child = Command::new(env!("CARGO_BIN_EXE_tercet-migrations"))
        .args(["status", "--database", &format!("sqlite:{}", file.display())])
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&child.stderr).starts_with("error: failed to migrate: "));
    assert!(!file.exists());
}
