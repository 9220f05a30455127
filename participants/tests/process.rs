//! `tercet-shop` as a process: what it says when something is wrong, which participants it runs, and how it ends.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};
use tercet_core::{Namespace, Payload};
use tercet_participant::{
    conformance::Calls,
    nats::{Caller, Settings},
};
use tercet_servers::nats::{Nats, Setup, Version};

/// The command, untouched by the settings of whoever runs the test.
fn shop(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet-shop"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TERCET_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    format!("{}: {}", output.status.code().unwrap(), text.lines().last().unwrap_or_default())
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = "nats://127.0.0.1:1";
    let ran = |arguments: &[&str]| said(&shop(folder.path(), arguments).output().unwrap());
    insta::assert_snapshot!(
        [
            ran(&["--nats", "http://somewhere"]),
            ran(&["--nats", here, "--nats-user", "me"]),
            ran(&["--nats", here, "--nats-user", "me", "--nats-password", "secret", "--nats-token", "secret"]),
            ran(&["--nats", here, "--nats-credentials", "none.creds"]),
            ran(&["--nats", here, "--nats-nkey", "secret"]),
            ran(&["--nats", here, "--only", "inventory,pionts"]),
            ran(&["--nats", here, "--database", "sqlite:shop.db"]),
        ]
        .join("\n"),
        @"
        2: error: `nats.url` is not a list of NATS servers: it reads like `nats://host:4222`, or several of these with commas between them
        2: error: `nats.user` and `nats.password` go together: set both, or neither
        2: error: of `nats.credentials`, `nats.nkey`, `nats.token` and `nats.user` only one can be set
        1: error: failed to read none.creds: entity not found; it is named in `nats.*` of the settings
        1: error: failed to log in to NATS at 127.0.0.1:1: `nats.nkey` is not an nkey's seed: it begins with `SU`
        2: error: `pionts` is no participant of the shop: there are catalog, coupons, gateway, inventory, orders, payments, points, push, red_packets, warehouse
        1: error: failed to open the shop: each participant has a database of its own, so its URL must have `{participant}` in it
        "
    );
}

#[tokio::test]
async fn some_of_them_are_served_until_the_process_is_told_to_end() {
    let server = Setup::default().user("shop", "right").start(Version::Floor).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = server.url().replace("nats://", "nats://shop:right@");
    let arguments = ["--nats", &url, "--only", "catalog,inventory", "--namespace", "there"];
    let mut process = shop(folder.path(), &arguments).stderr(Stdio::null()).spawn().unwrap();

    let namespace: Namespace = "there".parse().unwrap();
    let settings = Settings::of(&url).unwrap();
    let caller = Caller::of(&settings, namespace, "shop", Vec::new()).await.unwrap();
    let ask = |contract: &str| {
        let call = Calls::raw(contract, Payload::of(&serde_json::json!({ "lines": [] })).unwrap()).unwrap().execute();
        let caller = caller.clone();
        async move { caller.ask(&call).await }
    };
    let answer = loop {
        match ask("catalog.check/1").await {
            Ok(answer) => break answer,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(answer.as_str(), "refused", "an order has at least one line: {answer:?}");
    assert!(ask("points.spend/1").await.unwrap_err().contains("no responders"), "nobody asked for points");

    let mut files: Vec<_> =
        std::fs::read_dir(folder.path().join("shop")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.retain(|name| name.to_string_lossy().ends_with(".db"));
    files.sort();
    assert_eq!(files, ["catalog.db", "inventory.db"], "no other's database is touched");

    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(ask("catalog.check/1").await.unwrap_err().contains("no responders"));
}

/// A password that is not let in is named, hidden, and tried again: somebody may put it right at the server.
#[test]
fn a_wrong_password_is_named_and_never_shown() {
    let server: Nats = Setup::default().user("shop", "right").start(Version::Current).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--nats", &server.url(), "--nats-user", "shop", "--nats-password", "wrong-horse"];
    let mut process = shop(folder.path(), &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stderr.take().unwrap()));
    let line = lines.find(|line| line.as_ref().unwrap().contains("failed to log in to NATS")).unwrap().unwrap();
    assert!(line.contains("it refuses this user and password; check `nats.*` in the settings"), "{line}");
    assert!(!line.contains("wrong-horse"), "{line}");
    process.kill().unwrap();
    process.wait().unwrap();
}
