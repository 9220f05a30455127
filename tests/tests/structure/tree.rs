//! The repository as git and cargo know it, and how a rule is held against it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// A file under version control.
pub(crate) struct File {
    /// From the repository's root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What a file does wrong, and in which line (from 1; 0 is the file as a whole).
pub(crate) type Offence = (usize, String);

impl File {
    /// Every line that is not a comment of its own, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The lines that a user's binary may contain: none of a test file, and nothing from the test module on.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.test_module() };
        numbered(&self.text).take_while(move |(number, _)| *number < end)
    }

    /// Those of the shipped lines that are code.
    pub(crate) fn shipped_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        let stem = self.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        self.path.split('/').any(|folder| folder == "tests") || stem == "tests" || stem.ends_with("_tests")
    }

    /// The line where `#[cfg(test)] mod name {` begins; past the end if there is none. Clippy sees to it that no code follows.
    fn test_module(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        lines.windows(2).position(opens).unwrap_or(lines.len()) + 1
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// The identifiers and numbers of a line.
pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Where the rules' own samples and forbidden words stand: the one folder the rules are not held against.
const RULES: &str = "tests/tests/structure/";

/// Fails, naming each offence, if a tracked file that ends in `suffix` breaks the rule; and shows what the rule says about
/// the samples, so that a rule that has gone blind shows in a snapshot.
pub(crate) fn check(suffix: &str, rule: impl Fn(&File) -> Vec<Offence>, samples: &[(&str, &str)]) -> String {
    let sample = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
    let judge = |files: Vec<File>| -> String {
        let offences =
            |file: &File| rule(file).into_iter().map(|(line, what)| format!("{}:{line}: {what}", file.path)).collect();
        files.iter().flat_map::<Vec<String>, _>(offences).collect::<Vec<_>>().join("\n")
    };
    let others = files(suffix).into_iter().filter(|file| !file.path.starts_with(RULES));
    let found = judge(others.collect());
    assert!(found.is_empty(), "the repository breaks this rule:\n{found}");
    judge(samples.iter().map(sample).collect())
}

/// The tracked text files whose path ends in `suffix`, as they stand in the working tree.
pub(crate) fn files(suffix: &str) -> Vec<File> {
    let read = |path: String| match fs::read(root().join(&path)) {
        Ok(bytes) => String::from_utf8(bytes).ok().map(|text| File { path, text }),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("failed to read {path}: {error}"),
    };
    let files: Vec<File> = tracked().into_iter().filter(|path| path.ends_with(suffix)).filter_map(read).collect();
    assert!(!files.is_empty(), "no tracked file ends in {suffix:?}: is this a git checkout?");
    files
}

/// Every path under version control. The checkout may belong to another user than the one who tests it.
pub(crate) fn tracked() -> Vec<String> {
    let listing = output("git", &["-c", "safe.directory=*", "ls-files", "-z"]);
    listing.split('\0').filter(|path| !path.is_empty()).map(String::from).collect()
}

/// What cargo prints; never from the network, as everything is here once the tests are built.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    output(&env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).current_dir(root()).output();
    let run = run.unwrap_or_else(|error| panic!("failed to run {program}: {error}"));
    assert!(run.status.success(), "{program} {arguments:?} failed:\n{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
