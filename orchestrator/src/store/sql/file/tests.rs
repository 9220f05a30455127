//! The store in an SQLite file: conformance, what can be wrong with a file, and that no statement scans.

use super::*;
use crate::store::{
    Change, JournalRow, NodeId, SagaStatus,
    conformance::{self, Tested},
    join, limit,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value, sea_query::SqliteQueryBuilder};
use std::{
    io::{BufRead, BufReader},
    path::Path,
};
use tempfile::TempDir;

crate::store_conformance!(async {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(create(&dir).await) as Tested, dir)
});

fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("tercet.db")
}

async fn create(dir: &TempDir) -> SqliteStore {
    SqliteStore::create(file_in(dir)).await.unwrap()
}

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions::default()).await
}

async fn gone(store: SqliteStore) {
    store.close().await;
}

/// What opening says, with the directory cut out.
async fn refusal(dir: &TempDir, path: &Path) -> String {
    let error = open(path).await.unwrap_err();
    error
        .to_string()
        .replace(&dir.path().canonicalize().unwrap().display().to_string(), "DIR")
        .replace(&dir.path().display().to_string(), "DIR")
}

fn entry(n: u8, seq: u32) -> JournalRow {
    JournalRow { saga: SagaId::from_bytes([n; 16]), seq, at: Millis(1), entry: b"{}".to_vec() }
}

fn append(row: JournalRow) -> Batch {
    conformance::batch(Vec::new(), vec![Change { entries: vec![row], ..Change::default() }])
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    store.commit(node, append(entry(1, 1))).await.unwrap();
    gone(store).await;
    let store = open(&file_in(&dir)).await.unwrap();
    assert_eq!(store.journals(vec![entry(1, 1).saga]).await.unwrap(), [[entry(1, 1)]]);
    store.raise(node, node.later(0)).await.unwrap();
}

const CHILD: &str = "TERCET_TEST_WRITES_TO";

/// The process that the next test kills: it writes entry after entry, and says after each that it is there.
#[tokio::test]
#[ignore = "a part of g10_what_was_acknowledged_survives_kill_9"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&path)).await.unwrap();
    let node = join(&store, NodeId(1)).await.unwrap();
    let from = store.journals(vec![entry(1, 1).saga]).await.unwrap()[0].len() as u32;
    for seq in from + 1.. {
        store.commit(node, append(entry(1, seq))).await.unwrap();
        println!("acknowledged {seq}");
    }
}

#[tokio::test]
async fn g10_what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    gone(create(&dir).await).await;
    let mut acknowledged = 0;
    for _ in 0..3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sql::file::tests::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, file_in(&dir))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let acks = lines.filter_map(|line| line.split_once("acknowledged ")?.1.parse::<usize>().ok());
        let acks = acks.inspect(|&seq| acknowledged = seq).take(40);
        assert_eq!(acks.count(), 40);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(&file_in(&dir)).await.unwrap();
        let written = store.journals(vec![entry(1, 1).saga]).await.unwrap()[0].len();
        // One more may have been written than said.
        assert!(written >= acknowledged, "{acknowledged} acknowledged, {written} there");
        gone(store).await;
    }
    assert!(acknowledged >= 120);
}

#[tokio::test]
async fn every_commit_is_synced_and_readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let (writer, readers) = (&store.file.writer, &store.file.readers);
    assert_eq!(open::pragma::<i64>(writer, "synchronous").await.unwrap(), 2);
    assert_eq!(open::pragma::<String>(writer, "journal_mode").await.unwrap(), "wal");
    assert_eq!(open::pragma::<i64>(writer, "foreign_keys").await.unwrap(), 0);
    let delete = Statement::from_string(DbBackend::Sqlite, "DELETE FROM journal");
    assert!(readers.execute_raw(delete).await.is_err());
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    for seq in 1..=50 {
        let mut commit = store.commit(node, append(entry(1, seq)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(commit.as_mut().poll(&mut cx).is_pending());
        drop(commit);
    }
    // The writer serves one at a time, in the order they came: this one is behind all of them.
    store.commit(node, append(entry(2, 1))).await.unwrap();
    assert_eq!(store.journals(vec![entry(1, 1).saga]).await.unwrap()[0].len(), 50);
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = file_in(&dir);
    let store = create(&dir).await;
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let text = refusal(&dir, path).await.replace(&std::process::id().to_string(), "PID");
        assert_eq!(
            text,
            "process PID has the database DIR/tercet.db open, and only one may: stop it, talk to it through its API, or \
             name another file"
        );
    }
    assert!(matches!(SqliteStore::create(&path).await, Err(StoreError::InUse(_))));
    gone(store).await;
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let text = refusal(&dir, &file_in(&dir)).await;
    insta::assert_snapshot!(text, @"failed to open the database DIR/tercet.db: No such file or directory (os error 2); run `tercet migrate` to make it, or name another file");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = refusal(&dir, &dir.path().join("data/tercet.db")).await;
    insta::assert_snapshot!(text, @"failed to open the database DIR/data/tercet.db: No such file or directory (os error 2); make the directory DIR/data, or name another file");
}

#[tokio::test]
async fn a_directory_is_not_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let text = refusal(&dir, dir.path()).await;
    insta::assert_snapshot!(text, @"failed to open the database DIR: is a directory; name a file that this user may read and write");
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["hello", "a text that is longer than the head of a database file"] {
        std::fs::write(file_in(&dir), content).unwrap();
        let text = refusal(&dir, &file_in(&dir)).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @"DIR/tercet.db is not an SQLite database: name another file, or restore it from a backup");
        }
        assert!(SqliteStore::create(file_in(&dir)).await.is_err());
        assert_eq!(std::fs::read_to_string(file_in(&dir)).unwrap(), content);
    }
}

#[tokio::test]
async fn a_damaged_file_is_said_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    gone(create(&dir).await).await;
    let mut bytes = std::fs::read(file_in(&dir)).unwrap();
    bytes[100..].fill(0xa5);
    std::fs::write(file_in(&dir), bytes).unwrap();
    let error = open(&file_in(&dir)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn an_empty_file_asks_for_migration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(file_in(&dir), "").unwrap();
    let error = open(&file_in(&dir)).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
    insta::assert_snapshot!(error, @"the database has no Tercet tables: run `tercet migrate` first");
    drop(SqliteStore::create(file_in(&dir)).await.unwrap());
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let newer = Statement::from_string(DbBackend::Sqlite, "INSERT INTO tercet_migrations VALUES ('m0007_shards', 0)");
    store.file.writer.execute_raw(newer).await.unwrap();
    gone(store).await;
    let text = refusal(&dir, &file_in(&dir)).await;
    insta::assert_snapshot!(text, @"the database has schema version 7 (m0007_shards), this program knows up to 4: run the newer program, or restore the backup from before the upgrade");
}

#[tokio::test]
async fn a_full_disk_refuses_the_batch_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    store.commit(node, append(entry(1, 1))).await.unwrap();
    let pages: i64 = open::pragma(&store.file.writer, "page_count").await.unwrap();
    let limit: i64 = open::pragma(&store.file.writer, &format!("max_page_count = {}", pages + 2)).await.unwrap();
    assert_eq!(limit, pages + 2);
    let big = JournalRow { entry: vec![7; 100_000], ..entry(1, 2) };
    let answer = store.commit(node, append(big.clone())).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert_eq!(store.journals(vec![big.saga]).await.unwrap(), [[entry(1, 1)]]);
    open::pragma::<i64>(&store.file.writer, "max_page_count = 1000000").await.unwrap();
    store.commit(node, append(big.clone())).await.unwrap();
    assert_eq!(store.journals(vec![big.saga]).await.unwrap(), [[entry(1, 1), big]]);
}

/// A batch is one trip to the database's thread; one of 256 changes to every table and 64 starts, of which half lose, these.
#[tokio::test]
async fn a_batch_is_a_handful_of_statements() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(&dir).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let head = move |info: &sea_orm::metric::Info<'_>| {
        let head = |sql: &str| sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let trip: Vec<_> = info.statement.sql.split("; ").map(head).collect();
        seen.lock().unwrap().push(trip.join(" + "));
    };
    Arc::get_mut(&mut store.file).unwrap().writer.set_metric_callback(head);
    store.commit(node, conformance::big_batch(0)).await.unwrap();
    insta::assert_snapshot!(heads.lock().unwrap().join("\n"), @"BEGIN IMMEDIATE + INSERT OR FAIL + INSERT OR FAIL + SELECT CASE WHEN + COMMIT");
    heads.lock().unwrap().clear();
    store.commit(node, conformance::big_batch(1)).await.unwrap();
    let heads = heads.lock().unwrap().join("\n");
    insta::assert_snapshot!(heads, @"
    BEGIN IMMEDIATE + INSERT OR FAIL + INSERT OR FAIL + UPDATE OR FAIL + SELECT CASE WHEN + INSERT OR FAIL + DELETE FROM timers + DELETE FROM inbox + INSERT OR FAIL + INSERT OR FAIL + COMMIT
    SELECT (SELECT incarnation + INSERT OR FAIL
    SELECT saga_key, definition,
    INSERT OR FAIL + UPDATE OR FAIL
    INSERT OR FAIL + DELETE FROM timers + DELETE FROM inbox + INSERT OR FAIL + INSERT OR FAIL
    ");
}

#[tokio::test]
async fn after_closing_every_method_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let node = join(&store, NodeId(1)).await.unwrap();
    store.close().await;
    assert!(matches!(store.commit(node, append(entry(1, 1))).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.unfinished(Shards::ALL, None, 1).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn the_limit_is_measured_through_commits_of_the_asked_size() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let limit = limit::measure(&store, 256, 250, 3).await.unwrap();
    assert!(limit.rows_per_s > 0.0 && limit.commit_ms_p50 > 0.0, "{limit:?}");
    let count = Statement::from_string(DbBackend::Sqlite, "SELECT COUNT(*), SUM(LENGTH(entry)) FROM journal");
    let row = store.file.readers.query_one_raw(count).await.unwrap().unwrap();
    assert_eq!(row.try_get_many_by_index::<(i64, i64)>().unwrap(), (768, 768 * 250));
}

/// How SQLite goes about a statement, a line for each part of its plan.
async fn plan(store: &SqliteStore, sql: &str) -> String {
    let explain = Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = store.file.readers.query_all_raw(explain).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index::<String>(3).unwrap()).collect::<Vec<_>>().join("\n")
}

fn values<const N: usize>((before, after): (&str, &str)) -> String {
    // One more than a list that is as long as what it holds, so that it is filled up.
    let rows: rows::Rows<N> = (0..3).map(|_| std::array::from_fn(|_| Value::from(1_i64))).collect();
    rows.statements(before, after).map(|statement| statement.sql).collect()
}

/// A scan of a `VALUES` list is a scan of the batch; one of a table would grow with the sagas.
#[tokio::test]
async fn no_statement_scans_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let one = vec![SagaId::from_bytes([1; 16]), SagaId::from_bytes([2; 16])];
    let mut statements = vec![
        values::<8>(rows::PROJECTION),
        values::<2>(rows::TIMER_DELETE),
        values::<1>(rows::INBOX_DELETE),
        values::<3>(commit::OWNERS),
        values::<2>(commit::CULPRIT),
        values::<1>(("DELETE FROM journal WHERE saga_id IN (", ")")),
        writes::PURGE_JOURNALS.to_owned(),
        writes::PURGE_KEYS.to_owned(),
    ];
    let key = "order-7".parse().unwrap();
    let mut selects = vec![
        reads::select_journals(&one),
        reads::select_key(&"default".parse().unwrap(), &"chain".parse().unwrap(), &key),
        reads::select_unfinished(None, SagaStatus::Trying, Some(one[0]), 10),
        reads::select_due(None, None, Millis(5), 10),
        reads::select_timers_of(&one),
        reads::select_inbox(&[1, 2]),
        reads::select_audit(one[0]),
    ];
    let definition = Some("chain".parse().unwrap());
    for (filter, status) in [
        (Filter::default(), Some(SagaStatus::Trying)),
        (
            Filter { namespace: Some("default".parse().unwrap()), definition, ..Filter::default() },
            Some(SagaStatus::Confirmed),
        ),
        (Filter { from: Some(one[0]), ..Filter::default() }, None),
        (Filter { key: Some(key), ..Filter::default() }, None),
    ] {
        selects.push(reads::select_page(DbBackend::Sqlite, &filter, status, Some(one[0]), 10));
    }
    statements.extend(selects.iter().map(|select| select.to_string(SqliteQueryBuilder)));
    for sql in statements {
        let plan = plan(&store, &sql).await;
        for table in ["sagas", "journal", "timers", "inbox", "audit"] {
            assert!(!plan.contains(&format!("SCAN {table}")), "{sql}\n{plan}");
        }
    }
}

/// These walk an index that holds only such sagas, or all of them for a page that starts at the newest.
#[tokio::test]
async fn lists_and_counts_walk_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir).await;
    let namespace = Some("default".parse().unwrap());
    let page = |filter: Filter| {
        let own = Filter { namespace: namespace.clone(), ..filter.clone() };
        let [all, own] = [filter, own]
            .map(|filter| reads::select_page(DbBackend::Sqlite, &filter, None, None, 10).to_string(SqliteQueryBuilder));
        (all, own)
    };
    for (filter, expected) in [
        (Filter { parked: Some(true), ..Filter::default() }, "SCAN sagas USING INDEX sagas_parked"),
        (Filter { attention: Some(true), ..Filter::default() }, "SCAN sagas USING INDEX sagas_attention"),
        (Filter::default(), "SCAN sagas USING INDEX sqlite_autoindex_sagas_1"),
    ] {
        let (all, own) = page(filter);
        assert_eq!((plan(&store, &all).await.as_str(), plan(&store, &own).await.as_str()), (expected, expected));
    }
    let counts = plan(&store, &reads::select_counts(None).to_string(SqliteQueryBuilder)).await;
    insta::assert_snapshot!(counts, @"
    SCAN sagas USING COVERING INDEX sagas_of_namespace
    USE TEMP B-TREE FOR GROUP BY
    ");
    let own = reads::select_counts(Some(&"default".parse().unwrap())).to_string(SqliteQueryBuilder);
    insta::assert_snapshot!(plan(&store, &own).await, @"SEARCH sagas USING COVERING INDEX sagas_of_namespace (namespace=?)");
}
