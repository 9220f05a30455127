//! `tercet new`: writes the crate that the README shows, under a name of one's own.

use clap::Parser;
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tercet::cli::{Context, Exit, Failure, Output};

/// The crate, file by file: it stands in this repository, is built and tested there, and is quoted in the README.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../tests/own-saga/Cargo.toml")),
    (".gitignore", include_str!("../../tests/own-saga/.gitignore")),
    ("src/main.rs", include_str!("../../tests/own-saga/src/main.rs")),
    ("src/tests.rs", include_str!("../../tests/own-saga/src/tests.rs")),
];

/// Its name there.
const NAME: &str = "own-saga";

/// Where our packages are: as its manifest says, and in a checkout.
const PACKAGES: [(&str, &str); 3] = [
    ("../../orchestrator", "orchestrator"),
    ("../../participants/participant-sdk", "participants/participant-sdk"),
    ("../testing", "tests/testing"),
];

/// The longest name of a crate.
const NAME_CHARACTERS_MAX: usize = 64;

/// Names that cargo refuses, or that are taken by what the crate depends on.
const TAKEN: [&str; 12] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "proc-macro",
    "schemars",
    "serde",
    "std",
    "test",
    "tokio",
];

/// Write a crate of your own: an operation, a participant on SQLite, a saga, and their tests
#[derive(Parser, Debug)]
#[command(name = "new")]
pub struct New {
    /// The crate's name, and its folder's
    #[arg(value_parser = crate_name)]
    name: String,
    /// Depend on the Tercet in this checkout; on the one that this command was built from if it is not said
    #[arg(long, value_name = "FOLDER", conflicts_with = "git")]
    checkout: Option<PathBuf>,
    /// Depend on the Tercet in this git repository
    #[arg(long, value_name = "URL")]
    git: Option<String>,
}

/// Where the new crate finds Tercet.
enum Tercet {
    Checkout(PathBuf),
    Git(String),
}

/// Runs it.
///
/// # Errors
/// When the folder is there already, cannot be written, or there is no Tercet to depend on.
pub async fn new(new: New, context: Context) -> Result<ExitCode, Failure> {
    let tercet = match new.git {
        Some(url) => Tercet::Git(url),
        None => Tercet::Checkout(checkout(new.checkout.as_deref())?),
    };
    let folder = PathBuf::from(&new.name);
    write(&folder, &new.name, &tercet)?;
    match context.output {
        Output::Table => println!("{}", next(&new.name)),
        Output::Json | Output::Jsonl => println!("{}", serde_json::json!({"crate": new.name, "folder": folder})),
    }
    Ok(ExitCode::SUCCESS)
}

fn next(name: &str) -> String {
    format!(
        "The crate is in ./{name}: src/main.rs holds its operation, participant, saga and main, src/tests.rs its tests. Next:

  cd {name}
  cargo test          # the saga in every world in which one thing goes wrong
  cargo run -- dev    # runs it; then, in another terminal in the same folder:
  cargo run -- saga start dinner --key first --input '{{\"guests\": 4}}' --wait end
  cargo run -- saga show dinner/first"
    )
}

fn crate_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(fits)
        && text.len() <= NAME_CHARACTERS_MAX;
    if !is_name {
        return Err(format!(
            "a crate's name begins with a small letter and has at most {NAME_CHARACTERS_MAX} small letters, digits, `-` and `_`, \
             as in `my-saga`"
        ));
    }
    if TAKEN.contains(&text) || text.starts_with("tercet") {
        return Err("that name is taken: choose one of your own, as in `my-saga`".to_owned());
    }
    Ok(text.to_owned())
}

/// The checkout to depend on, by its whole path.
fn checkout(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let folder = named.unwrap_or(built_from);
    let missing = PACKAGES.iter().map(|(_, at)| folder.join(at)).find(|package| !package.join("Cargo.toml").is_file());
    if let Some(missing) = missing {
        let what_to_do = "name Tercet's checkout with --checkout, or its repository with --git";
        return Err(Failure::new(
            Exit::NotFound,
            format!("there is no package in {}: {what_to_do}", missing.display()),
        ));
    }
    folder
        .canonicalize()
        .map_err(|error| Failure::new(Exit::NotFound, format!("failed to find {}: {error}", folder.display())))
}

fn write(folder: &Path, name: &str, tercet: &Tercet) -> Result<(), Failure> {
    let failed = |what: &Path, error: &std::io::Error| {
        Failure::new(Exit::Unavailable, format!("failed to write {}: {error}", what.display()))
    };
    match std::fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = format!("./{} is there already, and is left as it is: choose another name", folder.display());
            return Err(Failure::new(Exit::Conflict, text));
        }
        Err(error) => return Err(failed(folder, &error)),
    }
    let source = folder.join("src");
    std::fs::create_dir(&source).map_err(|error| failed(&source, &error))?;
    for (file, text) in FILES {
        let path = folder.join(file);
        std::fs::write(&path, adapted(text, name, tercet)).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// A file's text for a crate of that name that finds Tercet there.
fn adapted(text: &str, name: &str, tercet: &Tercet) -> String {
    PACKAGES.iter().fold(text.replace(NAME, name), |text, (here, there)| {
        let found = match tercet {
            Tercet::Checkout(folder) => format!("path = {}", quoted(&folder.join(there).display().to_string())),
            Tercet::Git(url) => format!("git = {}", quoted(url)),
        };
        text.replace(&format!("path = \"{here}\""), &found)
    })
}

/// A text as TOML writes it; JSON's strings are such.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{FILES, PACKAGES, Tercet, adapted, crate_name};
    use std::path::PathBuf;

    #[test]
    fn a_crates_name_is_one_that_cargo_takes() {
        for good in ["my-saga", "s", "saga_2"] {
            assert_eq!(crate_name(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "My", "2nd", "-x", "a b", "a/b", "..", "ä", "core", "test", "tercet", "tercet-core", &"x".repeat(65)]
        {
            assert!(crate_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_the_pattern_is_left() {
        for tercet in
            [Tercet::Checkout(PathBuf::from("/some where/\"tercet\"")), Tercet::Git("https://example.org/t".into())]
        {
            let all: String = FILES.iter().map(|(_, text)| adapted(text, "pizza", &tercet)).collect();
            assert!(all.contains("name = \"pizza\"") && all.contains("Tercet::new(\"pizza\")"), "{all}");
            assert!(!all.contains("own-saga") && !all.contains("own_saga") && !all.contains("path = \"."), "{all}");
            let found = match tercet {
                Tercet::Checkout(_) => all.matches(r#"path = "/some where/\"tercet\"/"#).count(),
                Tercet::Git(_) => all.matches(r#"git = "https://example.org/t""#).count(),
            };
            assert_eq!(found, PACKAGES.len(), "{all}");
        }
    }
}
