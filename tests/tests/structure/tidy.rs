//! How files are kept: each says what it is for, stays short, and none slips past the lints.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use crate::tree::{File, Offence, check, tracked, words};

/// Lines of a file, its tests not counted.
const LINES_MAX: usize = 500;

/// Files that are longer for now, and how long they may be. An entry goes when its file is short again.
const LONGER: &[(&str, usize)] = &[];

/// What is visible at the top; settings hide in dotfiles.
const TOP: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "migrations",
    "orchestrator",
    "participants",
    "tests",
    "workflows",
];

#[test]
fn every_file_opens_with_what_lives_there() {
    let said = check(
        ".rs",
        opening,
        &[
            ("good.rs", "//! The ids of sagas and steps.\n"),
            ("code_first.rs", "use std::fmt;\n//! The ids of sagas and steps.\n"),
            ("says_nothing.rs", "//! Under construction.\nuse std::fmt;\n"),
            ("empty.rs", ""),
        ],
    );
    assert_snapshot!(said, @r#"
    code_first.rs:1: does not open with `//!` and what lives here, but with "use std::fmt;"
    says_nothing.rs:1: does not open with `//!` and what lives here, but with "//! Under construction."
    empty.rs:1: does not open with `//!` and what lives here, but with ""
    "#);
}

fn opening(file: &File) -> Vec<Offence> {
    let first = file.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").unwrap_or_default();
    let unwritten = file.text == "//! Under construction.\n";
    let empty = !unwritten && (words(says).count() < 3 || says.starts_with("Under construction"));
    empty
        .then(|| (1, format!("does not open with `//!` and what lives here, but with {first:?}")))
        .into_iter()
        .collect()
}

#[test]
fn files_are_short() {
    let long =
        format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "line\n".repeat(LINES_MAX + 1), "line\n".repeat(LINES_MAX));
    let short = long.replacen("line\n", "", 1);
    let samples =
        [("src/short.rs", &*short), ("src/long.rs", &long), ("src/long/tests.rs", &long), ("tests/long.rs", &long)];
    assert_snapshot!(check(".rs", |file| length(file, LONGER), &samples), @"src/long.rs:0: 501 lines without tests, of at most 500: split it by what it does");
}

#[test]
fn a_file_on_the_list_of_longer_ones_is_still_longer() {
    let long = "line\n".repeat(LINES_MAX + 1);
    let list = [("src/within.rs", LINES_MAX + 9), ("src/grown.rs", LINES_MAX), ("src/mended.rs", LINES_MAX + 9)];
    let samples = [("src/within.rs", &*long), ("src/grown.rs", &long), ("src/mended.rs", "line\nline\n")];
    let said = samples.map(|(path, text)| length(&File { path: path.into(), text: text.into() }, &list));
    assert_snapshot!(said.concat().into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("\n"), @"
    501 lines without tests, of at most 500: split it by what it does
    2 lines are few enough: take it off the list of longer files
    ");

    let tracked: BTreeSet<String> = tracked().into_iter().collect();
    let gone: Vec<_> = LONGER.iter().filter(|(path, _)| !tracked.contains(*path)).collect();
    assert!(gone.is_empty(), "on the list of longer files, but not in the repository: {gone:?}");
}

fn length(file: &File, longer: &[(&str, usize)]) -> Vec<Offence> {
    let lines = file.shipped().count();
    let listed = longer.iter().find(|(path, _)| *path == file.path).map(|(_, allowed)| *allowed);
    let allowed = listed.unwrap_or(LINES_MAX);
    let what = match listed {
        _ if lines > allowed => format!("{lines} lines without tests, of at most {allowed}: split it by what it does"),
        Some(_) if lines <= LINES_MAX => format!("{lines} lines are few enough: take it off the list of longer files"),
        _ => return Vec::new(),
    };
    vec![(0, what)]
}

#[test]
fn nothing_slips_past_the_lints() {
    let said = check(
        ".rs",
        loopholes,
        &[
            (
                "good.rs",
                "#[expect(clippy::panic, reason = \"..\")]\nfn flatten(todo: bool) { allow(todo) }\n// To do: allow(this)\n",
            ),
            ("core/tests/compile_fail/shop.rs", "#![allow(dead_code)]\n"),
            ("allow.rs", "#[allow(dead_code)]\n#![allow(unused)]\n#[cfg_attr(test, allow(unused))]\n"),
            ("unfinished.rs", "fn f() { todo!() }\nfn g() { unimplemented!() }\n// TODO: later\n"),
        ],
    );
    assert_snapshot!(said, @"
    allow.rs:1: expect, with a reason, where a lint is wrong; never allow
    allow.rs:2: expect, with a reason, where a lint is wrong; never allow
    allow.rs:3: expect, with a reason, where a lint is wrong; never allow
    unfinished.rs:1: unfinished: finish it, or leave it out
    unfinished.rs:2: unfinished: finish it, or leave it out
    unfinished.rs:3: unfinished: finish it, or leave it out
    ");
}

fn loopholes(file: &File) -> Vec<Offence> {
    // Files that must not compile are no part of any build: most of an expectation's lints are never reached there.
    let compiles = !file.path.contains("tests/compile_fail/");
    let allows = file.code().filter(move |_| compiles).filter(|(_, line)| {
        let before = line.find("allow(").map(|at| &line[..at]);
        before.is_some_and(|before| before.contains("#[") || before.contains("#!["))
    });
    let unfinished = (1..).zip(file.text.lines()).filter(|(_, line)| {
        words(line).any(|word| ["TODO", "FIXME"].contains(&word))
            || line.contains("todo!")
            || line.contains("unimplemented!")
    });
    let allows = allows.map(|(number, _)| (number, "expect, with a reason, where a lint is wrong; never allow".into()));
    allows.chain(unfinished.map(|(number, _)| (number, "unfinished: finish it, or leave it out".into()))).collect()
}

#[test]
fn serde_never_guesses() {
    let said = check(
        ".rs",
        guesses,
        &[
            ("good.rs", "#[serde(tag = \"kind\")]\nstruct A { flatten: bool }\n"),
            ("untagged.rs", "// One line.\n#[serde(rename_all = \"snake_case\", untagged)]\nenum A {}\n"),
            ("many_lines.rs", "#[cfg_attr(\n    test,\n    serde(\n        default,\n        flatten\n    )\n)]\n"),
        ],
    );
    assert_snapshot!(said, @"
    untagged.rs:2: serde's untagged guesses; write the fields or the tag out
    many_lines.rs:3: serde's flatten guesses; write the fields or the tag out
    ");
}

/// Both buffer what they read and try again, which loses raw payloads, positions in errors and unknown fields.
fn guesses(file: &File) -> Vec<Offence> {
    let code: Vec<(usize, &str)> = file.code().collect();
    let text = code.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
    let attributes = text.match_indices("serde(").filter_map(|(at, _)| {
        let attribute = text[at..].split(']').next()?;
        let guess = words(attribute).find(|word| ["untagged", "flatten"].contains(word))?;
        let line = text[..at].matches('\n').count();
        Some((code[line].0, format!("serde's {guess} guesses; write the fields or the tag out")))
    });
    attributes.collect()
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let said = check(
        "/Cargo.toml",
        lints,
        &[
            ("good/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n\n[dependencies]\n"),
            ("bad/Cargo.toml", "[package]\nversion.workspace = true\n"),
            ("own/Cargo.toml", "[package]\nversion = \"0.1.0\"\n\n[workspace]\n"),
        ],
    );
    assert_snapshot!(said, @"bad/Cargo.toml:0: lacks `[lints] workspace = true`");
}

fn lints(file: &File) -> Vec<Offence> {
    // A crate with a workspace of its own could not: it shows what stands outside of this one.
    let taken = file.text.contains("\n[lints]\nworkspace = true\n") || file.text.contains("\n[workspace]\n");
    (!taken).then(|| (0, "lacks `[lints] workspace = true`".into())).into_iter().collect()
}

#[test]
fn nothing_names_a_path_of_the_machine_it_was_written_on() {
    let said = check(
        "",
        machine_paths,
        &[
            (
                "good.md",
                concat!("See ../wor", "k/notes and <https://example.org/wor", "k/1>; databases lie in /tmp.\n"),
            ),
            ("bad.sh", concat!("cd /wor", "k/main\ncp a /ro", "ot/.cargo\n\nls '/tmp/bash", "_jobs.0'\n")),
        ],
    );
    assert_snapshot!(said, @"
    bad.sh:1: names a path of one machine
    bad.sh:2: names a path of one machine
    bad.sh:4: names a path of one machine
    ");
}

fn machine_paths(file: &File) -> Vec<Offence> {
    let starts = |line: &str, path: &str| {
        let inside = |c: char| c.is_alphanumeric() || "._-$}".contains(c);
        line.match_indices(path).any(|(at, _)| !line[..at].ends_with(inside))
    };
    let paths = [concat!("/wor", "k/"), concat!("/ro", "ot/"), concat!("/tmp/bash", "_jobs")];
    let bad = (1..).zip(file.text.lines()).filter(|(_, line)| paths.iter().any(|path| starts(line, path)));
    bad.map(|(number, _)| (number, "names a path of one machine".into())).collect()
}

#[test]
fn the_top_level_is_what_the_design_says() {
    let tops: BTreeSet<String> = tracked().iter().filter_map(|path| path.split('/').next()).map(String::from).collect();
    let visible: Vec<&str> = tops.iter().map(String::as_str).filter(|name| !name.starts_with('.')).collect();
    assert_eq!(visible, TOP, "a new thing goes into a folder that is there, a setting into a dotfile");
}
