//! Signals and waits: receipt, taking, and one verdict for ever.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, Saga, Verdict, minutes};

/// Holds, waits for *paid*, confirms.
fn order() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("order", 1).deadline(minutes(60));
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    let paid = saga.wait_for::<Paid>("paid").after(hold).within(minutes(30));
    saga.on_confirmed(|then| then.retriable("told", Tell).request(paid, |p| p.0));
    saga.on_cancelled(|then| then.retriable("back", Tell).request(paid.if_done(), |p| p.map_or(0, |p| p.0)));
    saga.output((), |()| 0)
}

#[test]
fn a_signal_that_completes_the_saga_is_accepted_in_the_very_entry_of_the_decision() {
    assert_snapshot!(run(order(), "
        hold try done 1
        tell-from paid s1 100
        tell-from paid s1 100
        tell-from paid s2 100
        hold confirm done
        told try done 1
        tell-from paid s3 100
        tell-from paid s1 100
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; paid waits until 1800s
        deadline at 3600s, wake paid at 1800s
    tell-from paid s1 100: receives s1 100; paid takes s1; COMMIT; s1 Accepted; asks told 100
        sends a verdict: Accepted
        confirm hold reply 1, try told
    tell-from paid s1 100: nothing
    tell-from paid s2 100: receives s2 100; s2 TooLate
        sends a verdict: TooLate
        confirm hold reply 1, try told
    hold confirm done: hold confirmed
        try told
    told try done 1: told done 1; CONFIRMED 0
    tell-from paid s3 100: receives s3 100; s3 TooLate
        sends a verdict: TooLate
    tell-from paid s1 100: nothing
    ");
}

#[test]
fn a_signal_is_kept_until_its_wait_is_reached_and_a_second_one_is_too_late_at_once() {
    assert_snapshot!(run(order(), "
        tell-from paid s1 100
        tell-from paid s2 100
        hold try done 1
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    tell-from paid s1 100: receives s1 100
        deadline at 3600s, try hold
    tell-from paid s2 100: receives s2 100; s2 TooLate
        sends a verdict: TooLate
        deadline at 3600s, try hold
    hold try done 1: hold done 1; paid waits until 1800s; paid takes s1; COMMIT; s1 Accepted; asks told 100
        sends a verdict: Accepted
        confirm hold reply 1, try told
    ");
}

#[test]
fn what_was_kept_or_taken_by_a_saga_that_aborts_is_too_late() {
    assert_snapshot!(run(order(), "
        tell-from paid s1 100
        hold try refused full
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    tell-from paid s1 100: receives s1 100
        deadline at 3600s, try hold
    hold try refused full: hold refused full; ABORT: `hold` was refused: full: no; asks back 0; s1 TooLate
        sends a verdict: TooLate
        try back
    ");
}

#[test]
fn a_missed_wait_aborts_and_its_journal_alone_decides_who_came_first() {
    assert_snapshot!(run(order(), "
        hold try done 1
        +1799 wake paid
        +1 wake paid
        tell-from paid s1 100
        hold undo done
        back try done 1
        tell-from paid s2 100
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; paid waits until 1800s
        deadline at 3600s, wake paid at 1800s
    +1799 wake paid: nothing
    +1 wake paid: paid missed; ABORT: `paid` was waited for in vain; undoes hold
        undo hold reply 1
    tell-from paid s1 100: receives s1 100; s1 TooLate
        sends a verdict: TooLate
        undo hold reply 1
    hold undo done: hold undone; asks back 0
        try back
    back try done 1: back done 1; CANCELLED
    tell-from paid s2 100: receives s2 100; s2 TooLate
        sends a verdict: TooLate
    ");
}

#[test]
fn a_signal_that_no_wait_takes_is_too_late_at_once() {
    assert_snapshot!(run(order(), "tell-from nothing s1 1"), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    tell-from nothing s1 1: receives s1 1; s1 TooLate
        sends a verdict: TooLate
        deadline at 3600s, try hold
    ");
}

fn two() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("two", 1);
    let first = saga.wait_for::<Paid>("first").within(minutes(30));
    let second = saga.wait_for::<Paid>("second").within(minutes(30));
    let third = saga.wait_for::<Paid>("third").within(minutes(30));
    saga.on_cancelled(|then| {
        then.retriable("back1", Tell).request(first.if_done(), |p| p.map_or(0, |p| p.0));
        then.retriable("back2", Tell).request(second.if_done(), |p| p.map_or(0, |p| p.0));
        then.retriable("back3", Tell).request(third.if_done(), |p| p.map_or(0, |p| p.0));
    });
    saga.output((), |()| 0)
}

#[test]
fn b35_what_a_wait_has_taken_in_stays_visible_to_the_undo_and_what_comes_later_is_too_late() {
    assert_snapshot!(run(two(), "
        tell-from paid s1 30
        tell-from paid s2 45
        cancel
        tell-from paid s3 5
        back1 try done 1
        back2 try done 1
        back3 try done 1
    "), @"
    start: begins; first waits until 1800s; second waits until 1800s; third waits until 1800s
        wake first at 1800s, wake second at 1800s, wake third at 1800s
    tell-from paid s1 30: receives s1 30; first takes s1
        wake second at 1800s, wake third at 1800s
    tell-from paid s2 45: receives s2 45; second takes s2
        wake third at 1800s
    cancel: ABORT: ann asked for it: changed her mind; asks back1 30; asks back2 45; asks back3 0; s1 TooLate; s2 TooLate
        sends a verdict: TooLate
        sends a verdict: TooLate
        try back1, try back2, try back3
    tell-from paid s3 5: receives s3 5; s3 TooLate
        sends a verdict: TooLate
        try back1, try back2, try back3
    back1 try done 1: back1 done 1
        try back2, try back3
    back2 try done 1: back2 done 1
        try back3
    back3 try done 1: back3 done 1; CANCELLED
    ");
}

fn settlements() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("settlements", 1);
    let came = saga.for_each(
        "parts",
        saga.input(),
        |n| (0..n - 4).collect::<Vec<i64>>(),
        |each, _| each.wait_for::<Paid>("settled").within(minutes(30)).if_done(),
    );
    saga.on_cancelled(|then| {
        then.retriable("back", Tell).request(came, |came| came.into_iter().flatten().map(|p: Paid| p.0).sum());
    });
    saga.output((), |()| 0)
}

#[test]
fn b35_a_fan_out_of_waits_shows_the_undo_what_arrived() {
    assert_snapshot!(run(settlements(), "
        tell paid s1 30
        tell paid s2 45
        cancel
    "), @"
    start: begins; parts fans out [0,1,2]; parts[0].settled waits until 1800s; parts[1].settled waits until 1800s; parts[2].settled waits until 1800s
        wake parts[0].settled at 1800s, wake parts[1].settled at 1800s, wake parts[2].settled at 1800s
    tell paid s1 30: receives s1 30; parts[0].settled takes s1
        wake parts[1].settled at 1800s, wake parts[2].settled at 1800s
    tell paid s2 45: receives s2 45; parts[1].settled takes s2
        wake parts[2].settled at 1800s
    cancel: ABORT: ann asked for it: changed her mind; asks back 75; s1 TooLate; s2 TooLate
        try back
    ");
}

/// The window is in the data: a reply of -1 says none, 7 says seven minutes.
fn window() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("window", 1);
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    let paid = saga
        .wait_for::<Paid>("paid")
        .within_from(hold, |minutes| tercet_core::minutes(u64::try_from(minutes).unwrap_or(0)));
    saga.output(paid, |p| p.0)
}

#[test]
fn a_wait_begins_with_the_data_that_has_its_limit_and_the_time_is_journaled() {
    assert_snapshot!(run(window(), "
        +60 hold try done 7
        +419 wake paid
        +1 wake paid
    "), @"
    start: begins; asks hold 7
        try hold
    +60 hold try done 7: hold done 7; paid waits until 480s
        wake paid at 480s
    +419 wake paid: nothing
    +1 wake paid: paid missed; ABORT: `paid` was waited for in vain; undoes hold
        undo hold reply 7
    ");
    assert_snapshot!(run(window(), "
        tell paid s1 100
        +60 hold try done 7
    "), @"
    start: begins; asks hold 7
        try hold
    tell paid s1 100: receives s1 100
        try hold
    +60 hold try done 7: hold done 7; paid waits until 480s; paid takes s1; COMMIT; s1 Accepted
        confirm hold reply 7
    ");
}

#[test]
fn a_limit_that_is_no_time_to_wait_for_is_a_refusal_of_the_wait() {
    assert_snapshot!(run(window(), "hold try done -1"), @"
    start: begins; asks hold 7
        try hold
    hold try done -1: hold done -1; paid refused unusable_wait; ABORT: `paid` was refused: unusable_wait: a wait of 0 s: it must be above zero and at most ten years; undoes hold
        undo hold reply -1
    ");
    assert_snapshot!(run(window(), "hold try done 9000000"), @"
    start: begins; asks hold 7
        try hold
    hold try done 9000000: hold done 9000000; paid refused unusable_wait; ABORT: `paid` was refused: unusable_wait: a wait of 540000000 s: it must be above zero and at most ten years; undoes hold
        undo hold reply 9000000
    ");
}

fn silence() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("silence", 1);
    let said = saga.wait_for::<Paid>("said").within_or(minutes(1), |()| Paid(-1));
    saga.on_confirmed(|then| {
        let again = then.wait_for::<Paid>("again").after(said).within_or(minutes(1), |()| Paid(-2));
        then.retriable("told", Tell).request((said, again), |(s, a)| s.0 + a.0);
    });
    saga.output(said, |s| s.0)
}

#[test]
fn a_wait_with_a_value_of_its_own_goes_on_and_after_the_decision_the_taking_is_the_verdict() {
    assert_snapshot!(run(silence(), "
        +60 wake said
        wake said
        tell-from paid s1 5
        tell-from paid s2 5
        told try done 1
    "), @"
    start: begins; said waits until 60s
        wake said at 60s
    +60 wake said: said done -1; COMMIT; again waits until 120s
        wake again at 120s
    wake said: nothing
    tell-from paid s1 5: receives s1 5; again takes s1; s1 Accepted; asks told 4
        sends a verdict: Accepted
        try told
    tell-from paid s2 5: receives s2 5; s2 TooLate
        sends a verdict: TooLate
        try told
    told try done 1: told done 1; CONFIRMED -1
    ");
    assert_snapshot!(run(silence(), "
        tell-from paid s1 5
        tell-from paid s2 6
        tell-from paid s3 7
        told try done 1
    "), @"
    start: begins; said waits until 60s
        wake said at 60s
    tell-from paid s1 5: receives s1 5; said takes s1; COMMIT; s1 Accepted; again waits until 60s
        sends a verdict: Accepted
        wake again at 60s
    tell-from paid s2 6: receives s2 6; again takes s2; s2 Accepted; asks told 11
        sends a verdict: Accepted
        try told
    tell-from paid s3 7: receives s3 7; s3 TooLate
        sends a verdict: TooLate
        try told
    told try done 1: told done 1; CONFIRMED 5
    ");
}

fn teller() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("teller", 1);
    let record = saga.tcc("record", Hold).request(saga.input(), it);
    saga.on_confirmed(|then| {
        let told = then.signal::<Paid>("tell_order").to("order", record, |r| format!("o-{r}")).request(record, Paid);
        then.when("late", told, Verdict::is_too_late, |then| {
            then.retriable("give_back", Tell).request(record, it);
        });
    });
    saga.output((), |()| 0)
}

#[test]
fn a_signal_step_waits_for_the_verdict() {
    assert_snapshot!(run(teller(), r#"
        record try done 9
        record confirm done
        tell_order try pending null
        tell_order try done "too_late"
        tell_order try done "too_late"
        give_back try done 1
    "#), @r#"
    start: begins; asks record 7
        try record
    record try done 9: record done 9; COMMIT
        confirm record reply 9
    record confirm done: record confirmed; asks tell_order 9 bank.paid/1 to order/o-9
        tell tell_order 9
    tell_order try pending null: tell_order pending null
        tell tell_order 9
    tell_order try done "too_late": tell_order done "too_late"; late taken; asks give_back 9
        try give_back
    tell_order try done "too_late": nothing
    give_back try done 1: give_back done 1; CONFIRMED 0
    "#);
}

#[test]
fn a_receiver_that_nobody_knows_is_unknown_and_parks() {
    assert_snapshot!(run(teller(), r#"
        record try done 9
        record confirm done
        tell_order try*12 exhausted
        tell_order try done "accepted"
    "#), @r#"
    start: begins; asks record 7
        try record
    record try done 9: record done 9; COMMIT
        confirm record reply 9
    record confirm done: record confirmed; asks tell_order 9 bank.paid/1 to order/o-9
        tell tell_order 9
    tell_order try*12 exhausted: PARKS tell_order: no definite answer in all attempts and queries allowed: no answer in time
    tell_order try done "accepted": tell_order done "accepted"; late not taken; CONFIRMED 0
    "#);
}
