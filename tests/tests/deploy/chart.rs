//! The chart: what it renders to, and that this holds together.

use crate::{
    helm::{Chart, read_yaml},
    objects::Objects,
    program::root,
};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf};

fn folder() -> PathBuf {
    root().join("orchestrator/deploy/helm/tercet")
}

fn full() -> Value {
    read_yaml(&folder().join("ci/full-values.yaml"))
}

/// What it renders to with these values, after everything that must hold of it.
async fn check(values: &Value) -> (String, String) {
    let (objects, notes) = Chart::load(&folder()).render(values).unwrap();
    Objects::read(&objects).hold().await;
    (objects, notes)
}

#[tokio::test]
async fn it_renders_with_its_default_values() {
    let (objects, notes) = check(&json!({})).await;
    assert_snapshot!(objects);
    assert_snapshot!(notes, @"
    2 nodes of tercet:0.1.0, at http://shop-tercet.sagas:7007

    Whether they take sagas, and what the log says if not:

      kubectl -n sagas rollout status deployment/shop-tercet
      kubectl -n sagas logs deployment/shop-tercet

    The command line is in the image (tercet, or your own program), and finds the token there:

      kubectl -n sagas exec deployment/shop-tercet -- tercet node list
      kubectl -n sagas exec deployment/shop-tercet -- tercet participant ls
    ");
}

#[tokio::test]
async fn it_renders_with_every_value() {
    let (objects, _) = check(&full()).await;
    assert_snapshot!(objects);
}

#[tokio::test]
async fn nats_is_left_out_or_logged_in_to_as_the_values_say() {
    let variables = |objects: &str| {
        let names = objects.lines().filter_map(|line| line.trim().strip_prefix("- name: TERCET_NATS__"));
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let said = |nats: Value| async move { variables(&check(&json!({"nats": nats})).await.0) };
    assert_eq!(said(json!({"url": ""})).await, "");
    assert_eq!(said(json!({"existingSecret": "nats", "keys": {"url": "url"}})).await, "URL");
    let user = json!({"existingSecret": "nats", "keys": {"user": "name", "password": "password"}});
    assert_eq!(said(user).await, "URL PASSWORD USER");
    assert_eq!(said(json!({"existingSecret": "nats", "keys": {"nkey": "seed"}})).await, "URL NKEY");
    assert_eq!(said(json!({"tls": {"existingSecret": "ca"}})).await, "URL TLS_CA");
}

#[tokio::test]
async fn names_are_those_of_the_release_or_the_values() {
    let name = |values: Value| async move { Objects::read(&check(&values).await.0).name_of("Deployment") };
    assert_eq!(name(json!({})).await, "shop-tercet");
    assert_eq!(name(json!({"nameOverride": "shop"})).await, "shop");
    assert_eq!(name(json!({"nameOverride": "sagas"})).await, "shop-sagas");
    assert_eq!(name(json!({"fullnameOverride": "n".repeat(70)})).await, "n".repeat(63));
}

#[test]
fn a_setting_that_has_values_of_its_own_is_refused_among_the_others() {
    let chart = Chart::load(&folder());
    let refused = |name: &str| chart.render(&json!({"settings": {name: "x"}})).unwrap_err();
    assert_snapshot!(
        refused("http.token"),
        @"deployment.yaml: execution error: settings: http.token is set by the values database, http and nats"
    );
    for name in ["data", "database.url", "http.listen", "nats.url"] {
        assert!(refused(name).contains(name));
    }
}

#[test]
fn it_is_of_the_programs_version() {
    let about = Chart::load(&folder()).about;
    assert_eq!((&about["version"], &about["appVersion"]), (&env!("CARGO_PKG_VERSION").into(), &about["version"]));
}

/// A value that is misspelt is refused by Helm, as long as the schema names all that there are and no others.
#[test]
fn its_schema_names_the_values_that_there_are_and_takes_no_others() {
    let chart = Chart::load(&folder());
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join("values.schema.json")).unwrap()).unwrap();
    agree("", &chart.values, &schema);
    within("", &full(), &schema);
}

fn agree(path: &str, value: &Value, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return within(path, value, schema);
    };
    // Helm adds `global` by itself; a probe may say more than it does by default.
    let optional = |name: &str| name == "global" || path.ends_with("Probe");
    let there: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let missing: Vec<_> = properties.keys().filter(|name| !there.contains(name.as_str()) && !optional(name)).collect();
    assert!(missing.is_empty(), "{path} has no default for {missing:?}");
    within(path, value, schema);
    for (name, value) in value.as_object().unwrap() {
        agree(&format!("{path}.{name}"), value, &properties[name]);
    }
}

/// As far as names and types go.
fn within(path: &str, value: &Value, schema: &Value) {
    if let Some(wanted) = schema["type"].as_str() {
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(is, wanted, "{path}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => panic!("{path} is not in the schema"),
            (Value::Null, others) => within(&path, value, others),
            (named, _) => within(&path, value, named),
        }
    }
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        within(&format!("{path}.{number}"), value, &schema["items"]);
    }
}
