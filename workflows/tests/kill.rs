//! `kill -9` in the middle of the demo, twice, and it is run again: every saga ends or is parked with its reason, nothing is lost
//! or done twice.

#![cfg(unix)] // the signal that ended a process is asked for
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a process that does not say what is asked is a failed test"
)]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

const SEED: u64 = 11;
const SAGAS: u64 = 500;
const KILL: i32 = 9;

#[test]
fn a_demo_that_is_killed_and_run_again_loses_nothing_and_does_nothing_twice() {
    println!("seed {SEED}");
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo { data: folder.path().join("tercet.db") };

    let first = demo.killed_at(100);
    let second = demo.killed_at(300);
    assert!(first.first.at_rest() < 100, "the first run began at {:?}", first.first);
    assert!(
        second.first.ended() >= first.last.ended(),
        "sagas that had ended came back: {:?}, then {:?}",
        first.last,
        second.first
    );

    let report = demo.to_its_end();
    check(&report, &demo);

    let standing = demo.standing();
    assert_eq!(standing.report, report, "once more, and something was done again");
    standing.every_parked_saga_says_why(report["sagas"]["parked"].as_u64().unwrap());
}

/// The figures of all parties at the end.
fn check(report: &Value, demo: &Demo) {
    let sagas = |name: &str| report["sagas"][name].as_u64().unwrap();
    let ends = ["confirmed", "cancelled", "parked"].map(sagas);
    // The clock goes on while nobody is there: what was paid meanwhile comes too late, and each such payment has a saga to go back.
    assert!(ends.iter().sum::<u64>() >= SAGAS, "{report}");
    let of = |definition: &str, end: &str| report["by_definition"][definition][end].as_u64().unwrap();
    let refunds = |end: &str| of("refund", end) + of("refund_money", end);
    assert!(
        ends.iter().all(|end| *end > 0),
        "a demo in which one of the three ends is missing shows nothing: {report}"
    );
    assert_eq!(report["violations"], Value::Array(Vec::new()));

    let ledger = &report["ledger"];
    let moved = ledger["channel"]["accounts"]["EUR"]["given_back"].as_i64().unwrap();
    assert!(moved > 0, "{ledger}");
    assert_eq!(ledger["payments"]["money"]["EUR"]["refunded"], moved, "payments and channel");
    assert_eq!(ledger["gateway"]["given_back"]["EUR"], moved, "gateway and channel");
    assert_eq!(ledger["payments"]["refunds"]["refunded"], refunds("confirmed"), "a refund for each confirmed saga");
    assert_eq!(ledger["channel"]["refunds"]["succeeded"], refunds("confirmed"), "money moved once for each of them");
    assert_eq!(ledger["payments"]["refunds"]["processing"], sagas("parked"), "each parked saga holds its money");
    assert_eq!(ledger["notices"]["refunded"], refunds("confirmed"), "each told once");
    assert_eq!(
        ledger["notices"]["payment_accepted"],
        of("create_order", "confirmed"),
        "one payment counts for each paid order"
    );
    assert_eq!(ledger["notices"]["refund_failed"], refunds("cancelled"), "each told once");

    let database = PathBuf::from(report["database"].as_str().unwrap());
    assert!(database.starts_with(demo.folder()) && database.is_file(), "{}", database.display());
}

/// The demo of one folder.
struct Demo {
    data: PathBuf,
}

/// What a run said before it was killed.
struct Killed {
    first: Progress,
    last: Progress,
}

/// A demo that has nothing left to do, and stays up for people.
struct Standing {
    process: Child,
    folder: PathBuf,
    server: String,
    report: Value,
}

impl Demo {
    fn command(&self) -> Command {
        let mut command = tercet(self.folder());
        command.args(["dev", "--demo", "-o", "json", "--log", "error"]);
        command.args(["--seed", &SEED.to_string(), "--sagas", &SAGAS.to_string()]).arg("--data").arg(&self.data);
        command
    }

    fn folder(&self) -> &Path {
        self.data.parent().unwrap()
    }

    /// Runs it until so many sagas are at rest, and kills it without a word.
    fn killed_at(&self, sagas: u64) -> Killed {
        let (mut process, mut said) = started(self.command().arg("--exit").stdout(Stdio::null()));
        let first = progress(&mut said);
        let mut last = first;
        while last.at_rest() < sagas {
            last = progress(&mut said);
        }
        process.kill().unwrap();
        let how = process.wait().unwrap();
        assert_eq!(how.signal(), Some(KILL), "it had ended by itself, {how}, at {last:?}");
        assert!(last.at_rest() < SAGAS, "nothing was left to be done: {last:?}");
        Killed { first, last }
    }

    /// Runs it to its end, and reads what it says last.
    fn to_its_end(&self) -> Value {
        let ended = self.command().arg("--exit").output().unwrap();
        let (out, err) =
            (String::from_utf8(ended.stdout).unwrap(), String::from_utf8_lossy(&ended.stderr).into_owned());
        assert_eq!(ended.status.code(), Some(0), "{out}\n{err}");
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }

    /// Runs it once more, and leaves it up.
    fn standing(&self) -> Standing {
        let (mut process, mut said) = started(self.command().args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()));
        let mut out = BufReader::new(process.stdout.take().unwrap()).lines();
        let server = loop {
            let line = said.next().expect("it ended before it said where it is").unwrap();
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                break url.to_owned();
            }
        };
        let report = serde_json::from_str(&out.next().unwrap().unwrap()).unwrap();
        Standing { process, folder: self.folder().to_owned(), server, report }
    }
}

impl Standing {
    /// As a person asks, by the command line.
    fn every_parked_saga_says_why(&self, parked: u64) {
        let list = self.asked(&["saga", "list", "--parked", "--limit", "500"]);
        let rows = list["sagas"].as_array().unwrap();
        assert_eq!(rows.len() as u64, parked);
        for row in rows {
            let shown = self.asked(&["saga", "show", row["id"].as_str().unwrap()]);
            let steps = shown["steps"].as_array().unwrap();
            let parked: Vec<_> = steps.iter().filter(|step| step.get("parked").is_some()).collect();
            assert!(!parked.is_empty(), "no step says that it is parked: {shown}");
            for step in parked {
                assert!(step["parked"].as_str().is_some_and(|why| !why.is_empty()), "no reason: {shown}");
                assert!(step["choices"].as_array().is_some_and(|choices| !choices.is_empty()), "no way out: {shown}");
            }
        }
    }

    fn asked(&self, arguments: &[&str]) -> Value {
        let answer =
            tercet(&self.folder).args(arguments).args(["-o", "json", "--server", &self.server]).output().unwrap();
        assert!(answer.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&answer.stderr));
        serde_json::from_slice(&answer.stdout).unwrap()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// How far a run says it is, in a line as `117/500 at rest: confirmed 77, cancelled 33, parked 7 · …`.
#[derive(Clone, Copy, Debug)]
struct Progress {
    confirmed: u64,
    cancelled: u64,
    parked: u64,
}

impl Progress {
    fn of(line: &str) -> Option<Self> {
        let (_, words) = line.split_once(" at rest: ")?;
        let number = |name: &str| {
            let (_, rest) = words.split_once(name)?;
            rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Self { confirmed: number("confirmed ")?, cancelled: number("cancelled ")?, parked: number("parked ")? })
    }

    fn at_rest(self) -> u64 {
        self.ended() + self.parked
    }

    fn ended(self) -> u64 {
        self.confirmed + self.cancelled
    }
}

/// The next line of that kind.
fn progress(said: &mut Lines<BufReader<ChildStderr>>) -> Progress {
    let mut read = Vec::new();
    for line in said {
        let line = line.unwrap();
        if let Some(progress) = Progress::of(&line) {
            return progress;
        }
        read.push(line);
    }
    panic!("it ended before it was killed, and said:\n{}", read.join("\n"));
}

/// The command, untouched by the settings of whoever runs the test.
fn tercet(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TERCET_") {
            command.env_remove(name);
        }
    }
    command
}

fn started(command: &mut Command) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(process.stderr.take().unwrap()).lines();
    (process, said)
}
