//! compose.yaml and the image that it builds: what they name is there, and what they set is known.

use crate::{
    helm::read_yaml,
    program::{node_refuses, node_takes, paths, read, root, shop_ignores},
};
use serde_json::Value;
use std::collections::BTreeSet;

const FOLDER: &str = "orchestrator/deploy";
const IMAGE: &str = "orchestrator/deploy/Containerfile";

/// The keys of a service that are in use here. A misspelt one is not among them.
const KEYS: [&str; 15] = [
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "entrypoint",
    "environment",
    "healthcheck",
    "image",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "volumes",
];

fn compose() -> Value {
    read_yaml(&root().join(FOLDER).join("compose.yaml"))
}

fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
}

/// What Compose makes of a text where nothing is set in its environment.
fn interpolated(text: &str) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap().to_owned();
    while let Some(part) = parts.next() {
        if let Some((_, rest)) = part.strip_prefix('{').and_then(|inner| inner.split_once(":-")) {
            let (default, rest) = rest.split_once('}').unwrap();
            whole += default;
            whole += rest;
        } else {
            assert!(part.is_empty(), "neither `${{NAME:-default}}` nor `$$`: {text}");
            whole += "$";
            whole += parts.next().unwrap();
        }
    }
    whole
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| interpolated(text.as_str().unwrap())).collect()
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let all = service["environment"].as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), interpolated(value.as_str().unwrap()))).collect()
}

/// Whether it runs the image that is built here.
fn is_ours(service: &Value) -> bool {
    service.get("build").is_some()
}

/// The program and its arguments, as the image has them unless the service does.
fn called(service: &Value) -> Vec<String> {
    let image = read(IMAGE);
    let said = |word: &str| {
        let line = image.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        serde_json::from_str::<Value>(line).unwrap()
    };
    let entrypoint = service.get("entrypoint").cloned();
    // Another entry point is not given the image's arguments.
    let arguments = if entrypoint.is_some() { Value::Null } else { said("CMD ") };
    let entrypoint = entrypoint.unwrap_or_else(|| said("ENTRYPOINT "));
    let arguments = service.get("command").cloned().unwrap_or(arguments);
    [texts(&entrypoint), texts(&arguments)].concat()
}

#[test]
fn services_are_what_they_were() {
    let compose = compose();
    let line = |(name, service): (&str, &Value)| {
        let image = service["image"].as_str().unwrap();
        let called = if is_ours(service) { called(service) } else { texts(&service["command"]) };
        let waits = service["depends_on"].as_object().into_iter().flatten();
        let waits = waits.map(|(other, how)| format!(" after {other} ({})", how["condition"].as_str().unwrap()));
        let at = texts(&service["ports"]).into_iter().map(|port| format!(" at {port}"));
        let settings = environment(service).into_iter().map(|(name, value)| format!("\n    {name}={value}"));
        let more: String = waits.chain(at).chain(settings).collect();
        format!("{name}: {image}: {}{more}\n", called.join(" "))
    };
    insta::assert_snapshot!(services(&compose).map(line).collect::<String>());
}

#[test]
fn what_a_service_names_is_there() {
    let compose = compose();
    let tops: Vec<&str> = compose.as_object().unwrap().keys().map(String::as_str).collect();
    let tops: Vec<&str> = tops.into_iter().filter(|key| !key.starts_with("x-")).collect();
    assert_eq!(tops, ["name", "services", "volumes"]);
    let declared: BTreeSet<&str> = compose["volumes"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        for key in service.as_object().unwrap().keys() {
            assert!(KEYS.contains(&key.as_str()), "{name}: {key} is no key of a service");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = &compose["services"][other];
            match how["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other.get("healthcheck").is_some(), "{name}: nobody knows its health"),
                "service_completed_successfully" => assert_eq!(other["restart"], "no", "{name}: it never completes"),
                condition => panic!("{name}: {condition} is no condition"),
            }
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (volume, path) = volume.as_str().unwrap().split_once(':').unwrap();
            assert!(path.starts_with('/') && declared.contains(volume), "{name}: {volume}");
            used.insert(volume.to_owned());
        }
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to other machines");
        }
    }
    assert_eq!(used.iter().map(String::as_str).collect::<BTreeSet<_>>(), declared, "what is declared is used");
}

#[tokio::test]
async fn programs_are_called_as_they_can_be() {
    for (name, service) in services(&compose()) {
        let environment = environment(service);
        if !is_ours(service) {
            assert!(environment.iter().all(|(name, _)| !name.starts_with("TERCET_")), "{name}");
            continue;
        }
        let called = called(service);
        let (program, arguments) = called.split_first().unwrap();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match program.as_str() {
            "tercet" => {
                assert!(node_takes(&arguments).await, "{name}: {called:?}");
                assert_eq!(node_refuses(&environment), None, "{name}");
            }
            "tercet-shop" => assert_eq!((arguments.len(), shop_ignores(&environment)), (0, vec![]), "{name}"),
            other => panic!("{name}: {other} is not in the image"),
        }
    }
}

/// A node with a check of its own asks the API at a path that is there.
#[test]
fn nodes_are_asked_whether_they_are_ready() {
    let compose = compose();
    let nodes: Vec<_> = services(&compose).filter(|(_, it)| is_ours(it) && called(it) == ["tercet", "serve"]).collect();
    assert_eq!(nodes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["node-1", "node-2"]);
    for (name, node) in nodes {
        let check = texts(&node["healthcheck"]["test"]).join(" ");
        let path = check.split("GET ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(paths().contains(path), "{name}: {path}");
        let listen = environment(node).into_iter().find(|(name, _)| name == "TERCET_HTTP__LISTEN").unwrap().1;
        let port = listen.rsplit(':').next().unwrap().to_owned();
        assert!(check.contains(&format!("/dev/tcp/127.0.0.1/{port}")), "{name}: {check}");
        assert!(texts(&node["ports"]).iter().all(|it| it.ends_with(&format!(":{port}"))), "{name}");
    }
}

#[test]
fn the_image_has_both_programs_of_this_version_and_is_not_roots() {
    let image = read(IMAGE);
    let rust = read("Cargo.toml");
    let rust = rust.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(image.contains(&format!("FROM rust:{rust}-slim-bookworm AS build\n")), "it is built with Rust {rust}");
    for program in ["tercet", "tercet-shop"] {
        assert!(image.contains(&format!(" target/release/{program}")), "{program} is taken out of the build");
    }
    assert!(image.contains("\nUSER 65532:65532\n"));
    for (name, service) in services(&compose()).filter(|(_, service)| is_ours(service)) {
        assert_eq!(service["image"], format!("tercet:{}", env!("CARGO_PKG_VERSION")), "{name}");
        let build = &service["build"];
        let context = root().join(FOLDER).join(build["context"].as_str().unwrap()).canonicalize().unwrap();
        assert_eq!(context, root().canonicalize().unwrap(), "{name}");
        assert_eq!(build["dockerfile"], IMAGE, "{name}");
    }
}
