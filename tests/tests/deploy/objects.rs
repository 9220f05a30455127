//! Kubernetes' objects, and what must hold of them before a cluster sees them.

use crate::program::{node_refuses, node_takes, paths};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a chart rendered to.
pub(crate) struct Objects(Vec<Value>);

/// A pod's metadata and specification, and whose they are.
struct Pod<'a> {
    of: &'a str,
    labels: &'a Map<String, Value>,
    spec: &'a Value,
}

impl Objects {
    /// Fails when it is not YAML, or has a key twice.
    pub(crate) fn read(rendered: &str) -> Self {
        Self(serde_saphyr::from_multiple(rendered).unwrap_or_else(|error| panic!("{error}\n{rendered}")))
    }

    pub(crate) fn name_of(&self, kind: &str) -> String {
        self.of(kind).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
    }

    fn of(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind)
    }

    /// Fails, naming what does not hold.
    pub(crate) async fn hold(&self) {
        let mut seen = BTreeSet::new();
        for object in &self.0 {
            let kind = object["kind"].as_str().unwrap_or_else(|| panic!("it has no kind: {object}"));
            assert!(object["apiVersion"].is_string(), "{kind} has no apiVersion");
            let name = object["metadata"]["name"].as_str().unwrap_or_else(|| panic!("{kind} has no name"));
            assert!(is_a_name(name), "{kind}: {name:?}");
            assert!(seen.insert((kind, name)), "{kind} {name} is there twice");
            for (label, value) in object["metadata"]["labels"].as_object().unwrap() {
                assert!(value.as_str().is_some_and(|value| value.len() <= 63), "{kind}: {label}");
            }
        }
        self.selectors_match();
        for pod in self.pods() {
            pod.holds().await;
        }
    }

    fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        let templates = self.0.iter().filter(|object| object["spec"]["template"].is_object());
        templates.map(|object| Pod {
            of: object["kind"].as_str().unwrap(),
            labels: object["spec"]["template"]["metadata"]["labels"].as_object().unwrap(),
            spec: &object["spec"]["template"]["spec"],
        })
    }

    /// Whatever selects pods selects those of the Deployment and no others; the monitor finds the Service, and each port is there.
    fn selectors_match(&self) {
        let deployment = &self.of("Deployment").unwrap()["spec"];
        let service = self.of("Service").unwrap();
        let mut selectors = vec![("the Deployment", &deployment["selector"]["matchLabels"])];
        selectors.push(("the Service", &service["spec"]["selector"]));
        for (kind, at) in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")] {
            selectors.extend(self.of(kind).map(|object| (kind, &object["spec"][at]["matchLabels"])));
        }
        let spread = deployment["template"]["spec"]["topologySpreadConstraints"].as_array();
        let spread = spread.into_iter().flatten().map(|it| ("the spread", &it["labelSelector"]["matchLabels"]));
        for (whose, selector) in selectors.into_iter().chain(spread) {
            for pod in self.pods() {
                assert_eq!(selects(selector, pod.labels), pod.of == "Deployment", "{whose} and a pod of {}", pod.of);
            }
        }
        let container = names(&deployment["template"]["spec"]["containers"][0]["ports"]);
        let offered = names(&service["spec"]["ports"]);
        let target = service["spec"]["ports"][0]["targetPort"].as_str().unwrap();
        assert!(container.contains(target), "the Service leads to {target}");
        if let Some(policy) = self.of("NetworkPolicy") {
            let port = policy["spec"]["ingress"][0]["ports"][0]["port"].as_str().unwrap();
            assert!(container.contains(port), "the NetworkPolicy opens {port}");
        }
        if let Some(monitor) = self.of("ServiceMonitor") {
            let labels = service["metadata"]["labels"].as_object().unwrap();
            assert!(
                selects(&monitor["spec"]["selector"]["matchLabels"], labels),
                "the ServiceMonitor finds no Service"
            );
            let endpoint = &monitor["spec"]["endpoints"][0];
            assert!(offered.contains(endpoint["port"].as_str().unwrap()), "the ServiceMonitor's port");
            assert!(paths().contains(endpoint["path"].as_str().unwrap()), "the ServiceMonitor's path");
        }
        let account = deployment["template"]["spec"]["serviceAccountName"].as_str().unwrap();
        if let Some(made) = self.of("ServiceAccount") {
            assert_eq!(made["metadata"]["name"], account);
        }
    }
}

impl Pod<'_> {
    async fn holds(&self) {
        let of = self.of;
        assert_eq!(self.spec["enableServiceLinks"], false, "{of}: see the test of TERCET_PORT");
        assert_eq!(self.spec["automountServiceAccountToken"], false, "{of}");
        assert_eq!(self.spec["securityContext"]["runAsNonRoot"], true, "{of}");
        let volumes = names(&self.spec["volumes"]);
        for container in self.spec["containers"].as_array().unwrap() {
            let mounted = names(&container["volumeMounts"]);
            assert_eq!(mounted, volumes, "{of}: what is mounted is a volume, and the other way round");
            let safe = &container["securityContext"];
            assert_eq!(safe["allowPrivilegeEscalation"], false, "{of}");
            assert_eq!(safe["readOnlyRootFilesystem"], true, "{of}");
            assert_eq!(safe["capabilities"]["drop"][0], "ALL", "{of}");
            let arguments: Vec<&str> =
                container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
            assert!(node_takes(&arguments).await, "{of}: {arguments:?}");
            assert_eq!(node_refuses(&environment(container)), None, "{of}");
            self.probes_lead_somewhere(container);
        }
        if of == "Deployment" {
            let sleep = self.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
            let grace = self.spec["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(grace >= 30 && grace >= sleep + 20, "{grace} s are left, of which {sleep} s are slept");
        }
    }

    fn probes_lead_somewhere(&self, container: &Value) {
        let wanted: &[&str] =
            if self.of == "Deployment" { &["startupProbe", "livenessProbe", "readinessProbe"] } else { &[] };
        for probe in wanted {
            let asked = &container[probe]["httpGet"];
            assert!(paths().contains(asked["path"].as_str().unwrap()), "{probe}: {asked}");
            assert!(names(&container["ports"]).contains(asked["port"].as_str().unwrap()), "{probe}: {asked}");
        }
    }
}

/// What a container's program sees, with something of the right form for each secret. No name is there twice.
fn environment(container: &Value) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let variables = container["env"].as_array().unwrap().iter().map(|variable| {
        let name = variable["name"].as_str().unwrap();
        assert!(seen.insert(name), "{name} is set twice");
        let secret = &variable["valueFrom"]["secretKeyRef"];
        let value = match variable["value"].as_str() {
            Some(value) => value,
            None => {
                let named = |part: &str| secret[part].as_str().is_some_and(|text| !text.is_empty());
                assert!(named("name") && named("key"), "{name} has neither a value nor a Secret");
                match name {
                    "TERCET_DATABASE__URL" => "postgresql://tercet:secret@db:5432/tercet",
                    "TERCET_NATS__URL" => "nats://user:secret@nats:4222",
                    _ => "sixteen-or-more-of-them",
                }
            }
        };
        (name.to_owned(), value.to_owned())
    });
    variables.collect()
}

/// A label of the domain name system.
fn is_a_name(name: &str) -> bool {
    let inner = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-')
}

fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let selector = selector.as_object().unwrap();
    assert!(!selector.is_empty(), "it selects everything");
    selector.iter().all(|(label, value)| labels.get(label) == Some(value))
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().map(|one| one["name"].as_str().unwrap()).collect()
}
