//! Drawings and the linter, on a definition with everything in it and on a saga of it under way.
#![expect(clippy::unwrap_used, reason = "a definition that cannot be built is a failed test")]

use insta::assert_snapshot;
use std::{collections::BTreeMap, time::Duration};
use tercet_core::{
    Answer, Answered, Definition, Event, Graph, Millis, OnExhausted, Operation, Payload, Phase, Retry, Saga, SagaId,
    ShardId, Signal, Starting, State, Verdict, What, apply, days, decide, graph, hours, kind,
    lint::{Samples, lint, mapper_outputs},
    minutes, refuse,
    schemars::JsonSchema,
    seconds, start,
};

macro_rules! operations { ($($op:ident $name:literal $kind:ident $(($($flag:tt)+))?;)+) => { $(
    struct $op;
    impl Operation for $op {
        const NAME: &'static str = $name;
        type Kind = kind::$kind;
        type Request = i64;
        type Reply = i64;
        $($($flag)+)?
    }
)+ } }

operations! {
    Hold "orders.hold/1" Tcc;
    Restock "inventory.restock/1" Compensable;
    Pay "gateway.pay/1" Pivot (const CLOSES: bool = true;);
    PayLink "gateway.pay_link/1" Pivot (const EXPIRES_AFTER: Option<Duration> = Some(hours(2)););
    PayBlind "gateway.pay_blind/1" Pivot (const QUERIES: bool = false;);
    PayPlain "gateway.pay_plain/1" Pivot;
    Tell "push.tell/1" Retriable;
    Price "shop.price/1" Read;
}

#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Paid(i64);
impl Signal for Paid {
    const NAME: &'static str = "orders.paid/1";
}

fn it(value: i64) -> i64 {
    value
}

fn give_back() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("give_back", 3);
    let money = saga.pivot("money", Pay).request(saga.input(), it);
    saga.output(money, it)
}

fn everything() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("everything", 2).deadline(hours(1));
    let order = saga.tcc("order", Hold).request(saga.input(), it);
    let price = saga.read("price", Price).request(saga.input(), it);
    let lines = saga.for_each(
        "lines",
        order,
        |n| (0..n).collect::<Vec<i64>>(),
        |each, line| {
            let back = each.compensable("restock", Restock).request(line, it);
            each.when("large", back, |b| b > 1, |then| then.tcc("check", Hold).request((line, back), |(l, b)| l + b))
        },
    );
    let paid = saga.wait_for::<Paid>("paid").after(price).within(minutes(30));
    saga.sleep("pause", minutes(1));
    let money = saga
        .pivot("money", Pay)
        .undone_by(give_back, |(asked, _)| asked)
        .key(saga.input(), |i| format!("pay-{i}"))
        .request((order, lines), |(o, l)| o + i64::try_from(l.len()).unwrap_or(0));
    saga.on_confirmed(|then| {
        let told = then.signal::<Paid>("tell").to("order", order, |o| o.to_string()).request(paid, |p| p);
        then.when("late", told, Verdict::is_too_late, |then| then.child("back", give_back).input(money, it));
    });
    saga.on_cancelled(|then| {
        then.retriable("sorry", Tell).request(order.if_done(), |o| o.unwrap_or(0));
    });
    saga.output(money, it)
}

/// A saga of `graph` after these answers of step, phase and answer, and for signals the payload.
fn under_way(graph: &Graph, answers: &[(&str, Phase, Answer)]) -> State {
    let starting = Starting {
        saga: SagaId::from_parts(1_700_000_000_000, [7; 10], ShardId::new(0).unwrap()),
        key: "k".parse().unwrap(),
        input: Payload::of(&7).unwrap(),
        parent: None,
        undoes: false,
        at: Millis(0),
    };
    let mut state = State::begin(&start(graph, starting).unwrap()).unwrap();
    for (step, phase, answer) in answers {
        let (step, answer) = (step.parse().unwrap(), answer.clone());
        let answered = Answered { step, phase: *phase, attempt: 1, attempts: 1, issued: Millis(1), answer };
        let event = Event { at: Millis(1), jitter: 0, what: What::Answered(answered) };
        let entry = decide(graph, &state, event).unwrap().unwrap();
        apply(&mut state, &entry);
    }
    state
}

fn done(value: i64) -> Answer {
    Answer::Done(Payload::of(&value).unwrap())
}

fn trying(graph: &Graph) -> State {
    under_way(
        graph,
        &[
            ("order", Phase::Try, done(3)),
            ("price", Phase::Try, done(9)),
            ("lines[0].restock", Phase::Try, done(1)),
            ("lines[1].restock", Phase::Try, done(5)),
            ("lines[2].restock", Phase::Try, Answer::Pending(Payload::of("on its way").unwrap())),
        ],
    )
}

fn cancelling(graph: &Graph) -> State {
    under_way(
        graph,
        &[
            ("order", Phase::Try, done(2)),
            ("lines[0].restock", Phase::Try, done(1)),
            ("lines[1].restock", Phase::Try, Answer::refused("sold", "it is \"gone\"\u{1b}[2J")),
            ("lines[0].restock", Phase::Cancel, Answer::refused("broken", "<b>no</b>\n# no\u{1b}[2J")),
        ],
    )
}

#[test]
fn mermaid_draws_parts_branches_fan_outs_and_the_decision() {
    let graph = everything().build().unwrap();
    assert_snapshot!(graph::mermaid(&graph.describe(), None), @r#"
    flowchart TB
        subgraph trying["before the decision"]
            s0["order<br/>tcc orders.hold/1"]
            s1["price<br/>read shop.price/1"]
            subgraph g2[" "]
                s2{"lines<br/>for each"}
                s3["restock<br/>compensable inventory.restock/1"]
                subgraph g4[" "]
                    s4{"large<br/>branch"}
                    s5["check<br/>tcc orders.hold/1"]
                end
            end
            s6["paid<br/>wait orders.paid/1"]
            s7["pause<br/>sleep"]
            s8(["money<br/>pivot gateway.pay/1, undone by give_back@3"])
        end
        decision{{"decision"}}
        subgraph confirmed["on confirmed"]
            s9["tell<br/>signal orders.paid/1 to order"]
            subgraph g10[" "]
                s10{"late<br/>branch"}
                s11["back<br/>child give_back@3"]
            end
        end
        subgraph cancelled["on cancelled"]
            s12["sorry<br/>retriable push.tell/1"]
        end
        s0 --> s2
        s2 --> s3
        s3 --> s4
        s2 --> s5
        s3 --> s5
        s4 -.-> s5
        s1 -.-> s6
        s0 --> s8
        s5 --> s8
        s6 --> s9
        s0 --> s9
        s9 --> s10
        s8 --> s11
        s10 -.-> s11
        s0 --> s12
        s6 -.-> s8
        s7 -.-> s8
        s8 ==> decision
        class s8 pivot
        classDef pivot stroke-width:3px
        decision -- commit --> s9
        decision -- abort --> s12
    "#);
}

#[test]
fn mermaid_draws_a_saga_under_way() {
    let graph = everything().build().unwrap();
    assert_snapshot!(graph::mermaid(&graph.describe(), Some(&trying(&graph))), @r#"
    flowchart TB
        subgraph trying["before the decision"]
            s0["order<br/>tcc orders.hold/1<br/>done"]:::done
            s1["price<br/>read shop.price/1<br/>done"]:::done
            subgraph g2[" "]
                s2{"lines<br/>for each<br/>done, 3 items"}:::done
                s3["restock<br/>compensable inventory.restock/1<br/>2/3 done, 1 asked"]:::asked
                subgraph g4[" "]
                    s4{"large<br/>branch<br/>2/3 done"}:::done
                    s5["check<br/>tcc orders.hold/1<br/>0/1 done, 1 asked"]:::asked
                end
            end
            s6["paid<br/>wait orders.paid/1<br/>waiting"]:::waiting
            s7["pause<br/>sleep<br/>waiting"]:::waiting
            s8(["money<br/>pivot gateway.pay/1, undone by give_back@3"]):::idle
        end
        decision{{"decision<br/>not yet"}}:::idle
        subgraph confirmed["on confirmed"]
            s9["tell<br/>signal orders.paid/1 to order"]:::idle
            subgraph g10[" "]
                s10{"late<br/>branch"}:::idle
                s11["back<br/>child give_back@3"]:::idle
            end
        end
        subgraph cancelled["on cancelled"]
            s12["sorry<br/>retriable push.tell/1"]:::idle
        end
        s0 --> s2
        s2 --> s3
        s3 --> s4
        s2 --> s5
        s3 --> s5
        s4 -.-> s5
        s1 -.-> s6
        s0 --> s8
        s5 --> s8
        s6 --> s9
        s0 --> s9
        s9 --> s10
        s8 --> s11
        s10 -.-> s11
        s0 --> s12
        s6 -.-> s8
        s7 -.-> s8
        s8 ==> decision
        class s8 pivot
        classDef pivot stroke-width:3px
        decision -- commit --> s9
        decision -- abort --> s12
        classDef idle fill:#ffffff,stroke:#8a8f98,color:#1b1f24
        classDef dropped fill:#eceef1,stroke:#b5bac2,color:#1b1f24
        classDef undone fill:#e4dff5,stroke:#7a63c0,color:#1b1f24
        classDef done fill:#d7f0dd,stroke:#2e8b4a,color:#1b1f24
        classDef waiting fill:#e3eefb,stroke:#5b8fd0,color:#1b1f24
        classDef asked fill:#cfe3fb,stroke:#1f6fc4,color:#1b1f24
        classDef undoing fill:#d9ccf5,stroke:#5b3fb5,color:#1b1f24
        classDef failed fill:#fbdcd8,stroke:#c0392b,color:#1b1f24
        classDef parked fill:#ffe3b0,stroke:#c77700,color:#1b1f24
    "#);
}

#[test]
fn dot_draws_the_same() {
    let graph = everything().build().unwrap();
    assert_snapshot!(graph::dot(&graph.describe(), None), @r##"
    digraph "everything@2" {
        graph [fontname="sans-serif", rankdir=TB];
        node [fontname="sans-serif", shape=box, style="rounded,filled", fillcolor="#ffffff"];
        subgraph cluster_trying {
            label="before the decision";
            s0 [label="order\ntcc orders.hold/1"];
            s1 [label="price\nread shop.price/1"];
            subgraph cluster_2 {
                label="";
                s2 [label="lines\nfor each", shape=diamond];
                s3 [label="restock\ncompensable inventory.restock/1"];
                subgraph cluster_4 {
                    label="";
                    s4 [label="large\nbranch", shape=diamond];
                    s5 [label="check\ntcc orders.hold/1"];
                }
            }
            s6 [label="paid\nwait orders.paid/1"];
            s7 [label="pause\nsleep"];
            s8 [label="money\npivot gateway.pay/1, undone by give_back@3", penwidth=3];
        }
        decision [label="decision", shape=hexagon];
        subgraph cluster_confirmed {
            label="on confirmed";
            s9 [label="tell\nsignal orders.paid/1 to order"];
            subgraph cluster_10 {
                label="";
                s10 [label="late\nbranch", shape=diamond];
                s11 [label="back\nchild give_back@3"];
            }
        }
        subgraph cluster_cancelled {
            label="on cancelled";
            s12 [label="sorry\nretriable push.tell/1"];
        }
        s0 -> s2;
        s2 -> s3;
        s3 -> s4;
        s2 -> s5;
        s3 -> s5;
        s4 -> s5 [style=dashed];
        s1 -> s6 [style=dashed];
        s0 -> s8;
        s5 -> s8;
        s6 -> s9;
        s0 -> s9;
        s9 -> s10;
        s8 -> s11;
        s10 -> s11 [style=dashed];
        s0 -> s12;
        s6 -> s8 [style=dashed];
        s7 -> s8 [style=dashed];
        s8 -> decision [penwidth=3];
        decision -> s9 [label="commit"];
        decision -> s12 [label="abort"];
    }
    "##);
}

#[test]
fn dot_draws_a_saga_that_cancels_with_reasons_that_break_out_of_no_quotes() {
    let graph = everything().build().unwrap();
    assert_snapshot!(graph::dot(&graph.describe(), Some(&cancelling(&graph))), @r##"
    digraph "everything@2" {
        graph [fontname="sans-serif", rankdir=TB];
        node [fontname="sans-serif", shape=box, style="rounded,filled", fillcolor="#ffffff"];
        subgraph cluster_trying {
            label="before the decision";
            s0 [label="order\ntcc orders.hold/1\ndone", fillcolor="#d7f0dd", color="#2e8b4a"];
            s1 [label="price\nread shop.price/1\ndropped", fillcolor="#eceef1", color="#b5bac2"];
            subgraph cluster_2 {
                label="";
                s2 [label="lines\nfor each\ndone, 2 items", shape=diamond, fillcolor="#d7f0dd", color="#2e8b4a"];
                s3 [label="restock\ncompensable inventory.restock/1\n0/2 done, 1 parked, 1 failed", fillcolor="#ffe3b0", color="#c77700", tooltip="its cancel was refused: broken: <b>no</b> # no [2J"];
                subgraph cluster_4 {
                    label="";
                    s4 [label="large\nbranch\n1/2 done", shape=diamond, fillcolor="#d7f0dd", color="#2e8b4a"];
                    s5 [label="check\ntcc orders.hold/1", fillcolor="#ffffff", color="#8a8f98"];
                }
            }
            s6 [label="paid\nwait orders.paid/1", fillcolor="#ffffff", color="#8a8f98"];
            s7 [label="pause\nsleep\ndropped", fillcolor="#eceef1", color="#b5bac2"];
            s8 [label="money\npivot gateway.pay/1, undone by give_back@3", fillcolor="#ffffff", color="#8a8f98", penwidth=3];
        }
        decision [label="decision\nabort", shape=hexagon, fillcolor="#fbdcd8", color="#c0392b"];
        subgraph cluster_confirmed {
            label="on confirmed";
            s9 [label="tell\nsignal orders.paid/1 to order", fillcolor="#ffffff", color="#8a8f98"];
            subgraph cluster_10 {
                label="";
                s10 [label="late\nbranch", shape=diamond, fillcolor="#ffffff", color="#8a8f98"];
                s11 [label="back\nchild give_back@3", fillcolor="#ffffff", color="#8a8f98"];
            }
        }
        subgraph cluster_cancelled {
            label="on cancelled";
            s12 [label="sorry\nretriable push.tell/1", fillcolor="#ffffff", color="#8a8f98"];
        }
        s0 -> s2;
        s2 -> s3;
        s3 -> s4;
        s2 -> s5;
        s3 -> s5;
        s4 -> s5 [style=dashed];
        s1 -> s6 [style=dashed];
        s0 -> s8;
        s5 -> s8;
        s6 -> s9;
        s0 -> s9;
        s9 -> s10;
        s8 -> s11;
        s10 -> s11 [style=dashed];
        s0 -> s12;
        s6 -> s8 [style=dashed];
        s7 -> s8 [style=dashed];
        s8 -> decision [penwidth=3];
        decision -> s9 [label="commit"];
        decision -> s12 [label="abort"];
    }
    "##);
}

#[test]
fn the_tree_is_for_terminals_and_lets_no_reason_move_the_cursor() {
    let graph = everything().build().unwrap();
    assert_snapshot!(graph::tree(&graph.describe(), None), @"
    everything@2
    ├── before the decision
    │   ├── order (tcc orders.hold/1)
    │   ├── price (read shop.price/1)
    │   ├── lines (for each) ← order
    │   │   ├── restock (compensable inventory.restock/1) ← lines
    │   │   └── large (branch) ← restock
    │   │       └── check (tcc orders.hold/1) ← lines, restock
    │   ├── paid (wait orders.paid/1) ⇠ price
    │   ├── pause (sleep)
    │   └── ◆ money (pivot gateway.pay/1, undone by give_back@3) ← order, check
    ├── decision
    ├── on confirmed
    │   ├── tell (signal orders.paid/1 to order) ← paid, order
    │   └── late (branch) ← tell
    │       └── back (child give_back@3) ← money
    └── on cancelled
        └── sorry (retriable push.tell/1) ← order
    ");
    assert_snapshot!(graph::tree(&graph.describe(), Some(&trying(&graph))), @"
    everything@2 018bcfe5-6800-7707-8707-070707070400: trying
    ├── before the decision
    │   ├── ✓ order (tcc orders.hold/1): done
    │   ├── ✓ price (read shop.price/1): done
    │   ├── ✓ lines (for each): done, 3 items ← order
    │   │   ├── ▶ restock (compensable inventory.restock/1): 2/3 done, 1 asked ← lines
    │   │   └── ✓ large (branch): 2/3 done ← restock
    │   │       └── ▶ check (tcc orders.hold/1): 0/1 done, 1 asked ← lines, restock
    │   ├── ◷ paid (wait orders.paid/1): waiting ⇠ price
    │   ├── ◷ pause (sleep): waiting
    │   └── · ◆ money (pivot gateway.pay/1, undone by give_back@3) ← order, check
    ├── decision: · not yet
    ├── on confirmed
    │   ├── · tell (signal orders.paid/1 to order) ← paid, order
    │   └── · late (branch) ← tell
    │       └── · back (child give_back@3) ← money
    └── on cancelled
        └── · sorry (retriable push.tell/1) ← order
    ");
    let parked = graph::tree(&graph.describe(), Some(&cancelling(&graph)));
    assert!(!parked.contains('\u{1b}'), "{parked}");
    assert_snapshot!(parked, @r#"
    everything@2 018bcfe5-6800-7707-8707-070707070400: cancelling, parked
    ├── before the decision
    │   ├── ✓ order (tcc orders.hold/1): done
    │   ├── – price (read shop.price/1): dropped
    │   ├── ✓ lines (for each): done, 2 items ← order
    │   │   ├── ‖ restock (compensable inventory.restock/1): 0/2 done, 1 parked, 1 failed: its cancel was refused: broken: <b>no</b> # no [2J ← lines
    │   │   └── ✓ large (branch): 1/2 done ← restock
    │   │       └── · check (tcc orders.hold/1) ← lines, restock
    │   ├── · paid (wait orders.paid/1) ⇠ price
    │   ├── – pause (sleep): dropped
    │   └── · ◆ money (pivot gateway.pay/1, undone by give_back@3) ← order, check
    ├── decision: ✗ abort, `lines[1].restock` was refused: sold: it is "gone" [2J
    ├── on confirmed
    │   ├── · tell (signal orders.paid/1 to order) ← paid, order
    │   └── · late (branch) ← tell
    │       └── · back (child give_back@3) ← money
    └── on cancelled
        └── · sorry (retriable push.tell/1) ← order
    "#);
}

#[test]
fn a_drawing_needs_no_code_a_description_out_of_json_will_do() {
    let graph = everything().build().unwrap();
    let text = serde_json::to_string(&graph.describe()).unwrap();
    let described: tercet_core::Description = serde_json::from_str(&text).unwrap();
    assert_eq!(graph::mermaid(&described, None), graph::mermaid(&graph.describe(), None));
}

#[test]
fn a_definition_without_pivot_is_decided_by_its_last_steps() {
    let saga = Saga::<i64>::new("small", 1);
    let a = saga.compensable("a", Restock).request(saga.input(), it);
    saga.compensable("b", Restock).request(a, it);
    saga.compensable("c", Restock).request(a, it);
    let graph = saga.output((), |()| 0).build().unwrap();
    assert_snapshot!(graph::mermaid(&graph.describe(), None), @r#"
    flowchart TB
        subgraph trying["before the decision"]
            s0["a<br/>compensable inventory.restock/1"]
            s1["b<br/>compensable inventory.restock/1"]
            s2["c<br/>compensable inventory.restock/1"]
        end
        decision{{"decision"}}
        s0 --> s1
        s0 --> s2
        s1 -.-> decision
        s2 -.-> decision
    "#);
}

fn findings(definition: Definition<i64, i64>) -> String {
    lint(&definition.build().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_linter_finds_nothing_in_a_sound_definition() {
    assert_snapshot!(findings(everything()), @"");
}

#[test]
fn the_linter_says_what_is_the_matter_and_what_to_do() {
    let saga = Saga::<i64>::new("s", 1).deadline(minutes(10));
    saga.wait_for::<Paid>("paid").within(minutes(30));
    saga.wait_for::<Paid>("as_said").within_from(saga.input(), |n| minutes(n.unsigned_abs()));
    saga.tcc("slow", Hold)
        .timeout(minutes(10))
        .retry(Retry::backoff(seconds(60), seconds(1)))
        .request(saga.input(), it);
    saga.compensable("quiet", Restock).attention_after(u32::MAX).request(saga.input(), it);
    saga.pivot("money", PayBlind).on_exhausted(OnExhausted::Abort).request(saga.input(), it);
    saga.on_confirmed(|then| then.read("idle", Price).request(saga.input(), it));
    assert_snapshot!(findings(saga.output((), |()| 0)), @"
    step `paid` waits up to 1800 s, the saga at most 600 s: shorten the wait, or raise the saga's `.deadline(..)` [outlasts_deadline]
    step `slow` waits longer for one answer than the saga may last: shorten `.timeout(..)`, or raise the saga's `.deadline(..)` [outlasts_deadline]
    step `slow` waits longer before its second attempt than its cap allows: raise the cap above the first wait: the cap is what counts [cap_below_first]
    step `quiet` may be asked for ever, and is flagged only after 4294967295 attempts: lower `.attention_after(..)` [nobody_is_told]
    step `money` cannot be asked what became of it, so every unknown outcome waits for a person: offer a query in its contract [no_query]
    step `money` aborts when exhausted only if nothing of it can have been done; else it parks: expect parked sagas, or give its contract a close [abort_is_conditional]
    step `idle` is a read whose result nobody reads: read it, let a step come `.after` it, or leave it out: if it refuses here the saga parks for it [unread]
    ");
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("stubborn", Hold).retry(Retry::backoff(seconds(1), seconds(60))).request(saga.input(), it);
    saga.pivot("money", PayPlain).query_every(days(1)).query_limit(365).request(saga.input(), it);
    assert_snapshot!(findings(saga.output((), |()| 0)), @"
    step `stubborn` is tried for ever, and the saga has no deadline: say `.attempts(..)` in its retry, or give the saga a `.deadline(..)` [tried_for_ever]
    step `money` is queried for 365 days before anybody is asked: lower `.query_limit(..)`, or give its contract a close or an expiry, so that it ends by itself [polls_for_ever]
    ");
    let saga = Saga::<i64>::new("s", 1);
    saga.pivot("money", PayLink).query_every(minutes(3)).query_limit(30).request(saga.input(), it);
    assert_snapshot!(findings(saga.output((), |()| 0)), @"step `money` parks after 5400 s of queries, though its lifetime of 7200 s would end it by itself: raise `.query_limit(..)` or `.query_every(..)` above lifetime and margin [parks_before_expiry]");
}

#[test]
fn mapper_outputs_show_an_edited_mapper() {
    let json = |text: &str| Payload::from_bytes(text.as_bytes()).unwrap();
    let samples = |replies: &[(&str, &str)]| Samples {
        input: json("7"),
        replies: replies.iter().map(|(step, reply)| (step.parse().unwrap(), json(reply))).collect::<BTreeMap<_, _>>(),
    };
    let graph = everything().build().unwrap();
    let all = [
        ("order", "3"),
        ("lines", "10"),
        ("restock", "5"),
        ("check", "6"),
        ("paid", "1"),
        ("tell", "\"too_late\""),
        ("money", "50"),
    ];
    assert_snapshot!(mapper_outputs(&graph, &samples(&all)), @r#"
    order: 7
    price: 7
    lines: [0,1,2]
    restock: 10
    large: true
    check: 15
    money: 4
    money.key: "pay-7"
    tell: 1
    tell.key: "3"
    late: true
    back: 50
    sorry: 3
    output: 50
    "#);
    assert!(mapper_outputs(&graph, &samples(&all[1..])).contains("lines: no sample of `order`"));
    let saga = Saga::<i64>::new("s", 1);
    saga.tcc("hold", Hold).try_request(saga.input(), |i| if i == 7 { refuse("seven", "no") } else { Ok(i) });
    assert_snapshot!(mapper_outputs(&saga.output((), |()| 0).build().unwrap(), &samples(&[])), @"
    hold: refused, seven: no
    output: 0
    ");
}
