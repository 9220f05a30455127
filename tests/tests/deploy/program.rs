//! What the programs know: their settings, their commands, the paths they answer at.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tercet::{
    Tercet,
    config::{Config, Sources},
};

/// The program of a node.
const NODE: &str = "tercet";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("failed to read {path}: {error}"))
}

/// What a node has against its environment, if anything.
pub(crate) fn node_refuses(environment: &[(String, String)]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment.to_vec();
    let sources = Sources { folder: folder.path().to_owned(), environment, ..Sources::default() };
    Config::load(&sources).err().map(|errors| errors.to_string())
}

/// Those of the variables that `tercet-shop` does not read. It has its settings from its flags, each of which names its variable.
pub(crate) fn shop_ignores(environment: &[(String, String)]) -> Vec<&str> {
    let source = read("participants/src/main.rs");
    let known: BTreeSet<&str> = between(&source, "env = \"").collect();
    assert!(known.contains("TERCET_NATS__URL") && known.contains("DATABASE_URL"), "{known:?}");
    environment.iter().map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect()
}

/// Whether `tercet` takes the arguments; what they would do is not done.
pub(crate) async fn node_takes(arguments: &[&str]) -> bool {
    let all = [NODE].into_iter().chain(arguments.iter().copied()).chain(["--help"]);
    Tercet::new(NODE).run_from(all.map(Into::into)).await == ExitCode::SUCCESS
}

/// The paths that the API answers at.
pub(crate) fn paths() -> BTreeSet<String> {
    let source = read("orchestrator/src/api/mod.rs");
    let paths: BTreeSet<String> = between(&source, ".route(\"").map(str::to_owned).collect();
    assert!(paths.contains("/v1/sagas"), "{paths:?}");
    paths
}

/// What stands between each `open` and the next quotation mark.
fn between<'a>(source: &'a str, open: &'a str) -> impl Iterator<Item = &'a str> {
    source.split(open).skip(1).filter_map(|rest| rest.split('"').next())
}

fn set(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn what_the_programs_do_not_know_is_told() {
    insta::assert_snapshot!(
        node_refuses(&set("TERCET_DATABASE_URL", "postgres://db/tercet")).unwrap(),
        @"`database_url` (the environment variable TERCET_DATABASE_URL) is no setting: did you mean `TERCET_DATABASE__URL`?"
    );
    assert_eq!(node_refuses(&set("TERCET_DATABASE__URL", "postgres://db/tercet")), None);
    assert_eq!(shop_ignores(&set("TERCET_NATS_URL", "nats://nats")), ["TERCET_NATS_URL"]);
    assert_eq!(shop_ignores(&set("TERCET_NATS__URL", "nats://nats")), [""; 0]);
}

/// Why the chart's pods have `enableServiceLinks: false`.
#[test]
fn what_kubernetes_puts_into_the_environment_for_a_service_named_tercet_is_refused() {
    let said = node_refuses(&set("TERCET_PORT", "tcp://10.0.0.1:7007")).unwrap();
    assert!(said.contains("is no setting"), "{said}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told() {
    assert!(node_takes(&["serve"]).await);
    assert!(!node_takes(&["serv"]).await);
}
