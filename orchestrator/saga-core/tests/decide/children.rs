//! Child sagas: asked, answered by their end, undone by another, and as the pivot.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, Saga, hours};

fn payment() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("payment", 2);
    let money = saga.pivot("money", Pay).request(saga.input(), it);
    saga.output(money, it)
}

fn refund() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("refund_money", 1);
    let money = saga.pivot("money", Pay).request(saga.input(), it);
    saga.output(money, it)
}

fn before() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("parent", 1);
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    let paid = saga.child("pay", payment).undone_by(refund, |(asked, paid)| asked + paid).input(hold, it);
    saga.tcc("ship", Hold).request(paid, it);
    saga.output((), |()| 0)
}

#[test]
fn a_childs_end_is_its_steps_answer() {
    assert_snapshot!(run(before(), "
        hold try done 1
        pay try done 50
        pay try done 50
        ship try done 2
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    pay try done 50: pay done 50; asks ship 50
        try ship
    pay try done 50: nothing
    ship try done 2: ship done 2; COMMIT
        confirm hold reply 1, confirm ship reply 2
    ");
    assert_snapshot!(run(before(), "
        hold try done 1
        pay try refused cancelled
        hold undo done
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    pay try refused cancelled: pay refused cancelled; ABORT: `pay` was refused: cancelled: no; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_confirmed_child_is_undone_by_another_saga_when_its_parent_aborts() {
    assert_snapshot!(run(before(), "
        hold try done 1
        pay try done 50
        ship try refused full
        pay undo done 1
        hold undo done
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    pay try done 50: pay done 50; asks ship 50
        try ship
    ship try refused full: ship refused full; ABORT: `ship` was refused: full: no; undoes pay by 51 saga refund_money@1/me/pay/undo
        sends an undo: 51 saga refund_money@1/me/pay/undo
    pay undo done 1: pay undone; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
    assert_snapshot!(run(before(), "
        hold try done 1
        pay try done 50
        ship try refused full
        pay undo refused cancelled
        op pay retry
        op pay done null
        hold undo done
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    pay try done 50: pay done 50; asks ship 50
        try ship
    ship try refused full: ship refused full; ABORT: `ship` was refused: full: no; undoes pay by 51 saga refund_money@1/me/pay/undo
        sends an undo: 51 saga refund_money@1/me/pay/undo
    pay undo refused cancelled: PARKS pay: its cancel was refused: cancelled: no
    op pay retry: illegal: step `pay` does not offer that now
    op pay done null: bob MarkDone pay; pay undone; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_cancel_is_passed_on_to_a_running_child_whose_end_is_the_answer() {
    assert_snapshot!(run(before(), "
        hold try done 1
        cancel
        pay try refused cancelled
        hold undo done
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    cancel: ABORT: ann asked for it: changed her mind; undoes pay
        sends a cancel to its child
    pay try refused cancelled: pay undone; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
    // It confirmed first: then it is undone.
    assert_snapshot!(run(before(), "
        hold try done 1
        cancel
        pay try done 50
        pay try done 50
        pay undo done 1
        hold undo done
    "), @"
    start: begins; asks hold 7
        try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
    cancel: ABORT: ann asked for it: changed her mind; undoes pay
        sends a cancel to its child
    pay try done 50: pay done 50; undoes pay by 51 saga refund_money@1/me/pay/undo
        sends an undo: 51 saga refund_money@1/me/pay/undo
    pay try done 50: nothing
    pay undo done 1: pay undone; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
}

fn as_pivot() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("parent", 1).deadline(hours(1));
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    let paid = saga.pivot_child("pay", payment).input(hold, it);
    saga.on_confirmed(|then| then.child("again", payment).input(paid, it));
    saga.output(paid, it)
}

#[test]
fn a_child_as_the_pivot_decides() {
    assert_snapshot!(run(as_pivot(), "
        hold try done 1
        pay try done 50
        hold confirm done
        again try refused cancelled
        op again retry
        op again done 5
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
        deadline at 3600s
    pay try done 50: pay done 50; COMMIT; asks again 50 saga payment@2/me/again
        sends a child: 50 saga payment@2/me/again
        confirm hold reply 1
    hold confirm done: hold confirmed
    again try refused cancelled: PARKS again: its try was refused: cancelled: no
    op again retry: illegal: step `again` does not offer that now
    op again done 5: bob MarkDone again; again done 5; CONFIRMED 50
    ");
    assert_snapshot!(run(as_pivot(), "
        hold try done 1
        pay try refused cancelled
        hold undo done
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
        deadline at 3600s
    pay try refused cancelled: pay refused cancelled; ABORT: `pay` was refused: cancelled: no; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
}

#[test]
fn a_deadline_asks_the_pivot_child_to_cancel_and_takes_its_end_for_the_answer() {
    assert_snapshot!(run(as_pivot(), "
        hold try done 1
        +3600 deadline
        deadline
        pay try refused cancelled
        hold undo done
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
        deadline at 3600s
    +3600 deadline: abort wanted: its deadline passed
        sends a cancel to its child
    deadline: nothing
    pay try refused cancelled: pay refused cancelled; ABORT: its deadline passed; undoes hold
        undo hold reply 1
    hold undo done: hold undone; CANCELLED
    ");
    assert_snapshot!(run(as_pivot(), "
        hold try done 1
        cancel
        pay try done 50
    "), @"
    start: begins until 3600s; asks hold 7
        deadline at 3600s, try hold
    hold try done 1: hold done 1; asks pay 1 saga payment@2/me/pay
        sends a child: 1 saga payment@2/me/pay
        deadline at 3600s
    cancel: abort wanted: ann asked for it: changed her mind
        sends a cancel to its child
    pay try done 50: pay done 50; COMMIT; asks again 50 saga payment@2/me/again
        sends a child: 50 saga payment@2/me/again
        confirm hold reply 1
    ");
}
