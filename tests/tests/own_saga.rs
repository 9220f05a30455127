//! The crate of the README's "Your own saga in ten minutes": its command runs a node and sagas, as a newcomer runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use insta::assert_snapshot;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

fn own_saga(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_own-saga"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// A node in a process of its own, until it is dropped.
struct Node {
    child: Child,
    server: String,
}

impl Node {
    fn start(folder: &Path) -> Self {
        let mut command = own_saga(folder);
        command.args(["dev", "--listen", "127.0.0.1:0", "--log", "warn"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let server = lines.find_map(|line| Some(line.strip_prefix("API")?.trim().to_owned())).unwrap();
        Self { child, server }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_crate_of_the_readme_runs_dinners() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let start = |key: &str, guests: u32| {
        let input = format!("{{\"guests\": {guests}}}");
        let start = ["saga", "start", "dinner", "--key", key, "--input", &input, "--wait", "end", "--limit", "60s"];
        let output = own_saga(folder.path()).args(start).args(["--server", &node.server]).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let said: Vec<_> = out.lines().skip(1).collect();
        format!("exit {}\n{}", output.status.code().unwrap(), said.join("\n"))
    };
    assert_snapshot!(start("four", 4), @r#"
    exit 0
    it is confirmed
    output: {"pieces":4}
    "#);
    // 36 seats are left, and 26 meals: the seats are held, and given back.
    assert_snapshot!(start("many", 30), @"
    exit 7
    it is cancelled
    it was undone: `meals` was refused: too_few: fewer than 30 meals are left
    ");
    assert_snapshot!(start("the_rest", 26), @r#"
    exit 0
    it is confirmed
    output: {"pieces":26}
    "#);
}
