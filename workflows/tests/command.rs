//! The `tercet` command's own answers.

use std::process::Command;

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
