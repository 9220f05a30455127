//! What `build` refuses, in which words; and what a fingerprint covers.
#![expect(clippy::unwrap_used, reason = "a definition that cannot be built is a failed test")]

use insta::assert_snapshot;
use std::time::Duration;
use tercet_core::{
    Data, Definition, Graph, Handle, Operation, Payload, Retry, Saga, Signal, Trying, days, kind, minutes,
    schemars::JsonSchema, seconds,
};

macro_rules! operations { ($($op:ident $name:literal $kind:ident $request:ty => $reply:ty;)+) => { $(
    struct $op;
    impl Operation for $op {
        const NAME: &'static str = $name;
        type Kind = kind::$kind;
        type Request = $request;
        type Reply = $reply;
    }
)+ } }

#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Lines {
    pieces: u32,
}

#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Paid(i64);
impl Signal for Paid {
    const NAME: &'static str = "bank.paid/1";
}

#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Nameless(i64);
impl Signal for Nameless {
    const NAME: &'static str = "paid";
}

operations! {
    Hold "bank.hold/1" Tcc i64 => i64;
    HoldLines "bank.hold/1" Tcc Lines => i64;
    HoldTwo "bank.hold/2" Tcc i64 => i64;
    Book "bank.book/1" Compensable i64 => i64;
    Pay "bank.pay/1" Pivot i64 => i64;
    Tell "push.tell/1" Retriable i64 => ();
    Odd "bank.a.b/1" Tcc i64 => i64;
}

fn it(value: i64) -> i64 {
    value
}

/// One tcc step of that name.
fn named(name: &str) -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc(name, Hold).request(saga.input(), it);
    saga.output((), |()| 0)
}

fn refused<I: Data, O: Data>(definition: Definition<I, O>) -> String {
    let errors = definition.build().map(|_| "built").unwrap_err();
    errors.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_are_plain_so_that_they_stand_in_subjects_paths_and_terminals() {
    for bad in ["a.b", "a*", "a>", "a b", "a\r\nb", "", "käse", "a[0]", &"x".repeat(65), &"y".repeat(64 * 1024)] {
        assert!(named(bad).build().is_err(), "{bad:?}");
    }
    assert_snapshot!(refused(named("a.b")), @"step 1: a step's name is made of ASCII letters, digits, `_` and `-`; `.` is not among them, in `a.b`");
    assert_snapshot!(refused(named("a\r\nb")), @r"step 1: a step's name is made of ASCII letters, digits, `_` and `-`; `\r` is not among them, in `a\r\nb`");
    assert_snapshot!(refused(named("")), @"step 1: a step's name cannot be empty");
    assert_snapshot!(refused(named(&"y".repeat(64 * 1024))), @"step 1: a step's name has at most 64 bytes, this one has 65536");
    assert!(named("Restock_2-b").build().is_ok());
}

#[test]
fn a_definitions_own_name_and_version_are_checked() {
    let saga = || Saga::<i64>::new("a definition", 0);
    assert_snapshot!(refused(saga().output((), |()| 0)), @"
    the definition: a definition's name is made of ASCII letters, digits, `_` and `-`; ` ` is not among them, in `a definition`
    the definition has no step: declare at least one
    a definition's version starts at 1
    ");
}

#[test]
fn names_that_tercet_uses_itself_and_doubled_ones_are_refused() {
    assert_snapshot!(refused(named("output")), @"`output` is a name that Tercet uses itself: call the step something else");
    assert_snapshot!(refused(named("saga")), @"`saga` is a name that Tercet uses itself: call the step something else");
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("hold", Hold).request(saga.input(), it);
    saga.on_confirmed(|then| then.retriable("hold", Tell).request(saga.input(), it));
    assert_snapshot!(refused(saga.output((), |()| 0)), @"two steps are named `hold`: give each its own name, they are what a journal finds its steps by");
}

#[test]
fn a_definition_has_between_one_and_a_thousand_steps() {
    let many = |steps: usize| {
        let saga = Saga::<i64>::new("s", 1);
        for step in 0..steps {
            saga.tcc(&format!("n{step}"), Hold).request(saga.input(), it);
        }
        saga.output((), |()| 0)
    };
    assert_snapshot!(refused(many(0)), @"the definition has no step: declare at least one");
    assert_snapshot!(refused(many(1_001)), @"the definition has 1001 steps, at most 1000 are allowed: fan out with `for_each`, or use child sagas");
    assert!(many(1_000).build().is_ok());
}

#[test]
fn there_is_one_pivot_a_child_included() {
    let saga = Saga::<i64>::new("s", 1);
    saga.pivot("money", Pay).request(saga.input(), it);
    saga.pivot_child("again", || named("hold")).input(saga.input(), it);
    saga.pivot("more", Pay).request(saga.input(), it);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    `again` is a second pivot beside `money`: one step's success is the decision; make the other tcc, or `external` after it
    `more` is a second pivot beside `money`: one step's success is the decision; make the other tcc, or `external` after it
    ");
}

#[test]
fn a_handle_of_another_declaration_is_refused_also_one_that_would_be_out_of_range() {
    let other = Saga::<i64>::new("other", 1);
    let foreign: Vec<Handle<i64, Trying>> =
        (0..5).map(|n| other.tcc(&format!("n{n}"), Hold).request(other.input(), it)).collect();
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("near", Hold).request(foreign[0], it);
    saga.tcc("far", Hold).after(foreign[4]).request(other.input(), it);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    step `near` reads a handle of another saga: declare what it reads in this one
    step `far` reads a handle of another saga: declare what it reads in this one
    ");
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("near", Hold).request(saga.input(), it);
    assert_snapshot!(refused(saga.output(foreign[4], it)), @"step `output` reads a handle of another saga: declare what it reads in this one");
}

#[test]
fn a_handle_that_left_its_branch_or_fan_out_by_a_side_door_is_refused() {
    let saga = Saga::<i64>::new("s", 1);
    let mut leaked = None;
    saga.when(
        "abroad",
        saga.input(),
        |i| i > 0,
        |then| {
            leaked = Some(then.tcc("duty", Hold).request(saga.input(), it));
        },
    );
    let mut item = None;
    saga.for_each("lines", saga.input(), |n| vec![n], |_, line| item = Some(line));
    saga.tcc("reads", Hold).request((leaked.unwrap(), item.unwrap()), |(a, b)| a + b);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    step `reads` reads `duty` from outside of its `abroad`: return the handle from the body, and read what `abroad` gives
    step `reads` reads `lines` from outside of its `lines`: return the handle from the body, and read what `lines` gives
    ");
}

#[test]
fn inside_of_its_own_scope_a_handle_is_read_as_it_is() {
    let saga = Saga::<i64>::new("s", 1);
    let all = saga.for_each(
        "lines",
        saga.input(),
        |n| vec![n],
        |each, line| {
            let held = each.tcc("hold", Hold).request(line, it);
            each.when("big", held, |h| h > 1, |then| then.tcc("check", Hold).request((line, held), |(l, h)| l + h))
        },
    );
    let last = saga.tcc("last", Hold).request(all, |all| all.into_iter().flatten().sum());
    assert!(saga.output(last, it).build().is_ok());
}

#[test]
fn a_step_left_unfinished_is_refused() {
    let saga = Saga::<i64>::new("s", 1);
    let _ = saga.tcc("forgotten", Hold);
    let _ = saga.wait_for::<Paid>("endless");
    saga.on_confirmed(|then| {
        let _ = then.signal::<Paid>("untold");
    });
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    step `forgotten` has no request: end it with `.request(..)` (a wait with `.within(..)`)
    step `endless` has no request: end it with `.request(..)` (a wait with `.within(..)`)
    step `untold` has no request: end it with `.request(..)` (a wait with `.within(..)`)
    ");
}

#[test]
fn times_are_above_zero_and_at_most_ten_years_and_there_is_an_attempt() {
    let saga = Saga::<i64>::new("s", 1).deadline(Duration::ZERO);
    saga.wait_for::<Paid>("never").within(Duration::ZERO);
    saga.sleep("aeon", days(3_661));
    let step = saga.tcc("hold", Hold).timeout(Duration::ZERO).query_every(Duration::ZERO);
    step.retry(Retry::backoff(Duration::ZERO, seconds(1)).attempts(0)).request(saga.input(), it);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    the saga: a deadline of 0 s: it must be above zero and at most ten years
    step `never`: a wait of 0 s: it must be above zero and at most ten years
    step `aeon`: a wait of 316310400 s: it must be above zero and at most ten years
    step `hold`: a timeout of 0 s: it must be above zero and at most ten years
    step `hold`: a first wait between attempts of 0 s: it must be above zero and at most ten years
    step `hold`: a query interval of 0 s: it must be above zero and at most ten years
    step `hold` allows no attempt: `.retry(..)` needs at least one
    ");
}

#[test]
fn contracts_and_receivers_have_names_that_can_be_addressed() {
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("odd", Odd).request(saga.input(), it);
    saga.wait_for::<Nameless>("paid").within(minutes(1));
    saga.on_confirmed(|then| {
        let _ = then.signal::<Paid>("tell").to("an order", (), |()| String::new()).request((), |()| Paid(1));
    });
    assert_snapshot!(refused(saga.output((), |()| 0)), @"
    step `tell`: a definition's name is made of ASCII letters, digits, `_` and `-`; ` ` is not among them, in `an order`
    step `odd`: `bank.a.b/1` is not a contract's name: it reads `participant.operation/version`, as in `inventory.reserve/1`
    step `paid`: `paid` is not a contract's name: it reads `participant.operation/version`, as in `inventory.reserve/1`
    ");
}

#[test]
fn names_in_nested_fan_outs_leave_room_for_keys() {
    let long = "x".repeat(60);
    let saga = Saga::<i64>::new("s", 1);
    let outer = |n| vec![n];
    saga.for_each(&format!("{long}1"), saga.input(), outer, |a, x| {
        a.for_each(&format!("{long}2"), x, outer, |b, y| {
            b.tcc(&format!("{long}fits"), Hold).request(y, it);
            b.for_each(&format!("{long}3"), y, outer, |c, z| c.tcc("hold", Hold).request(z, it));
        });
    });
    assert_snapshot!(refused(saga.output((), |()| 0)), @"step `hold` and the fan-outs around it are named in up to 208 bytes, at most 200 are allowed: shorten their names");
}

fn teller() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("teller", 1);
    let money = saga.pivot("money", Pay).request(saga.input(), it);
    saga.on_confirmed(|then| {
        let _ = then.signal::<Paid>("tell").to("order", money, |m| m.to_string()).request(money, Paid);
    });
    saga.output(money, it)
}

fn middle() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("middle", 1);
    let paid = saga.pivot_child("pay", teller).input(saga.input(), it);
    saga.output(paid, it)
}

#[test]
fn a_child_before_the_decision_is_undone_by_another_and_signals_nobody_who_waits_for_it() {
    let saga = Saga::<i64>::new("order", 1);
    saga.child("pay", || named("hold")).input(saga.input(), it);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"child `pay` stands before the decision, and nothing undoes it: name the saga that does (`.undone_by(..)`), make it the pivot (`pivot_child`), or move it into `on_confirmed`");
    let saga = Saga::<i64>::new("order", 1);
    saga.child("pay", middle).undone_by(|| named("hold"), |(asked, _)| asked).input(saga.input(), it);
    assert_snapshot!(refused(saga.output((), |()| 0)), @"child `pay` stands before the decision and signals `order`, which waits for it: signal after the decision, or from another saga");
    let saga = Saga::<i64>::new("order", 1);
    saga.on_confirmed(|then| then.child("pay", middle).input(saga.input(), it));
    assert!(saga.output((), |()| 0).build().is_ok(), "after the decision it waits for nothing");
}

#[test]
fn a_childs_mistakes_are_told_at_its_step() {
    let saga = Saga::<i64>::new("order", 1);
    saga.on_confirmed(|then| then.child("pay", || named("a b")).input(saga.input(), it));
    assert_snapshot!(refused(saga.output((), |()| 0)), @"child `pay`: step 1: a step's name is made of ASCII letters, digits, `_` and `-`; ` ` is not among them, in `a b`");
}

fn ouroboros() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("ouroboros", 1);
    saga.on_confirmed(|then| then.child("itself", ouroboros).input(saga.input(), it));
    saga.output((), |()| 0)
}

#[test]
fn children_in_a_circle_are_refused_and_do_not_declare_for_ever() {
    let told = refused(ouroboros());
    assert!(told.ends_with("children stand more than 16 deep in one another, or in a circle"), "{told}");
}

/// A definition with one thing changed.
#[derive(Clone, Copy)]
struct Change {
    version: u32,
    first: &'static str,
    swapped: bool,
    attempts: u32,
    second_contract: bool,
    reads: bool,
    deadline: u64,
    plus: fn(i64) -> i64,
}

const AS_IT_WAS: Change = Change {
    version: 1,
    first: "first",
    swapped: false,
    attempts: 5,
    second_contract: false,
    reads: false,
    deadline: 10,
    plus: it,
};

fn changed(change: Change) -> std::sync::Arc<Graph> {
    let saga = Saga::<i64>::new("s", change.version).deadline(minutes(change.deadline));
    let retry = Retry::backoff(seconds(1), seconds(9)).attempts(change.attempts);
    let first = || saga.tcc(change.first, Hold).retry(retry).request(saga.input(), change.plus);
    let second = || match change.second_contract {
        false => saga.tcc("second", Hold).request(saga.input(), it),
        true => saga.tcc("second", HoldTwo).request(saga.input(), it),
    };
    let (a, b) = if change.swapped {
        let b = second();
        (first(), b)
    } else {
        (first(), second())
    };
    if change.reads {
        saga.tcc("third", Hold).request((a, b), |(a, _)| a);
    } else {
        saga.tcc("third", Hold).after(b).request(a, it);
    }
    saga.output((), |()| 0).build().unwrap()
}

#[test]
fn a_fingerprint_covers_steps_order_names_policies_edges_contracts_and_schemas_but_no_code() {
    let was = changed(AS_IT_WAS).fingerprint().to_owned();
    assert_eq!(was.len(), 64);
    assert_eq!(changed(AS_IT_WAS).fingerprint(), was, "the same once more");
    assert_eq!(changed(Change { plus: |i| i + 1, ..AS_IT_WAS }).fingerprint(), was, "code is not covered");
    let changes = [
        ("version", Change { version: 2, ..AS_IT_WAS }),
        ("name", Change { first: "renamed", ..AS_IT_WAS }),
        ("order", Change { swapped: true, ..AS_IT_WAS }),
        ("policy", Change { attempts: 6, ..AS_IT_WAS }),
        ("contract", Change { second_contract: true, ..AS_IT_WAS }),
        ("edge", Change { reads: true, ..AS_IT_WAS }),
        ("deadline", Change { deadline: 11, ..AS_IT_WAS }),
    ];
    for (what, change) in changes {
        assert_ne!(changed(change).fingerprint(), was, "{what}");
    }
    let schema = |lines: bool| {
        let saga = Saga::<i64>::new("s", 1);
        if lines {
            saga.tcc("hold", HoldLines).request(saga.input(), |_| Lines { pieces: 1 });
        } else {
            saga.tcc("hold", Hold).request(saga.input(), it);
        }
        saga.output((), |()| 0).build().unwrap().fingerprint().to_owned()
    };
    assert_ne!(schema(true), schema(false), "schema");
}

#[test]
fn b32_steps_are_matched_by_name_so_an_inserted_one_makes_another_definition() {
    let chain = |names: &[&str]| {
        let saga = Saga::<i64>::new("s", 1);
        let mut last = saga.compensable(names[0], Book).request(saga.input(), it);
        for name in &names[1..] {
            last = saga.compensable(name, Book).request(last, it);
        }
        saga.output(last, it).build().unwrap()
    };
    let (old, new) = (chain(&["a", "b", "c"]), chain(&["a", "x", "b", "c"]));
    assert_ne!(old.fingerprint(), new.fingerprint());
    let names: Vec<_> = new.nodes().iter().map(|node| node.name().as_str()).collect();
    assert_eq!(names, ["a", "x", "b", "c"]);
    assert_eq!(new.node(&"b".parse().unwrap()).unwrap().name().as_str(), "b");
}

#[test]
fn a_description_survives_json_and_keeps_its_fingerprint() {
    let graph = changed(AS_IT_WAS);
    let text = serde_json::to_string(&graph.describe()).unwrap();
    let read: tercet_core::Description = serde_json::from_str(&text).unwrap();
    assert_eq!(read, graph.describe());
    assert_eq!(read.fingerprint(), graph.fingerprint());
}

#[test]
fn inputs_replies_and_signals_are_checked_with_the_field_named() {
    let saga = Saga::<Lines>::new("s", 1);
    let held = saga.tcc("hold", HoldLines).request(saga.input(), |l| l);
    saga.wait_for::<Paid>("paid").within(minutes(1));
    let graph = saga.output(held, it).build().unwrap();
    let json = |text: &str| Payload::from_bytes(text.as_bytes()).unwrap();
    assert_snapshot!(graph.check_input(&json(r#"{"pieces": -1}"#)).unwrap_err(), @"pieces: invalid value: integer `-1`, expected u32 at line 1 column 13");
    assert_snapshot!(graph.check_input(&json("{}")).unwrap_err(), @"missing field `pieces` at line 1 column 2");
    assert_eq!(graph.check_input(&json(r#"{"pieces": 2}"#)), Ok(()));
    let hold = graph.node(&"hold".parse().unwrap()).unwrap();
    assert_snapshot!(hold.check_reply(&json("\"seven\"")).unwrap_err(), @r#"invalid type: string "seven", expected i64 at line 1 column 7"#);
    assert_eq!(graph.check_signal("bank.unheard/1", &json("1")), None);
    assert_snapshot!(graph.check_signal("bank.paid/1", &json("\"x\"")).unwrap().unwrap_err(), @r#"invalid type: string "x", expected i64 at line 1 column 3"#);
}
