//! Bad input, row by row of the list that the project is held to.

use crate::support::{Node, masked, start};
use insta::assert_snapshot;
use tercet::store::MemoryStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a start with `body` is refused with. Nothing may have been started.
async fn refused(body: impl AsRef<[u8]>) -> String {
    let node = Node::start().await;
    let problem = node.post("/v1/sagas", body).await.problem();
    assert!(node.engine.counts().await.unwrap().is_empty(), "a refused start left a saga");
    problem
}

#[tokio::test]
async fn a_problem_is_shown_whole() {
    let node = Node::start().await;
    let reply = node.post("/v1/sagas", start("tirp", "k")).await;
    assert_snapshot!(reply.shown(), @r#"
    404
    {
      "code": "unknown_definition",
      "detail": "no definition `tirp` is known here",
      "field": "definition",
      "hint": "did you mean `trip`? known are: quick, stuck, trip, visit",
      "status": 404,
      "title": "Unknown definition",
      "type": "urn:tercet:problem:unknown_definition"
    }
    "#);
}

#[tokio::test]
async fn row_01_an_empty_or_truncated_body() {
    assert_snapshot!(refused("").await, @"400 bad_json: the body is empty: line 1, column 1 | send a JSON object");
    assert_snapshot!(refused("  \n ").await, @"400 bad_json: the body is empty: line 1, column 1 | send a JSON object");
    assert_snapshot!(refused("{\"definition\": \"trip\",\n  \"key\": ").await, @"400 bad_json: the body is not JSON: EOF while parsing a value: line 2, column 9");
    assert_snapshot!(refused("{} {}").await, @"400 bad_json: the body is not JSON: trailing characters: line 1, column 4");
    assert_snapshot!(refused("[1]").await, @"400 bad_json: the body is not a JSON object | send `{…}`");
}

#[tokio::test]
async fn row_02_another_content_type() {
    let node = Node::start().await;
    let body = start("trip", "k");
    for (kind, shown) in [("content-type: text/plain", "text/plain"), ("x: y", "not said")] {
        let reply = node.ask("POST /v1/sagas", &[kind], body.as_bytes()).await;
        assert_eq!(reply.status, 415);
        assert!(reply.body.contains(shown), "{}", reply.body);
    }
    let with_charset =
        node.ask("POST /v1/sagas", &["content-type: application/json; charset=utf-8"], body.as_bytes()).await;
    assert_eq!(with_charset.status, 201, "{}", with_charset.body);
}

#[tokio::test]
async fn row_03_a_body_over_the_limit_also_in_chunks() {
    let node = Node::start().await;
    let head = format!(
        "POST /v1/sagas HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n",
        node.address
    );
    // Refused for what it says of itself: no byte of it is sent.
    let said = node.raw(format!("{head}content-length: 1048577\r\n\r\n").as_bytes()).await;
    assert_snapshot!(said.problem(), @"413 too_large: the body is larger than 1048576 bytes");
    let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..=16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    assert_snapshot!(node.raw(&chunked).await.problem(), @"413 too_large: the body is larger than 1048576 bytes");
}

#[tokio::test]
async fn row_04_ten_thousand_lists_in_one_another() {
    let deep = format!(r#"{{"input": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_snapshot!(refused(deep).await, @"400 too_deep: objects and lists stand more than 64 deep in one another: line 1, column 74");
}

#[tokio::test]
async fn row_05_a_key_twice() {
    assert_snapshot!(refused(r#"{"key": "a", "key": "b"}"#).await, @"400 duplicate_key [key]: the key `key` stands twice in its object: line 1, column 18");
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a", "input": {"lines": [{"a": 1, "\u0061": 2}]}}"#).await, @"400 duplicate_key [input.lines[0].a]: the key `input.lines[0].a` stands twice in its object: line 1, column 72");
}

#[tokio::test]
async fn row_06_b49_an_unknown_or_missing_field() {
    assert_snapshot!(refused(r#"{"definition": "trip", "kye": "a", "input": {}}"#).await, @"400 unknown_field [kye]: there is no field `kye` here | did you mean `key`?");
    assert_snapshot!(refused(start("trip", "k").replace("version", "x").replace("\"key\"", "\"verson\": 1, \"key\"")).await, @"400 unknown_field [verson]: there is no field `verson` here | did you mean `version`?");
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a"}"#).await, @"400 missing_field [input]: `input` is missing");
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a", "input": {"traveller": "Ada"}}"#).await, @"400 missing_field [input.seats]: `input.seats` is missing: a whole number is expected");
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a", "input": {"traveller": "Ada", "seats": 1, "nots": "x"}}"#).await, @"400 unknown_field [input.nots]: `input` has no field `nots` | did you mean `note`?");
    assert_snapshot!(refused(r#"{"definition": 3, "key": "a", "input": {}}"#).await, @"400 bad_field [definition]: `definition` cannot be read: a text is expected, not 3");
}

#[tokio::test]
async fn row_07_a_nul_in_a_text() {
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a", "input": {"traveller": "A\u0000a", "seats": 1}}"#).await, @"422 nul_in_text [input.traveller]: a text holds the character U+0000, which not every database can keep: line 1, column 68");
}

#[tokio::test]
async fn row_08_what_is_not_unicode() {
    assert_snapshot!(refused(r#"{"definition": "trip", "key": "a", "input": {"traveller": "\ud800"}}"#).await, @"400 bad_json: the body is not JSON: unexpected end of hex escape: line 1, column 66");
    assert_snapshot!(refused(b"{\"key\":\n \"\xff\"}").await, @"400 bad_encoding: the body is not UTF-8: line 2, column 3");
}

#[tokio::test]
async fn row_09_numbers_out_of_range() {
    let seats = |number: &str| start("trip", "k").replace("\"seats\": 2", &format!("\"seats\": {number}"));
    assert_snapshot!(refused(seats("1e400")).await, @"422 number_out_of_range: a number is larger than any that can be kept: line 1, column 79");
    assert_snapshot!(refused(seats("-1")).await, @"422 bad_input [input.seats]: `input.seats` must be a whole number from 0 to 4294967295, and is -1");
    assert_snapshot!(refused(seats("0.5")).await, @"422 bad_input [input.seats]: `input.seats` must be a whole number from 0 to 4294967295, and is 0.5");
    assert_snapshot!(refused(seats("9223372036854775808")).await, @"422 bad_input [input.seats]: `input.seats` must be a whole number from 0 to 4294967295, and is 9223372036854775808");
    assert_snapshot!(refused(seats("\"2\"")).await, @r#"422 bad_input [input.seats]: `input.seats` must be a whole number from 0 to 4294967295, and is the text "2""#);
}

#[tokio::test]
async fn row_10_an_unknown_definition_or_version() {
    assert_snapshot!(refused(start("journey", "k")).await, @"404 unknown_definition [definition]: no definition `journey` is known here | known are: quick, stuck, trip, visit");
    assert_snapshot!(refused(start("trip", "k").replace("\"key\"", "\"version\": 7, \"key\"")).await, @"422 unknown_version [version]: `trip` has no version 7 here | it has: 1, 2");
    assert_snapshot!(refused(start("trip", "k").replace("\"key\"", "\"version\": -1, \"key\"")).await, @"400 bad_field [version]: `version` cannot be read: a whole number from 0 to 4294967295 is expected, not -1");
    assert_snapshot!(refused(start("a b", "k")).await, @"400 bad_name [definition]: a definition's name is made of ASCII letters, digits, `_` and `-`; ` ` is not among them, in `a b`");
}

#[tokio::test]
async fn row_11_keys_that_cannot_be() {
    assert_snapshot!(refused(start("trip", "")).await, @"400 bad_name [key]: a saga's key cannot be empty");
    assert_snapshot!(refused(start("trip", &"k".repeat(10_240))).await, @"400 bad_name [key]: a saga's key has at most 255 bytes, this one has 10240");
    assert_snapshot!(refused(start("trip", "a\\nb")).await, @r"400 bad_name [key]: a saga's key is made of characters that can be printed; `\n` is not among them, in `a\nb`");
    assert_snapshot!(refused(start("trip", "k").replace("\"key\": \"k\", ", "")).await, @"400 missing_field [key]: `key` is missing | give the saga's own name on your side, an order's number say, as `key` or in the header `Idempotency-Key`: the same key and input start one saga, however often they are sent");
}

#[tokio::test]
async fn row_11_keys_in_the_header() {
    let node = Node::start().await;
    let without = start("trip", "k").replace("\"key\": \"k\", ", "");
    let ask = async |headers: &[&str], body: &str| {
        let headers = [&["content-type: application/json"], headers].concat();
        node.ask("POST /v1/sagas", &headers, body.as_bytes()).await
    };
    let quoted = ask(&["idempotency-key: \"r-1\""], &without).await;
    assert_eq!((quoted.status, quoted.json()["key"].as_str()), (201, Some("r-1")));
    assert_eq!(ask(&["idempotency-key: r-1"], &start("trip", "r-1")).await.status, 200);
    assert_snapshot!(ask(&["idempotency-key: r-1"], &start("trip", "r-2")).await.problem(), @"400 two_keys [key]: `Idempotency-Key` and `key` in the body are different | give one of them");
    assert_snapshot!(ask(&["idempotency-key: a", "idempotency-key: b"], &without).await.problem(), @"400 duplicate_header [idempotency-key]: `Idempotency-Key` is given twice");
    assert_snapshot!(ask(&["idempotency-key: \u{e4}"], &without).await.problem(), @"400 bad_name [idempotency-key]: `Idempotency-Key` has characters that a header cannot carry | give the key as `key` in the body");
    assert_snapshot!(ask(&["idempotency-key: "], &without).await.problem(), @"400 bad_name [idempotency-key]: a saga's key cannot be empty");
}

#[tokio::test]
async fn row_12_the_same_key_with_another_payload() {
    let node = Node::start().await;
    let first = node.post("/v1/sagas", start("trip", "k")).await;
    assert_eq!(first.status, 201);
    // The same value, written otherwise, is the same payload.
    let again = start("trip", "k").replace("\"seats\": 2", "\"seats\":   2");
    let again = node.post("/v1/sagas", again).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    let other = node.post("/v1/sagas", start("trip", "k").replace("\"seats\": 2", "\"seats\": 3")).await;
    assert_snapshot!(other.problem(), @"422 key_taken: the key is taken by saga <id>, which was started with another input: use a new key, or the same input");
    assert_eq!(other.json()["saga"], first.json()["id"]);
}

#[tokio::test]
async fn row_13_ids_that_are_wrong_unknown_or_another_namespaces() {
    let store = MemoryStore::default();
    let other = Node::with(store.clone(), "other", None).await;
    let foreign = other.begin("visit", "k", "tried").await;
    other.engine.shut_down().await;
    let node = Node::with(store, "default", None).await;
    assert_snapshot!(node.get("/v1/sagas/17").await.problem(), @"400 bad_name [id]: `17` is not a saga's id: it reads like <id>");
    assert_snapshot!(node.get("/v1/sagas/%FF").await.problem(), @"400 bad_path: Invalid UTF-8 in `id`");
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_snapshot!(node.get(&format!("/v1/sagas/{unknown}")).await.problem(), @"404 unknown_saga: no saga <id> is known here");
    // Another namespace's saga is as if it were not there, whatever is asked of it.
    let reason = r#"{"reason": "x"}"#;
    for (read, id) in [("", &foreign), ("/history", &foreign), ("/graph", &foreign)] {
        let there = node.get(&format!("/v1/sagas/{id}{read}")).await;
        let not_there = node.get(&format!("/v1/sagas/{unknown}{read}")).await;
        assert_eq!(there.body.replace(id.as_str(), unknown), not_there.body);
    }
    assert_snapshot!(node.post(&format!("/v1/sagas/{foreign}/cancel"), reason).await.problem(), @"404 unknown_saga: no saga <id> is known here");
    assert_snapshot!(node.get("/v1/sagas").await.shown(), @r#"
    200
    {
      "next": null,
      "sagas": []
    }
    "#);
    assert_eq!(node.get("/v1/counts").await.body, "[]");
}

#[tokio::test]
async fn row_14_a_cancel_after_the_decision() {
    let node = Node::start().await;
    let id = node.begin("quick", "k", "end").await;
    let cancel = format!("/v1/sagas/{id}/cancel");
    assert_snapshot!(node.post(&cancel, r#"{"reason": "I changed my mind"}"#).await.problem(), @r#"409 too_late: saga <id> is confirmed: it has decided to commit, and that is never taken back | state "confirmed""#);
    assert_snapshot!(node.post(&cancel, "{}").await.problem(), @"400 missing_field [reason]: `reason` is missing");
    assert_snapshot!(node.post(&cancel, r#"{"reason": " "}"#).await.problem(), @"400 bad_field [reason]: `reason` is empty");
    assert_snapshot!(node.post(&cancel, r#"{"reason": "x", "by": "a\u0007"}"#).await.problem(), @"400 bad_field [by]: `by` has at most 255 bytes, all of characters that can be printed");
}

#[tokio::test]
async fn row_15_actions_that_are_not_offered_or_not_known() {
    let node = Node::start().await;
    let id = node.begin("stuck", "k", "tell").await;
    let resolve = async |body: &str| node.post(&format!("/v1/sagas/{id}/resolve"), body).await.problem();
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "query_now", "reason": "x"}"#).await, @r#"409 not_offered: step `tell` does not offer that now | it offers: `retry_now`, `mark_done`, `mark_not_done` | choices ["retry_now","mark_done","mark_not_done"]"#);
    assert_snapshot!(resolve(r#"{"step": "seat", "action": "mark_not_done", "reason": "x"}"#).await, @"409 not_offered: step `seat` does not offer that now | it offers nothing | choices []");
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "mark_dun", "reason": "x"}"#).await, @"400 unknown_action [action]: `mark_dun` is no action | did you mean `mark_done`?");
    assert_snapshot!(resolve(r#"{"step": "tel", "action": "mark_done", "value": null, "reason": "x"}"#).await, @"404 unknown_step [step]: saga <id> has no step `tel` yet | did you mean `tell`?");
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "mark_done", "reason": "x"}"#).await, @"400 missing_field [value]: `value` is missing | give what the step would have replied, or `null`");
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "mark_done", "value": 7, "reason": "x"}"#).await, @"422 bad_value [value]: `value` must be null, and is 7");
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "close", "value": 7, "reason": "x"}"#).await, @"400 bad_field [value]: `value` goes with `mark_done` alone");
    assert_snapshot!(resolve(r#"{"step": "tell", "action": "query_now", "force": true, "reason": "x"}"#).await, @"400 bad_field [force]: `force` goes with `mark_done` and `mark_not_done`");
    assert_snapshot!(resolve(r#"{"step": "tell"}"#).await, @"400 missing_field [action]: `action` is missing");
    let retry = node.post(&format!("/v1/sagas/{id}/retry"), r#"{"step": "seat", "reason": "x"}"#).await;
    assert_snapshot!(retry.problem(), @"409 not_offered: step `seat` does not offer that now | it offers nothing | choices []");
}

#[tokio::test]
async fn row_16_pages_that_cannot_be() {
    let node = Node::start().await;
    let list = async |query: &str| node.get(&format!("/v1/sagas?{query}")).await.problem();
    assert_snapshot!(list("limit=-1").await, @"400 bad_parameter [limit]: `limit` must be a number from 1 to 500");
    assert_snapshot!(list("limit=1000000000").await, @"400 bad_parameter [limit]: `limit` must be a number from 1 to 500");
    assert_snapshot!(list("limit=0").await, @"400 bad_parameter [limit]: `limit` must be a number from 1 to 500");
    assert_snapshot!(list("cursor=eyJpZCI6MX0").await, @"400 bad_parameter [cursor]: `cursor` must be the `next` of the page before");
    assert_snapshot!(list("cursor=01890a5d-ac96-774b-bcce-b302099a8057").await, @"400 bad_parameter [cursor]: `cursor` must be the `next` of the page before");
    assert_snapshot!(list("status=done").await, @"400 bad_parameter [status]: `status` must be one of `trying`, `confirming`, `cancelling`, `confirmed`, `cancelled`");
    assert_snapshot!(list("parked=yes").await, @"400 bad_parameter [parked]: `parked` must be `true` or `false`");
    assert_snapshot!(list("statsu=trying").await, @"400 unknown_parameter [statsu]: there is no parameter `statsu` here | did you mean `status`?");
    assert_snapshot!(list("definition=quikc").await, @"404 unknown_definition [definition]: no definition `quikc` is known here | did you mean `quick`? known are: quick, stuck, trip, visit");
    assert_snapshot!(list("started_from=yesterday").await, @"400 bad_parameter [started_from]: `started_from` must be a moment, as in `2026-11-25T06:53:48Z`");
    assert_snapshot!(list("limit=1&limit=2").await, @"400 duplicate_parameter [limit]: `limit` is given twice");
    assert_snapshot!(list("key=%00").await, @r"400 bad_name [key]: a saga's key is made of characters that can be printed; `\u{0}` is not among them, in `\u{0}`");
    assert_snapshot!(list("definition=a%2Fb").await, @"400 bad_name [definition]: a definition's name is made of ASCII letters, digits, `_` and `-`; `/` is not among them, in `a/b`");
}

#[tokio::test]
async fn row_17_waits_that_cannot_be() {
    let node = Node::start().await;
    let wait = async |query: &str| node.post(&format!("/v1/sagas?{query}"), start("trip", "k")).await.problem();
    assert_snapshot!(wait("wait=tried&limit=1000years").await, @"400 bad_parameter [limit]: `limit` must be a time of at most 5m, with its unit, as in `10s`");
    assert_snapshot!(wait("wait=tried&limit=10").await, @"400 bad_parameter [limit]: `limit` must be a time of at most 5m, with its unit, as in `10s`");
    assert_snapshot!(wait("wait=seta").await, @"400 bad_parameter [wait]: `trip` has no step `seta` to wait for | did you mean `seat`?");
    assert_snapshot!(wait("wait=a%20b").await, @"400 bad_name [wait]: a step instance is made of step names, `.` and `[index]`; ` ` is not among them, in `a b`");
    assert!(node.engine.counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn row_18_unknown_routes_and_methods() {
    let node = Node::start().await;
    assert_snapshot!(node.get("/v2/sagas").await.problem(), @"404 unknown_route: there is nothing at /v2/sagas | the API is under /v1, as in /v1/sagas");
    assert_snapshot!(node.get("/v1/sagas/").await.problem(), @"404 unknown_route: there is nothing at /v1/sagas/ | the API is under /v1, as in /v1/sagas");
    let deleted = node.ask("DELETE /v1/sagas", &[], b"").await;
    assert_snapshot!(deleted.problem(), @"405 unknown_method: /v1/sagas does not take DELETE | the response's `allow` header lists the methods it takes");
    assert!(deleted.head.contains("allow: get,head,post"), "{}", deleted.head);
}

#[tokio::test]
async fn nothing_that_is_sent_back_is_longer_than_a_kibibyte() {
    let node = Node::start().await;
    let long = "x".repeat(100_000);
    let body = start("trip", "k").replace("\"key\"", &format!("\"{long}\": 1, \"key\""));
    let problem = node.post("/v1/sagas", body).await;
    assert!(problem.body.len() < 4_096 && masked(&problem.problem()).contains('…'), "{}", problem.body);
}

/// On virtual time: it runs ahead whenever nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn row_19_headers_and_bodies_that_do_not_come() {
    let node = Node::start().await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /v1/sagas HTTP/1.1\r\nhost: 127").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let head =
        "POST /v1/sagas HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9\r\n";
    let slow = node.raw(format!("{head}host: {}\r\n\r\n{{", node.address).as_bytes()).await;
    assert_snapshot!(slow.problem(), @"408 slow_body: the body did not come within 30 seconds");
}
