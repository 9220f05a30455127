//! Who may call.

use crate::support::Node;
use insta::assert_snapshot;
use tercet::store::MemoryStore;

const TOKEN: &str = "canary-5f1c0de-do-not-show";

#[tokio::test]
async fn a_token_is_asked_for_by_all_but_health() {
    let node = Node::with(MemoryStore::default(), "default", Some(TOKEN)).await;
    let get = async |path: &str, header: &str| node.ask(&format!("GET {path}"), &[header], b"").await;
    assert_snapshot!(get("/v1/sagas", "x: y").await.problem(), @"401 unauthorized [authorization]: no token is shown | send `authorization: Bearer …` with the node's `http.token`");
    assert_snapshot!(get("/v1/sagas", "authorization: Bearer wrong").await.problem(), @"401 unauthorized [authorization]: the token is not the right one | send `authorization: Bearer …` with the node's `http.token`");
    let paths = ["/v1/sagas", "/v1/sagas/x", "/v1/sagas/x/history", "/v1/definitions", "/v1/counts", "/v1/nothing"];
    for path in paths {
        let reply = get(path, "authorization: Basic Zm9v").await;
        assert_eq!(reply.status, 401, "{path}");
        assert!(!reply.body.contains(TOKEN) && reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
    }
    assert_eq!(get("/v1/sagas", &format!("authorization: Bearer {TOKEN}")).await.status, 200);
    assert_eq!(get("/livez", "x: y").await.status, 200);
    assert_eq!(get("/readyz", "x: y").await.status, 200);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_on_loopback() {
    let node = Node::start().await;
    let get = async |header: &str| node.ask("GET /v1/sagas", &[header], b"").await;
    assert_snapshot!(get("host: evil.example").await.problem(), @"403 foreign_host [host]: this API answers to 127.0.0.1, [::1] and localhost alone");
    assert_snapshot!(get("host: 127.0.0.1.evil.example:7007").await.problem(), @"403 foreign_host [host]: this API answers to 127.0.0.1, [::1] and localhost alone");
    assert_snapshot!(get("origin: https://evil.example").await.problem(), @"403 foreign_origin [origin]: pages of other sites may not call this API");
    assert_snapshot!(get("origin: null").await.problem(), @"403 foreign_origin [origin]: pages of other sites may not call this API");
    assert_eq!(get("host: localhost:7007").await.status, 200);
    assert_eq!(get("origin: http://127.0.0.1:5173").await.status, 200);
    let without_host = node.raw(b"GET /v1/sagas HTTP/1.0\r\n\r\n").await;
    assert_eq!(without_host.status, 403);
}

#[tokio::test]
async fn a_node_that_stops_says_so_and_ends() {
    let node = Node::start().await;
    assert_eq!(node.get("/readyz").await.status, 200);
    node.engine.shut_down().await;
    assert_snapshot!(node.get("/readyz").await.problem(), @"503 stopped: it was shut down");
    let started = node.post("/v1/sagas", crate::support::start("trip", "k")).await;
    assert_snapshot!(started.problem(), @"503 stopped: the engine has stopped: it was shut down");
    assert!(started.head.contains("retry-after: 1"), "{}", started.head);
    node.stop.cancel();
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_never_500() {
    let store = MemoryStore::default();
    let node = Node::with(store.clone(), "default", None).await;
    let id = node.begin("visit", "k", "tried").await;
    store.faults().set_down(true);
    for path in
        ["/v1/sagas".to_owned(), format!("/v1/sagas/{id}"), format!("/v1/sagas/{id}/history"), "/v1/counts".to_owned()]
    {
        let reply = node.get(&path).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("unavailable")), "{path}: {}", reply.body);
    }
    assert_snapshot!(node.get("/v1/counts").await.problem(), @"503 unavailable: not now: the store is unavailable: the store is down (on purpose)");
    store.faults().set_down(false);
    assert_eq!(node.get("/v1/counts").await.status, 200);
}
