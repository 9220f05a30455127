//! A saga's life: tcc and compensable steps, reverse order, refusals, mappers that say no, late and double events.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, OnExhausted, OnRefused, Saga, minutes, refuse};

/// order → points, order → hold(order, points), pivot money, then told.
fn refund() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("refund", 1);
    let order = saga.tcc("order", Hold).request(saga.input(), it);
    let points = saga.tcc("points", Hold).request(order, |o| o + 1);
    let hold = saga.tcc("hold", Hold).request((order, points), |(o, p)| o + p);
    let money = saga.pivot("money", Pay).request(hold, it);
    saga.on_confirmed(|then| {
        then.retriable("told", Tell).request((order, money), |(_, m)| m);
        then.retriable("soon", Tell).request(money, it);
    });
    saga.on_cancelled(|then| {
        then.retriable("sorry", Tell).request(hold.if_done(), |h| h.unwrap_or(-1));
    });
    saga.output(money, it)
}

#[test]
fn a_saga_whose_pivot_is_done_confirms_all_at_once_and_tells_when_what_it_reads_is_confirmed() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try done 2
        hold try done 3
        money try done 100
        soon try done 0
        points confirm done
        order confirm done
        hold confirm done
        told try done 0
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try done 2: points done 2; asks hold 3
        try hold
    hold try done 3: hold done 3; asks money 3
        try money#1
    money try done 100: money done 100; COMMIT; asks soon 100
        confirm hold reply 3, confirm order reply 1, confirm points reply 2, try soon
    soon try done 0: soon done 0
        confirm hold reply 3, confirm order reply 1, confirm points reply 2
    points confirm done: points confirmed
        confirm hold reply 3, confirm order reply 1
    order confirm done: order confirmed; asks told 100
        confirm hold reply 3, try told
    hold confirm done: hold confirmed
        try told
    told try done 0: told done 0; CONFIRMED 100
    ");
}

#[test]
fn a_refused_pivot_undoes_in_reverse_order_of_dependency_and_then_says_sorry() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try done 2
        hold try done 3
        money try refused empty
        hold undo done
        points undo done
        order undo done
        sorry try done 0
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try done 2: points done 2; asks hold 3
        try hold
    hold try done 3: hold done 3; asks money 3
        try money#1
    money try refused empty: money refused empty; ABORT: `money` was refused: empty: no; undoes hold
        undo hold reply 3
    hold undo done: hold undone; undoes points
        undo points reply 2
    points undo done: points undone; undoes order
        undo order reply 1
    order undo done: order undone; asks sorry 3
        try sorry
    sorry try done 0: sorry done 0; CANCELLED
    ");
}

#[test]
fn a_step_refused_at_its_only_attempt_is_not_cancelled_one_that_was_asked_twice_is() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try refused spent
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try refused spent: points refused spent; ABORT: `points` was refused: spent: no; undoes order
        undo order reply 1
    ");
    assert_snapshot!(run(refund(), "
        order try done 1
        points try*2 refused spent
        points undo done
        order undo done
        sorry try done 0
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try*2 refused spent: points refused spent (repeated); ABORT: `points` was refused: spent: no; undoes points
        undo points
    points undo done: points undone; undoes order
        undo order reply 1
    order undo done: order undone; asks sorry -1
        try sorry
    sorry try done 0: sorry done 0; CANCELLED
    ");
}

#[test]
fn a_step_that_was_pending_and_is_then_refused_is_cancelled() {
    assert_snapshot!(run(refund(), "
        order try pending 5
        order try pending 5
        order try refused closed
    "), @"
    start: begins; asks order 7
        try order
    order try pending 5: order pending 5
        try order (pending)
    order try pending 5: nothing
    order try refused closed: order refused closed (repeated); ABORT: `order` was refused: closed: no; undoes order
        undo order
    ");
}

#[test]
fn an_exhausted_try_may_have_arrived_so_it_is_cancelled_before_what_it_depended_on() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try*12 exhausted
        points try done 2
        points undo done
        order undo done
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try*12 exhausted: points given up after 12; ABORT: `points` had no definite answer in all its attempts: no answer in time; undoes points
        undo points
    points try done 2: nothing
    points undo done: points undone; undoes order
        undo order reply 1
    order undo done: order undone; asks sorry -1
        try sorry
    ");
}

#[test]
fn a_try_whose_policy_parks_when_exhausted_goes_on_with_a_late_answer() {
    let saga = || {
        let saga = Saga::<i64>::new("s", 1).deadline(minutes(1));
        let hold = saga
            .tcc("hold", Hold)
            .on_exhausted(OnExhausted::Park)
            .on_refused(OnRefused::Park)
            .request(saga.input(), it);
        saga.on_confirmed(|then| then.retriable("told", Tell).request(hold, it));
        saga.output((), |()| 0)
    };
    assert_snapshot!(run(saga(), "
        hold try*12 exhausted
        hold try*12 exhausted
        hold try done 1
    "), @"
    start: begins until 60s; asks hold 7
        deadline at 60s, try hold
    hold try*12 exhausted: PARKS hold: no definite answer in all attempts and queries allowed: no answer in time
        deadline at 60s
    hold try*12 exhausted: nothing
    hold try done 1: hold done 1; COMMIT
        confirm hold reply 1
    ");
    assert_snapshot!(run(saga(), "
        hold try refused not_yours
        hold try refused not_yours
        op hold not_done
        op hold retry
        hold try refused not_yours
        +60 deadline
        hold undo done
    "), @"
    start: begins until 60s; asks hold 7
        deadline at 60s, try hold
    hold try refused not_yours: PARKS hold: its try was refused: not_yours: no
        deadline at 60s
    hold try refused not_yours: nothing
    op hold not_done: illegal: step `hold` does not offer that now
    op hold retry: bob RetryNow hold; resumes hold
        deadline at 60s, try hold
    hold try refused not_yours: PARKS hold: its try was refused: not_yours: no
        deadline at 60s
    +60 deadline: ABORT: its deadline passed; undoes hold
        undo hold
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn b34_a_second_cancel_is_answered_by_what_is_under_way_and_undo_is_never_undone() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try done 2
        cancel
        cancel
        hold undo done
        cancel
        points undo done
        order undo done
        sorry try done 0
        cancel
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try done 2: points done 2; asks hold 3
        try hold
    cancel: ABORT: ann asked for it: changed her mind; undoes hold
        undo hold
    cancel: nothing
    hold undo done: hold undone; undoes points
        undo points reply 2
    cancel: nothing
    points undo done: points undone; undoes order
        undo order reply 1
    order undo done: order undone; asks sorry -1
        try sorry
    sorry try done 0: sorry done 0; CANCELLED
    cancel: nothing
    ");
}

#[test]
fn b04_an_undo_gets_its_own_steps_request_and_reply_whatever_was_asked_since() {
    let graph = refund().build().unwrap();
    let mut last = None;
    for script in
        ["order try done 41\npoints try*12 exhausted", "order try done 41\npoints try done 50\ncancel\nhold undo done"]
    {
        let out = run(refund(), script);
        last = out.lines().last().map(|line| line.trim().to_owned());
        assert!(out.contains("asks points 42"), "{out}");
    }
    assert_eq!(last.as_deref(), Some("undo points reply 50"));
    assert_eq!(graph.nodes().len(), 7);
}

fn chain() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("chain", 1);
    let a = saga.compensable("a", Book).request(saga.input(), it);
    let b = saga.compensable("b", Book).request(a, it);
    let c = saga.compensable("c", Book).request(b, it);
    saga.output(c, it)
}

#[test]
fn a_compensable_chain_is_decided_by_its_last_step_and_undone_one_by_one() {
    assert_snapshot!(run(chain(), "
        a try done 1
        b try done 2
        c try done 3
        c try done 3
        c try refused late
    "), @"
    start: begins; asks a 7
        try a
    a try done 1: a done 1; asks b 1
        try b
    b try done 2: b done 2; asks c 2
        try c
    c try done 3: c done 3; COMMIT; CONFIRMED 3
    c try done 3: nothing
    c try refused late: CONTRADICTED c not done late
    ");
    assert_snapshot!(run(chain(), "
        a try done 1
        b try done 2
        c try refused full
        c try done 3
        c try done 3
        b undo struggling
        b undo struggling
        b undo refused broken
        a undo done
        op b retry
        b undo done
        a undo done
        b try done 2
        a undo done
    "), @"
    start: begins; asks a 7
        try a
    a try done 1: a done 1; asks b 1
        try b
    b try done 2: b done 2; asks c 2
        try c
    c try refused full: c refused full; ABORT: `c` was refused: full: no; undoes b
        undo b reply 2
    c try done 3: CONTRADICTED c done 3
        undo b reply 2
    c try done 3: nothing
    b undo struggling: flags b
        undo b reply 2
    b undo struggling: nothing
    b undo refused broken: PARKS b: its cancel was refused: broken: no
    a undo done: illegal: step `a` of this saga has not been asked
    op b retry: bob RetryNow b; resumes b
        undo b reply 2
    b undo done: b undone; undoes a
        undo a reply 1
    a undo done: a undone; CANCELLED
    b try done 2: nothing
    a undo done: nothing
    ");
}

#[test]
fn a_late_no_to_what_was_done_is_a_contradiction_once() {
    assert_snapshot!(run(refund(), "
        order try done 1
        order try refused spent
        order try refused spent
        order confirm done
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    order try refused spent: CONTRADICTED order not done spent
        try points
    order try refused spent: nothing
    order confirm done: illegal: step `order` of this saga has not been asked
    ");
}

#[test]
fn a_refused_confirm_parks_its_step_alone_and_a_person_or_a_late_answer_ends_it() {
    assert_snapshot!(run(refund(), "
        order try done 1
        points try done 2
        hold try done 3
        money try done 100
        points confirm refused no_try
        points confirm refused no_try
        order confirm done
        told try done 0
        soon try done 0
        hold confirm done
        hold confirm done
        hold confirm refused broken
        op points done null
    "), @"
    start: begins; asks order 7
        try order
    order try done 1: order done 1; asks points 2
        try points
    points try done 2: points done 2; asks hold 3
        try hold
    hold try done 3: hold done 3; asks money 3
        try money#1
    money try done 100: money done 100; COMMIT; asks soon 100
        confirm hold reply 3, confirm order reply 1, confirm points reply 2, try soon
    points confirm refused no_try: PARKS points: its confirm was refused: no_try: no
        confirm hold reply 3, confirm order reply 1, try soon
    points confirm refused no_try: nothing
    order confirm done: order confirmed; asks told 100
        confirm hold reply 3, try soon, try told
    told try done 0: told done 0
        confirm hold reply 3, try soon
    soon try done 0: soon done 0
        confirm hold reply 3
    hold confirm done: hold confirmed
    hold confirm done: nothing
    hold confirm refused broken: CONTRADICTED hold not done broken
    op points done null: bob MarkDone points; points confirmed; CONFIRMED 100
    ");
}

/// What fails is said by the value that is handed on: a mapper captures nothing.
fn mapped() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("mapped", 1);
    let first = saga.tcc("first", Hold).request(saga.input(), it);
    saga.tcc("bad", Hold).try_request(first, |f| if f == 13 { refuse("unlucky", "13") } else { Ok(f) });
    saga.tcc("panics", Hold).request(first, |f| if f == 14 { panic!("no 14") } else { f });
    saga.tcc("after_them", Hold).request(first, it);
    let money = saga.pivot("money", Pay).request(first, it);
    saga.on_confirmed(|then| {
        let wired =
            then.external("wired", Wire).try_request(money, |m| if m == 13 { refuse("unlucky", "13") } else { Ok(m) });
        then.retriable("told", Tell).request(wired, it);
        then.when(
            "large",
            money,
            |m| if m == 14 { panic!("no 14") } else { m > 100 },
            |then| {
                then.retriable("large_told", Tell).request(money, it);
            },
        );
    });
    saga.output(money, |m| if m == 15 { panic!("no 15") } else { m })
}

#[test]
fn b41_a_mapper_that_says_no_before_the_decision_unwinds_like_a_refusal_and_nothing_more_is_begun() {
    assert_snapshot!(run(mapped(), "
        first try done 13
        first undo done
    "), @"
    start: begins; asks first 7
        try first
    first try done 13: first done 13; bad refused unlucky; ABORT: `bad` was refused: unlucky: 13; undoes first
        undo first reply 13
    first undo done: first undone; CANCELLED
    ");
    assert_snapshot!(run(mapped(), "
        first try done 14
        bad undo done
        first undo done
    "), @"
    start: begins; asks first 7
        try first
    first try done 14: first done 14; asks bad 14; panics refused mapper_panicked; ABORT: `panics` was refused: mapper_panicked: no 14; undoes bad
        undo bad
    bad undo done: bad undone; undoes first
        undo first reply 14
    first undo done: first undone; CANCELLED
    ");
}

#[test]
fn b41_a_mapper_that_says_no_after_the_decision_parks_its_step_and_a_person_goes_on() {
    assert_snapshot!(run(mapped(), "
        first try done 1
        bad try done 1
        panics try done 1
        after_them try done 1
        money try done 13
        op wired retry
        op wired not_done
        first confirm done
        bad confirm done
        panics confirm done
        after_them confirm done
    "), @"
    start: begins; asks first 7
        try first
    first try done 1: first done 1; asks bad 1; asks panics 1; asks after_them 1
        try after_them, try bad, try panics
    bad try done 1: bad done 1
        try after_them, try panics
    panics try done 1: panics done 1
        try after_them
    after_them try done 1: after_them done 1; asks money 1
        try money#1
    money try done 13: money done 13; COMMIT; PARKS wired: its request could not be made: unlucky: 13; large not taken
        confirm after_them reply 1, confirm bad reply 1, confirm first reply 1, confirm panics reply 1
    op wired retry: bob RetryNow wired; resumes wired; PARKS wired: its request could not be made: unlucky: 13
        confirm after_them reply 1, confirm bad reply 1, confirm first reply 1, confirm panics reply 1
    op wired not_done: bob MarkNotDone wired; drops wired; drops told
        confirm after_them reply 1, confirm bad reply 1, confirm first reply 1, confirm panics reply 1
    first confirm done: first confirmed
        confirm after_them reply 1, confirm bad reply 1, confirm panics reply 1
    bad confirm done: bad confirmed
        confirm after_them reply 1, confirm panics reply 1
    panics confirm done: panics confirmed
        confirm after_them reply 1
    after_them confirm done: after_them confirmed; CONFIRMED 13
    ");
    assert_snapshot!(run(mapped(), "
        first try done 1
        bad try done 1
        panics try done 1
        after_them try done 1
        money try done 14
        op large done true
        op large not_done
    "), @"
    start: begins; asks first 7
        try first
    first try done 1: first done 1; asks bad 1; asks panics 1; asks after_them 1
        try after_them, try bad, try panics
    bad try done 1: bad done 1
        try after_them, try panics
    panics try done 1: panics done 1
        try after_them
    after_them try done 1: after_them done 1; asks money 1
        try money#1
    money try done 14: money done 14; COMMIT; asks wired 14; PARKS large: its request could not be made: mapper_panicked: no 14
        confirm after_them reply 1, confirm bad reply 1, confirm first reply 1, confirm panics reply 1, try wired#1
    op large done true: illegal: step `large` does not offer that now
    op large not_done: bob MarkNotDone large; drops large
        confirm after_them reply 1, confirm bad reply 1, confirm first reply 1, confirm panics reply 1, try wired#1
    ");
}

#[test]
fn an_output_that_cannot_be_made_parks_and_is_given_by_a_person() {
    let tail = "
        first try done 1
        bad try done 1
        panics try done 1
        after_them try done 1
        money try done 15
        first confirm done
        bad confirm done
        panics confirm done
        after_them confirm done
        wired try done 1
        told try done 1
        op output retry
        op output done 5
    ";
    assert_snapshot!(run(mapped(), tail).lines().rev().take(6).collect::<Vec<_>>().join("\n"), @"
    op output done 5: bob MarkDone output; output done 5; CONFIRMED 5
    op output retry: bob RetryNow output; resumes output; PARKS output: its request could not be made: mapper_panicked: no 15
    told try done 1: told done 1; PARKS output: its request could not be made: mapper_panicked: no 15
        try told
    wired try done 1: wired done 1; asks told 1
        try wired#1
    ");
}

#[test]
fn a_missed_deadline_aborts_before_the_decision_only_and_never_early() {
    let saga = || {
        let saga = Saga::<i64>::new("s", 1).deadline(minutes(1));
        let hold = saga.tcc("hold", Hold).request(saga.input(), it);
        saga.output((), |()| 0).tap(hold)
    };
    assert_snapshot!(run(saga(), "
        +59 deadline
        +1 deadline
        hold try done 1
        hold undo done
        deadline
    "), @"
    start: begins until 60s; asks hold 7
        deadline at 60s, try hold
    +59 deadline: nothing
    +1 deadline: ABORT: its deadline passed; undoes hold
        undo hold
    hold try done 1: nothing
    hold undo done: hold undone; CANCELLED
    deadline: nothing
    ");
    assert_snapshot!(run(saga(), "
        hold try done 1
        +60 deadline
        hold confirm done
        deadline
    "), @"
    start: begins until 60s; asks hold 7
        deadline at 60s, try hold
    hold try done 1: hold done 1; COMMIT
        confirm hold reply 1
    +60 deadline: nothing
    hold confirm done: hold confirmed; CONFIRMED 0
    deadline: nothing
    ");
}

/// So that a handle that nobody reads is no unused variable.
trait Tap: Sized {
    fn tap<T>(self, _: T) -> Self {
        self
    }
}
impl<A, B> Tap for Definition<A, B> {}

#[test]
fn what_cannot_happen_is_illegal_and_changes_nothing() {
    assert_snapshot!(run(refund(), "
        hold try done 1
        order confirm done
        order undo done
        order query absent
        order try closed
        order try retry busy
        op order done 1
        op order retry
        wake order
    "), @"
    start: begins; asks order 7
        try order
    hold try done 1: illegal: step `hold` of this saga has not been asked
    order confirm done: illegal: step `order` of this saga has not been asked
    order undo done: illegal: step `order` of this saga has not been asked
    order query absent: illegal: step `order`: a query is not answered `absent`
    order try closed: illegal: step `order`: a try is not answered `closed`
    order try retry busy: illegal: step `order`: a try is not answered `retry`
    op order done 1: illegal: step `order` does not offer that now
    op order retry: bob RetryNow order; resumes order
        try order
    wake order: nothing
    ");
}

#[test]
fn a_poisoned_saga_asks_nothing_until_a_person_says_so() {
    assert_snapshot!(run(refund(), "
        poisoned
        order try done 1
        op saga retry
        points try done 1
    "), @"
    start: begins; asks order 7
        try order
    poisoned: PARKS saga: handling it panicked three times: index out of bounds
    order try done 1: order done 1; asks points 2
    op saga retry: bob RetryNow saga; resumes saga
        try points
    points try done 1: points done 1; asks hold 2
        try hold
    ");
}
