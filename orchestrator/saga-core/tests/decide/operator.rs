//! What a person is offered, and that nothing else is taken.

use crate::support::*;
use insta::assert_snapshot;
use tercet_core::{Definition, Saga};

fn saga() -> Definition<i64, i64> {
    let saga = Saga::<i64>::new("s", 1);
    let hold = saga.tcc("hold", Hold).request(saga.input(), it);
    let money = saga.pivot("money", PayClosing).request(hold, it);
    saga.on_confirmed(|then| then.retriable("told", Tell).request(money, it));
    saga.output(money, it)
}

#[test]
fn only_what_is_offered_is_taken() {
    assert_snapshot!(run(saga(), "
        op nobody retry
        op hold query
        op hold not_done
        op hold retry
        hold try done 1
        op hold retry
        op money retry
        op money query
        +10 money try silent
        op money retry
        money try done 1
        op money retry
        op money force
        op told done 1
        told try refused no_such_user
        op told done 1
    "), @"
    start: begins; asks hold 7
        try hold
    op nobody retry: illegal: step `nobody` does not offer that now
    op hold query: illegal: step `hold` does not offer that now
    op hold not_done: illegal: step `hold` does not offer that now
    op hold retry: bob RetryNow hold; resumes hold
        try hold
    hold try done 1: hold done 1; asks money 1
        try money#1
    op hold retry: illegal: step `hold` does not offer that now
    op money retry: illegal: step `money` does not offer that now
    op money query: illegal: step `money` does not offer that now
    +10 money try silent: money unknown until 70s
        query money#1 at 70s
    op money retry: bob RetryNow money; asks money#2
        try money#2
    money try done 1: money done 1; COMMIT; asks told 1
        confirm hold reply 1, try told
    op money retry: illegal: step `money` does not offer that now
    op money force: illegal: step `money` does not offer that now
    op told done 1: illegal: step `told` does not offer that now
    told try refused no_such_user: PARKS told: its try was refused: no_such_user: no
        confirm hold reply 1
    op told done 1: bob MarkDone told; told done 1
        confirm hold reply 1
    ");
}

#[test]
fn retry_now_of_what_is_not_parked_asks_at_once() {
    assert_snapshot!(run(saga(), "
        hold try*3 struggling
        op hold retry
        hold try*3 struggling
    "), @"
    start: begins; asks hold 7
        try hold
    hold try*3 struggling: flags hold
        try hold
    op hold retry: bob RetryNow hold; resumes hold
        try hold
    hold try*3 struggling: flags hold
        try hold
    ");
}
