//! The `tercet` command's own answers.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::process::Command;
use tercet_servers::{
    Postgres,
    nats::{Setup, Version},
};

#[test]
fn a_demo_in_the_folder_of_another_one_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("tercet.demo");
    std::fs::create_dir(&demo).unwrap();
    std::fs::write(demo.join("demo.json"), r#"{"options": {"seed": 7, "sagas": 5}, "began_ms": 0}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    let output = command.args(["dev", "--demo", "--sagas", "6", "--exit"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"error: tercet.demo holds the demo of seed 7 with 5 sagas: run that one again, delete the folder, or name another one with `--data`");
}

/// One second of it; whatever the figures are, everything adds up.
fn chain(more: &[&str], nats: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    let command = command.args(["bench", "chain", "--concurrency", "8", "--seconds", "1", "-o", "json"]).args(more);
    let output = command.env("TERCET_NATS__URL", nats).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what it has written is deleted again");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_chain_adds_up_on_a_server_and_over_nats() {
    let (postgres, nats) = (Postgres::start().unwrap(), Setup::default().start(Version::Floor).unwrap());
    for more in [&[][..], &["--nats"], &["--store", &postgres.url()], &["--store", &postgres.url(), "--nats"]] {
        let line = chain(more, &nats.url());
        assert_eq!(line["violations"], serde_json::json!([]), "{line}");
        assert!(line["sagas_per_s"].as_f64().unwrap() > 0.0 && line["store_limit_rows_per_s"].as_f64().unwrap() > 0.0);
        let is_over_nats = more.contains(&"--nats");
        assert_eq!(line["nats_calls_per_s"].as_f64().is_some_and(|calls| calls > 0.0), is_over_nats, "{line}");
    }
}
