//! A day in the shop on many processes (nodes, participants, a broker, a database), while one after the other is killed, stopped or
//! emptied: a short day in every run, a long one by `./tests/run cluster`.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a process that does not do what is asked is a failed test"
)]

mod check;
mod day;
mod face;
mod faults;
mod options;
mod place;

use options::{Options, Shelf, Store};

/// B23, B25 and F5 at once: all ends or is parked for good reason, each effect once, whatever dies meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_survives_its_nodes_its_broker_and_its_database() {
    let report = day::run(Options::default()).await;
    report.print();
    report.pass();
    report.a_corrupted_row_is_found().await;
}

/// The participants' own databases on a server: a few sagas, and nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn participants_keep_their_databases_on_postgres() {
    quiet(Store::Postgres).await;
}

/// The same on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn participants_keep_their_databases_on_mariadb() {
    quiet(Store::MariaDb).await;
}

async fn quiet(store: Store) {
    let report = day::run(Options { store, shelf: Shelf::Server, sagas: 40, rounds: 0, ..Options::default() }).await;
    report.print();
    report.pass();
}

/// As long, on as many nodes and on what database `./tests/run cluster` is told.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: ./tests/run cluster"]
async fn a_long_day() {
    let report = day::run(Options::told()).await;
    report.print();
    report.pass();
}
