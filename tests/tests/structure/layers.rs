//! Who may know whom: between packages as cargo sees it, within the orchestrator by what the source names.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use serde_json::Value;

use crate::tree::{File, Offence, cargo, check, files, words};

/// Each package and those of ours that it may depend on, for its tests as well.
const LAYERS: [(&str, &[&str]); 11] = [
    ("tercet-core", &[]),
    ("tercet-servers", &[]),
    ("tercet-database", &["tercet-servers"]),
    ("tercet-migrations", &["tercet-database", "tercet-servers"]),
    ("tercet-nats", &["tercet-core", "tercet-servers"]),
    ("tercet", &["tercet-core", "tercet-database", "tercet-migrations", "tercet-nats", "tercet-servers"]),
    ("tercet-participant", &["tercet-core", "tercet-database", "tercet-nats", "tercet-servers"]),
    ("tercet-shop", &["tercet-core", "tercet-database", "tercet-participant", "tercet-servers"]),
    ("tercet-testing", &["tercet", "tercet-core", "tercet-participant"]),
    (
        "tercet-workflows",
        &[
            "tercet",
            "tercet-core",
            "tercet-nats",
            "tercet-participant",
            "tercet-servers",
            "tercet-shop",
            "tercet-testing",
        ],
    ),
    (
        "tercet-tests",
        &[
            "tercet",
            "tercet-core",
            "tercet-migrations",
            "tercet-nats",
            "tercet-participant",
            "tercet-servers",
            "tercet-shop",
            "tercet-testing",
            "tercet-workflows",
        ],
    ),
];

/// All that the core may be built from. Whatever joins them must be as pure as it is.
const CORE_NEEDS: [&str; 9] = [
    "schemars",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "serde_path_to_error",
    "sha2",
    "termtree",
    "thiserror",
    "uuid",
];

/// What must not come into the core by way of these either: runtimes, databases, networks, randomness.
const IMPURE: [&str; 20] = [
    "async-io",
    "async-nats",
    "async-std",
    "axum",
    "fastrand",
    "getrandom",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "rand",
    "rand_core",
    "reqwest",
    "rusqlite",
    "sea-orm",
    "sea-query",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
];

/// Where each rule about libraries holds.
const ORCHESTRATOR: [&str; 2] = ["orchestrator/", "workflows/"];
const PARTICIPANTS: [&str; 1] = ["participants/"];

/// Libraries that one place of the orchestrator knows, and where that is.
const HOMES: [(&[&str], &[&str]); 3] = [
    (&["sea_orm", "sea_orm_migration", "sea_query", "sqlx"], &["orchestrator/src/store/"]),
    (&["axum"], &["orchestrator/src/api/"]),
    (&["async_nats"], &["orchestrator/nats/", "orchestrator/src/transport/nats/", "orchestrator/src/ingress/"]),
];

/// The same of the participants.
const PARTICIPANT_HOMES: [(&[&str], &[&str]); 1] = [(&["async_nats"], &["participants/participant-sdk/src/nats/"])];

/// The sagas every release has; the registry's others are read from its source.
const SAGAS: [&str; 2] = ["refund", "refund_money"];

/// A package and what it names as dependencies, of every kind.
struct Package {
    name: String,
    dependencies: Vec<String>,
}

#[test]
fn packages_depend_downwards_only() {
    let sample = |name: &str, dependencies: &[&str]| Package {
        name: name.into(),
        dependencies: dependencies.iter().map(ToString::to_string).collect(),
    };
    let said = misplaced(&[
        sample("tercet", &["tercet-core", "tokio"]),
        sample("tercet-core", &["tercet"]),
        sample("tercet", &["tercet-participant"]),
        sample("tercet-shop", &["serde", "tercet"]),
        sample("tercet-new", &[]),
    ]);
    assert_snapshot!(said.join("\n"), @"
    tercet-core may not depend on tercet
    tercet may not depend on tercet-participant
    tercet-shop may not depend on tercet
    tercet-new has no layer
    ");

    let packages = packages();
    assert_eq!(misplaced(&packages), Vec::<String>::new(), "see LAYERS");
    let found: BTreeSet<&str> = packages.iter().map(|package| &*package.name).collect();
    assert_eq!(found, LAYERS.iter().map(|(name, _)| *name).collect(), "every package has its layer");
}

fn misplaced(packages: &[Package]) -> Vec<String> {
    let offences = packages.iter().flat_map(|Package { name, dependencies }| {
        let layer = LAYERS.iter().find(|(package, _)| package == name);
        let may = layer.map(|(_, may)| *may);
        let ours = dependencies.iter().filter(|dependency| dependency.starts_with("tercet"));
        let bad = ours.filter(move |dependency| !may.is_some_and(|may| may.contains(&dependency.as_str())));
        let bad = bad.map(move |dependency| format!("{name} may not depend on {dependency}"));
        layer.is_none().then(|| format!("{name} has no layer")).into_iter().chain(bad)
    });
    offences.collect()
}

#[test]
fn the_kit_for_tests_is_in_no_release() {
    let shipped = metadata(|kind| kind != "dev");
    let knowing = shipped.iter().filter(|p| known_to(p, "tercet-testing") || known_to(p, "tercet-servers"));
    let knowing: Vec<&str> = knowing.map(|package| &*package.name).collect();
    assert_eq!(knowing, Vec::<&str>::new(), "a dependency of tests is a dev-dependency");
    assert!(packages().iter().any(|package| known_to(package, "tercet-testing")), "the search finds it among tests");
}

fn known_to(package: &Package, dependency: &str) -> bool {
    package.dependencies.iter().any(|name| name == dependency)
}

#[test]
fn the_core_is_built_from_pure_crates_alone() {
    let direct: Vec<String> =
        metadata(|kind| kind != "dev").into_iter().find(|it| it.name == "tercet-core").unwrap().dependencies;
    let strangers: Vec<&String> = direct.iter().filter(|name| !CORE_NEEDS.contains(&name.as_str())).collect();
    assert!(strangers.is_empty(), "not on the list of what the core may be built from: {strangers:?}");

    let tree = |package| {
        let edges = ["tree", "--offline", "-e", "normal,build", "--prefix", "none", "-f", "{p}", "-p", package];
        cargo(&edges).lines().filter_map(|line| line.split(' ').next()).map(String::from).collect::<BTreeSet<String>>()
    };
    let impure = |package| tree(package).into_iter().filter(|name| IMPURE.contains(&name.as_str())).collect::<Vec<_>>();
    assert_eq!(impure("tercet-core"), Vec::<String>::new(), "see IMPURE");
    assert!(impure("tercet").contains(&"tokio".to_owned()), "the search finds what it must not find in the core");
}

/// Every package of the workspace, with all its dependencies.
fn packages() -> Vec<Package> {
    metadata(|_| true)
}

/// The same, with those of certain kinds: `normal`, `build`, `dev`.
fn metadata(wanted: impl Fn(&str) -> bool) -> Vec<Package> {
    let json = cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let dependencies =
            dependencies.filter(|it| wanted(it["kind"].as_str().unwrap_or("normal"))).map(name).collect();
        Package { name: name(package), dependencies }
    };
    json["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn each_library_is_known_in_one_place() {
    let said = check(
        ".rs",
        strays,
        &[
            ("orchestrator/src/store/sql.rs", "use sea_orm::Statement;\n"),
            (
                "orchestrator/src/engine.rs",
                "//! Never sea_orm.\nuse sea_orm::Statement;\nfn f() -> sqlx::Result<()> {}\n",
            ),
            ("orchestrator/src/cli/mod.rs", "use ::axum as web;\n\n#[cfg(test)]\nmod tests {\nuse axum::body;\n}\n"),
            ("orchestrator/src/transport/nats/mod.rs", "use async_nats::Client;\n"),
            ("participants/participant-sdk/src/nats/mod.rs", "use tercet_nats::async_nats::Client;\n"),
            ("participants/participant-sdk/src/service/mod.rs", "use tercet_nats::async_nats::Client;\n"),
            ("workflows/src/main.rs", "async_nats::connect(url);\n"),
            ("participants/src/orders.rs", "use sea_orm::Statement;\n"),
        ],
    );
    assert_snapshot!(said, @"
    orchestrator/src/engine.rs:2: names sea_orm, which only orchestrator/src/store/ may
    orchestrator/src/engine.rs:3: names sqlx, which only orchestrator/src/store/ may
    orchestrator/src/cli/mod.rs:1: names axum, which only orchestrator/src/api/ may
    participants/participant-sdk/src/service/mod.rs:1: names async_nats, which only participants/participant-sdk/src/nats/ may
    workflows/src/main.rs:1: names async_nats, which only orchestrator/nats/ and orchestrator/src/transport/nats/ and orchestrator/src/ingress/ may
    ");
}

fn strays(file: &File) -> Vec<Offence> {
    let within = |scopes: &[&str]| scopes.iter().any(|scope| file.path.starts_with(scope));
    let all: &[(&[&str], &[&str])] = match (within(&ORCHESTRATOR), within(&PARTICIPANTS)) {
        (true, _) => &HOMES,
        (_, true) => &PARTICIPANT_HOMES,
        _ => return Vec::new(),
    };
    let offences = file.shipped_code().flat_map(|(number, line)| {
        let homes = |word: &str| all.iter().find(|(known, _)| known.contains(&word)).map(|(_, homes)| *homes);
        let strays = words(line).filter_map(move |word| Some((word, homes(word)?)));
        let strays = strays.filter(|(_, homes)| !homes.iter().any(|home| file.path.starts_with(home)));
        strays.map(move |(word, homes)| (number, format!("names {word}, which only {} may", homes.join(" and "))))
    });
    offences.collect()
}

#[test]
fn the_engine_names_no_particular_saga() {
    let sagas: Vec<String> =
        files(".rs").iter().filter(|file| file.path.starts_with("workflows/src/")).flat_map(sagas).collect();
    let said = check(
        ".rs",
        |file| named_sagas(file, &sagas),
        &[
            (
                "orchestrator/src/engine.rs",
                "/// Say, `\"refund\"`.\nif name == \"refund\" {}\nuse tercet_shop::orders;\n",
            ),
            ("orchestrator/src/engine/tests.rs", "start(\"refund\");\n"),
            ("workflows/src/refund.rs", "start(\"refund\");\n"),
        ],
    );
    assert_snapshot!(said, @r#"
    orchestrator/src/engine.rs:2: names "refund"
    orchestrator/src/engine.rs:3: names tercet_shop
    "#);

    let sample = "let saga = Saga::<Order>::new(\"order\", 1);\nSaga::<Pay>::new(\n    \"pay\",\n    1,\n);\nFlow::new(\"x\");\n";
    let sample = File { path: "workflows/src/order.rs".into(), text: sample.into() };
    assert_snapshot!(self::sagas(&sample).join(" "), @"order pay");
}

fn named_sagas(file: &File, sagas: &[String]) -> Vec<Offence> {
    if !file.path.starts_with("orchestrator/") {
        return Vec::new();
    }
    let literals: Vec<String> =
        sagas.iter().map(String::as_str).chain(SAGAS).map(|name| format!("\"{name}\"")).collect();
    let crates = ["tercet_shop", "tercet_workflows"];
    let offence = |line: &str| {
        let literal = literals.iter().find(|literal| line.contains(literal.as_str())).map(String::as_str);
        literal.or_else(|| words(line).find(|word| crates.contains(word))).map(|name| format!("names {name}"))
    };
    file.shipped_code().filter_map(|(number, line)| Some((number, offence(line)?))).collect()
}

/// The names of the definitions that a file declares: `Saga::<Input>::new("name", 1)`.
fn sagas(file: &File) -> Vec<String> {
    let declared = file.text.split("Saga::").skip(1).filter_map(|rest| {
        let (_, arguments) = rest.split_once("new(")?;
        let (name, _) = arguments.trim_start().strip_prefix('"')?.split_once('"')?;
        Some(name.to_owned())
    });
    declared.collect()
}
