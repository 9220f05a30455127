//! `tercet new` as it is called, and the crate that it writes: built, tested and run outside of this workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use insta::assert_snapshot;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What a command in that folder ended with and said.
fn said(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let said = format!("exit {}\n{}{}", output.status.code().unwrap(), text(output.stdout), text(output.stderr));
    said.replace(&folder.display().to_string(), "<folder>").replace(&root().display().to_string(), "<checkout>")
}

fn tercet(folder: &Path, arguments: &[&str]) -> String {
    said(folder, env!("CARGO_BIN_EXE_tercet"), arguments)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

#[test]
fn a_crate_is_written_and_what_is_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert_snapshot!(tercet(folder.path(), &["new", "pizza"]), @r#"
    exit 0
    The crate is in ./pizza: src/main.rs holds its operation, participant, saga and main, src/tests.rs its tests. Next:

      cd pizza
      cargo test          # the saga in every world in which one thing goes wrong
      cargo run -- dev    # runs it; then, in another terminal in the same folder:
      cargo run -- saga start dinner --key first --input '{"guests": 4}' --wait end
      cargo run -- saga show dinner/first
    "#);
    let manifest = std::fs::read_to_string(folder.path().join("pizza/Cargo.toml")).unwrap();
    let orchestrator = format!("tercet = {{ path = \"{}/orchestrator\" }}", root().display());
    assert!(manifest.contains(&orchestrator) && manifest.contains("name = \"pizza\""), "{manifest}");
    assert_snapshot!(tercet(folder.path(), &["new", "pizza"]), @"
    exit 4
    error: ./pizza is there already, and is left as it is: choose another name
    ");
    assert_snapshot!(tercet(folder.path(), &["new", "pasta", "--git", "https://example.org/tercet", "-o", "json"]), @r#"
    exit 0
    {"crate":"pasta","folder":"pasta"}
    "#);
    assert_snapshot!(tercet(folder.path(), &["new", "salad", "--checkout", "."]), @"
    exit 3
    error: there is no package in ./orchestrator: name Tercet's checkout with --checkout, or its repository with --git
    ");
    assert!(!folder.path().join("salad").exists());
    assert_snapshot!(tercet(folder.path(), &["new", "My Saga"]), @"
    exit 2
    error: invalid value 'My Saga' for '<NAME>': a crate's name begins with a small letter and has at most 64 small letters, digits, `-` and `_`, as in `my-saga`

    For more information, try '--help'.
    ");
}

/// Some minutes the first time, for what it depends on: `./tests/run own-saga`.
#[test]
#[ignore = "builds what it depends on once more: ./tests/run own-saga"]
fn the_new_crate_builds_passes_its_tests_and_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let written = tercet(folder.path(), &["new", "pizza"]);
    assert!(written.starts_with("exit 0"), "{written}");
    let crate_ = folder.path().join("pizza");
    // The versions that this repository is tested with, and nothing from the network.
    std::fs::copy(root().join("Cargo.lock"), crate_.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // As in this workspace, so that what is built already is built for the new crate, too.
    let profile =
        ["--config", "profile.dev.debug='line-tables-only'", "--config", "profile.dev.package.'*'.debug=false"];
    let offline = ["--offline", "--target-dir", target.to_str().unwrap()];
    let run = |arguments: &[&str]| {
        let said = said(&crate_, &cargo, &[&profile[..], arguments, &offline].concat());
        assert!(said.starts_with("exit 0"), "{said}");
        said
    };
    let tested = run(&["test", "-q"]);
    assert!(tested.contains("2 passed"), "{tested}");
    run(&["build", "-q"]);
    let binary = target.join("debug/pizza");
    assert_snapshot!(said(&crate_, binary.to_str().unwrap(), &["definition", "graph", "dinner"]), @"
    exit 0
    dinner@1
    ├── before the decision
    │   ├── seats (tcc restaurant.hold/1)
    │   └── meals (tcc restaurant.hold/1) ← seats
    └── decision
    ");
}
