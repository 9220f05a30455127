//! A conformance kit for any participant's tests: the orders in which calls can come, and what must hold after each.
//!
//! Give it a way to make a fresh participant, its requests, and what an observer sees of the participant's state. It plays each
//! case on a participant of its own, and says in which one, and why, something did not hold. A participant under test must take
//! its time from a [`TestClock`].
//!
//! ```
//! # use tercet_participant::conformance::{Calls, Holding, Subject, Violation, holding};
//! # async fn test<F: Future<Output = Subject>>(
//! #     fresh_inventory: impl Fn() -> F, accepted: Calls, refused: Calls,
//! # ) -> Result<(), Violation> {
//! // `fresh_inventory` makes a participant with stock for one reservation, and tells how to read its stock.
//! holding(fresh_inventory, &Holding::tcc(accepted).refusing(refused)).await
//! # }
//! ```

mod calls;
mod effects;
mod holds;

pub use calls::{Calls, CallsError, at};
pub use effects::{Executing, executing};
pub use holds::{Holding, holding};

use crate::{clock::Clock, database::Boxed};
use std::{
    any::Any,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tercet_core::{Answer, Call, Millis, Participant};

/// A clock that stands at [`at`] until it is moved.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(at().0)))
    }
}

impl TestClock {
    /// Lets that much time pass.
    pub fn pass(&self, time: Duration) {
        self.0.store(self.now().plus(time).0, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

/// A fresh participant under test.
pub struct Subject {
    participant: Arc<dyn Participant>,
    observe: Box<dyn Fn() -> Boxed<'static, String> + Send + Sync>,
    /// What must live as long as the participant: a temporary directory, say.
    _keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("participant", &self.participant.name()).finish_non_exhaustive()
    }
}

impl Subject {
    /// A participant, and how to read of its state what must be as it was after an undo: balances and holds, not a history.
    pub fn new<F>(participant: impl Participant, observe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = String> + Send + 'static,
    {
        let observe = Box::new(move || -> Boxed<'static, String> { Box::pin(observe()) });
        Self { participant: Arc::new(participant), observe, _keep: Box::new(()) }
    }

    /// Keeps `what` for as long as the participant.
    #[must_use]
    pub fn keeping(mut self, what: impl Any + Send + Sync) -> Self {
        self._keep = Box::new((self._keep, what));
        self
    }

    async fn call(&self, call: Call) -> Answer {
        self.participant.call(call).await
    }

    async fn observed(&self) -> String {
        (self.observe)().await
    }

    /// Asks all of them at once.
    async fn call_together(&self, calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
        together(calls.into_iter().map(|call| self.participant.call(call)).collect()).await
    }
}

/// Runs all of them side by side; answers in their order.
async fn together<T>(futures: Vec<Boxed<'_, T>>) -> Vec<T> {
    let mut running: Vec<(Boxed<'_, T>, Option<T>)> = futures.into_iter().map(|future| (future, None)).collect();
    std::future::poll_fn(|cx| {
        let mut all = true;
        for (future, answer) in &mut running {
            if answer.is_none() {
                match pin!(future).poll(cx) {
                    Poll::Ready(value) => *answer = Some(value),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// A case that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}")]
pub struct Violation {
    /// Which case.
    pub case: &'static str,
    /// What did not hold.
    pub what: String,
}

/// One case under way.
struct Case {
    name: &'static str,
    subject: Subject,
    before: String,
}

impl Case {
    async fn begin<F: Future<Output = Subject>>(name: &'static str, fresh: impl Fn() -> F) -> Self {
        let subject = fresh().await;
        let before = subject.observed().await;
        Self { name, subject, before }
    }

    fn fail<T>(&self, what: String) -> Result<T, Violation> {
        Err(Violation { case: self.name, what })
    }

    /// Asks, and expects an answer of that word.
    async fn expect(&self, call: Call, word: &str) -> Result<Answer, Violation> {
        let phase = call.phase;
        let answer = self.subject.call(call).await;
        if answer.as_str() == word {
            return Ok(answer);
        }
        self.fail(format!("{phase} was answered {answer:?}, and must be {word}"))
    }

    /// Asks again, and expects the very same answer and no other effect.
    async fn repeat(&self, call: Call, first: &Answer) -> Result<(), Violation> {
        let (phase, state) = (call.phase, self.subject.observed().await);
        let again = self.subject.call(call).await;
        if &again != first {
            return self.fail(format!("{phase} was answered {again:?} again, and {first:?} before"));
        }
        self.is(&state, "after it was asked again").await
    }

    async fn is(&self, state: &str, when: &str) -> Result<(), Violation> {
        let found = self.subject.observed().await;
        if found == state {
            return Ok(());
        }
        self.fail(format!("the state {when} is {found}, and must be {state}"))
    }

    async fn is_untouched(&self, when: &str) -> Result<(), Violation> {
        self.is(&self.before, when).await
    }

    /// The state differs from the first one: else the case would prove nothing.
    async fn is_touched(&self, when: &str) -> Result<(), Violation> {
        if self.subject.observed().await == self.before {
            return self.fail(format!("nothing can be observed {when}: this participant's effect is not visible"));
        }
        Ok(())
    }

    fn all_same(&self, answers: &[Answer], word: &str) -> Result<(), Violation> {
        match answers {
            [first, rest @ ..] if first.as_str() == word && rest.iter().all(|answer| answer == first) => Ok(()),
            _ => self.fail(format!("all answers must be one and the same `{word}`: {answers:?}")),
        }
    }
}
