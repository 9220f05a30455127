//! Branches, fan-outs, sleeps, reads, and what is dropped.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, Saga, minutes, seconds};

fn lines() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("lines", 1);
    let count = saga.read("count", Price).request(saga.input(), it);
    let stock = saga.for_each(
        "lines",
        count,
        |n| (0..n).map(|i| i * 10).collect::<Vec<i64>>(),
        |each, line| {
            let held = each.tcc("hold", Hold).request(line, it);
            each.when(
                "big",
                (line, held),
                |(line, held)| line + held > 15,
                |then| then.tcc("check", Hold).request((line, held), |(l, h)| l + h),
            )
        },
    );
    saga.on_confirmed(|then| {
        then.retriable("told", Tell).request(stock, |checks| checks.into_iter().flatten().sum());
    });
    saga.on_cancelled(|then| {
        then.retriable("sorry", Tell).request(stock.if_done(), |s| s.map_or(-1, |s| s.into_iter().flatten().sum()));
    });
    saga.output(stock, |s| i64::try_from(s.len()).unwrap_or(0))
}

#[test]
fn a_fan_out_makes_one_instance_of_each_inner_step_for_each_item() {
    assert_snapshot!(run(lines(), "
        count try done 2
        lines[0].hold try done 1
        lines[1].hold try done 9
        lines[1].check try done 100
        lines[0].hold confirm done
        lines[1].hold confirm done
        lines[1].check confirm done
        told try done 1
    "), @"
    start: begins; asks count 7
        try count
    count try done 2: count done 2; lines fans out [0,10]; asks lines[0].hold 0; asks lines[1].hold 10
        try lines[0].hold, try lines[1].hold
    lines[0].hold try done 1: lines[0].hold done 1; lines[0].big not taken
        try lines[1].hold
    lines[1].hold try done 9: lines[1].hold done 9; lines[1].big taken; asks lines[1].check 19
        try lines[1].check
    lines[1].check try done 100: lines[1].check done 100; COMMIT
        confirm lines[0].hold reply 1, confirm lines[1].check reply 100, confirm lines[1].hold reply 9
    lines[0].hold confirm done: lines[0].hold confirmed
        confirm lines[1].check reply 100, confirm lines[1].hold reply 9
    lines[1].hold confirm done: lines[1].hold confirmed
        confirm lines[1].check reply 100
    lines[1].check confirm done: lines[1].check confirmed; asks told 100
        try told
    told try done 1: told done 1; CONFIRMED 2
    ");
}

#[test]
fn an_empty_fan_out_is_done_at_once() {
    assert_snapshot!(run(lines(), "
        count try done 0
        told try done 0
    "), @"
    start: begins; asks count 7
        try count
    count try done 0: count done 0; lines fans out []; COMMIT; asks told 0
        try told
    told try done 0: told done 0; CONFIRMED 0
    ");
}

#[test]
fn the_cancel_of_a_fan_out_covers_what_may_have_arrived_innermost_first() {
    assert_snapshot!(run(lines(), "
        count try done 2
        lines[0].hold try done 1
        lines[1].hold try done 9
        lines[1].check try*2 refused full
        lines[1].check undo done
        lines[1].hold undo done
        lines[0].hold undo done
        sorry try done 1
    "), @"
    start: begins; asks count 7
        try count
    count try done 2: count done 2; lines fans out [0,10]; asks lines[0].hold 0; asks lines[1].hold 10
        try lines[0].hold, try lines[1].hold
    lines[0].hold try done 1: lines[0].hold done 1; lines[0].big not taken
        try lines[1].hold
    lines[1].hold try done 9: lines[1].hold done 9; lines[1].big taken; asks lines[1].check 19
        try lines[1].check
    lines[1].check try*2 refused full: lines[1].check refused full (repeated); ABORT: `lines[1].check` was refused: full: no; undoes lines[1].check
        undo lines[1].check
    lines[1].check undo done: lines[1].check undone; undoes lines[0].hold; undoes lines[1].hold
        undo lines[0].hold reply 1, undo lines[1].hold reply 9
    lines[1].hold undo done: lines[1].hold undone
        undo lines[0].hold reply 1
    lines[0].hold undo done: lines[0].hold undone; asks sorry -1
        try sorry
    sorry try done 1: sorry done 1; CANCELLED
    ");
    assert_snapshot!(run(lines(), "
        cancel
    "), @"
    start: begins; asks count 7
        try count
    cancel: ABORT: ann asked for it: changed her mind; asks sorry -1
        try sorry
    ");
}

#[test]
fn a_fan_out_within_a_fan_out_names_both_items() {
    let saga = || {
        let saga = Saga::<i64>::new("nested", 1);
        let all = saga.for_each(
            "outer",
            saga.input(),
            |n| vec![n, n + 1],
            |outer, x| {
                outer.for_each(
                    "inner",
                    x,
                    |x| vec![x * 10],
                    |inner, y| inner.compensable("book", Book).request((x, y), |(x, y)| x + y),
                )
            },
        );
        saga.output(all, |all| all.into_iter().flatten().sum())
    };
    assert_snapshot!(run(saga(), "
        outer[0].inner[0].book try done 1
        outer[1].inner[0].book try done 2
    "), @"
    start: begins; outer fans out [7,8]; outer[0].inner fans out [70]; asks outer[0].inner[0].book 77; outer[1].inner fans out [80]; asks outer[1].inner[0].book 88
        try outer[0].inner[0].book, try outer[1].inner[0].book
    outer[0].inner[0].book try done 1: outer[0].inner[0].book done 1
        try outer[1].inner[0].book
    outer[1].inner[0].book try done 2: outer[1].inner[0].book done 2; COMMIT; CONFIRMED 3
    ");
}

#[test]
fn a_branch_outside_of_which_a_result_is_an_option() {
    let saga = || {
        let saga = Saga::<i64>::new("branch", 1);
        let first = saga.compensable("first", Book).request(saga.input(), it);
        let extra = saga.when("abroad", first, |f| f > 10, |then| then.compensable("duty", Book).request(first, it));
        let last = saga.compensable("last", Book).request(extra, |e| e.unwrap_or(-1));
        saga.output(last, it)
    };
    assert_snapshot!(run(saga(), "
        first try done 1
        last try done 1
    "), @"
    start: begins; asks first 7
        try first
    first try done 1: first done 1; abroad not taken; asks last -1
        try last
    last try done 1: last done 1; COMMIT; CONFIRMED 1
    ");
    assert_snapshot!(run(saga(), "
        first try done 11
        duty try done 5
        last try refused full
        duty undo done
        first undo done
    "), @"
    start: begins; asks first 7
        try first
    first try done 11: first done 11; abroad taken; asks duty 11
        try duty
    duty try done 5: duty done 5; asks last 5
        try last
    last try refused full: last refused full; ABORT: `last` was refused: full: no; undoes duty
        undo duty reply 5
    duty undo done: duty undone; undoes first
        undo first reply 11
    first undo done: first undone; CANCELLED
    ");
}

#[test]
fn if_done_of_a_branch_and_of_a_fan_out_that_were_never_reached_are_none_and_empty() {
    let saga = || {
        let saga = Saga::<i64>::new("unreached", 1);
        let first = saga.compensable("first", Book).request(saga.input(), it);
        let one =
            saga.when("abroad", first, |f| f > 10, |then| then.compensable("duty", Book).request(first, it).if_done());
        let many = saga.for_each(
            "each",
            first,
            |f| vec![f, f],
            |each, x| each.compensable("part", Book).request(x, it).if_done(),
        );
        let whole =
            saga.for_each("each2", first, |f| vec![f, f], |each, x| each.compensable("part2", Book).request(x, it));
        saga.on_cancelled(|then| {
            then.retriable("sorry", Tell).request((one, many, whole.if_done()), |(one, many, whole)| {
                let many: i64 = many.into_iter().map(|m| m.unwrap_or(-1)).sum();
                one.flatten().unwrap_or(0) * 100 + many * 10 + whole.map_or(0, |w: Vec<i64>| w.iter().sum())
            });
        });
        saga.output((), |()| 0)
    };
    assert_snapshot!(run(saga(), "first try refused full"), @"
    start: begins; asks first 7
        try first
    first try refused full: first refused full; ABORT: `first` was refused: full: no; asks sorry 0
        try sorry
    ");
    assert_snapshot!(run(saga(), "
        first try done 11
        duty try done 3
        each[0].part try done 2
        each2[0].part2 try done 2
        cancel
        each[0].part undo done
        each[1].part undo done
        each2[0].part2 undo done
        each2[1].part2 undo done
        duty undo done
        first undo done
    "), @"
    start: begins; asks first 7
        try first
    first try done 11: first done 11; abroad taken; asks duty 11; each fans out [11,11]; asks each[0].part 11; asks each[1].part 11; each2 fans out [11,11]; asks each2[0].part2 11; asks each2[1].part2 11
        try duty, try each2[0].part2, try each2[1].part2, try each[0].part, try each[1].part
    duty try done 3: duty done 3
        try each2[0].part2, try each2[1].part2, try each[0].part, try each[1].part
    each[0].part try done 2: each[0].part done 2
        try each2[0].part2, try each2[1].part2, try each[1].part
    each2[0].part2 try done 2: each2[0].part2 done 2
        try each2[1].part2, try each[1].part
    cancel: ABORT: ann asked for it: changed her mind; undoes duty; undoes each2[0].part2; undoes each2[1].part2; undoes each[0].part; undoes each[1].part
        undo duty reply 3, undo each2[0].part2 reply 2, undo each2[1].part2, undo each[0].part reply 2, undo each[1].part
    each[0].part undo done: each[0].part undone
        undo duty reply 3, undo each2[0].part2 reply 2, undo each2[1].part2, undo each[1].part
    each[1].part undo done: each[1].part undone
        undo duty reply 3, undo each2[0].part2 reply 2, undo each2[1].part2
    each2[0].part2 undo done: each2[0].part2 undone
        undo duty reply 3, undo each2[1].part2
    each2[1].part2 undo done: each2[1].part2 undone
        undo duty reply 3
    duty undo done: duty undone; undoes first
        undo first reply 11
    first undo done: first undone; asks sorry 310
        try sorry
    ");
}

#[test]
fn a_sleep_lasts_from_when_what_it_comes_after_is_done() {
    let saga = || {
        let saga = Saga::<i64>::new("sleepy", 1);
        let first = saga.compensable("first", Book).request(saga.input(), it);
        let slept = saga.sleep_after("nap", minutes(1), first);
        saga.compensable("last", Book).after(slept).request(first, it);
        saga.sleep("short", seconds(1));
        saga.output((), |()| 0)
    };
    assert_snapshot!(run(saga(), "
        +5 first try done 1
        wake short
        +59 wake nap
        +1 wake nap
        wake nap
        last try done 1
    "), @"
    start: begins; asks first 7; short waits until 1s
        try first, wake short at 1s
    +5 first try done 1: first done 1; nap waits until 65s
        wake nap at 65s, wake short at 1s
    wake short: short done null
        wake nap at 65s
    +59 wake nap: nothing
    +1 wake nap: nap done null; asks last 1
        try last
    wake nap: nothing
    last try done 1: last done 1; COMMIT; CONFIRMED 0
    ");
}

#[test]
fn a_read_that_refuses_aborts_before_the_decision_and_parks_after_it() {
    let saga = || {
        let saga = Saga::<i64>::new("reads", 1);
        let price = saga.read("price", Price).request(saga.input(), it);
        saga.on_confirmed(|then| {
            let now = then.read("price_now", Price).request(price, it);
            then.retriable("told", Tell).request(now, it);
        });
        saga.on_cancelled(|then| then.retriable("sorry", Tell).request((), |()| 1));
        saga.output((), |()| 0)
    };
    assert_snapshot!(run(saga(), "
        price try*3 refused unknown_item
        sorry try done 1
    "), @"
    start: begins; asks price 7
        try price
    price try*3 refused unknown_item: price refused unknown_item (repeated); ABORT: `price` was refused: unknown_item: no; asks sorry 1
        try sorry
    sorry try done 1: sorry done 1; CANCELLED
    ");
    assert_snapshot!(run(saga(), "
        price try done 5
        price_now try refused unknown_item
        op price_now not_done
    "), @"
    start: begins; asks price 7
        try price
    price try done 5: price done 5; COMMIT; asks price_now 5
        try price_now
    price_now try refused unknown_item: PARKS price_now: its try was refused: unknown_item: no
    op price_now not_done: bob MarkNotDone price_now; drops price_now; drops told; CONFIRMED 0
    ");
    assert_snapshot!(run(saga(), "
        price try done 5
        price_now try refused unknown_item
        price_now try done 6
        told try done 1
    "), @"
    start: begins; asks price 7
        try price
    price try done 5: price done 5; COMMIT; asks price_now 5
        try price_now
    price_now try refused unknown_item: PARKS price_now: its try was refused: unknown_item: no
    price_now try done 6: price_now done 6; asks told 6
        try told
    told try done 1: told done 1; CONFIRMED 0
    ");
}

#[test]
fn what_depends_on_a_dropped_step_is_dropped_with_it_at_any_depth() {
    let saga = || {
        let saga = Saga::<i64>::new("dropped", 1);
        saga.on_confirmed(|then| {
            let a = then.read("a", Price).request((), |()| 1);
            let b = then.when("b", a, |a| a > 0, |then| then.read("c", Price).request(a, it));
            let d = then.for_each("d", b, |b| vec![b.unwrap_or(0)], |each, x| each.read("e", Price).request(x, it));
            then.read("f", Price).request(d, |d| d.into_iter().sum());
            then.read("g", Price).request((), |()| 2);
        });
        saga.output((), |()| 0)
    };
    assert_snapshot!(run(saga(), "
        a try refused no
        op a not_done
        g try done 1
    "), @"
    start: begins; COMMIT; asks a 1; asks g 2
        try a, try g
    a try refused no: PARKS a: its try was refused: no: no
        try g
    op a not_done: bob MarkNotDone a; drops a; drops b; drops d; drops f
        try g
    g try done 1: g done 1; CONFIRMED 0
    ");
}
