//! Playing a story: what the buyer does, one thing after the other. Every step may be done again after a crash: keys make it once.

use super::{
    DemoError,
    cases::{Request, id, payload},
    stories::{Plot, Story},
};
use crate::{
    create_order::{self, OrderRequest},
    payment::PaymentRequest,
    refund::RefundRequest,
};
use std::{future::Future, time::Duration};
use tercet_core::{Millis, Payload};
use tercet_shop::{
    channel::How,
    ids::OrderId,
    orders::{Goods, Part},
    shares::OnSpent,
};

/// Where buyers and the shop's people come in: the engine of this process, or the API of a node.
pub trait Face: Clone + Send + Sync + 'static {
    /// Submits an order; says which it became, if it is placed.
    fn submit(&self, order: &OrderRequest) -> impl Future<Output = Result<Option<OrderId>, DemoError>> + Send;

    /// Asks for an order to be cancelled. That it is too late is no error.
    fn cancel(&self, order: &OrderRequest) -> impl Future<Output = Result<(), DemoError>> + Send;

    /// Starts a saga, once for its key.
    fn start(&self, definition: &str, key: &str, input: Payload) -> impl Future<Output = Result<(), DemoError>> + Send;

    /// When the saga under that key was started, if it was.
    fn started(&self, definition: &str, key: &str) -> impl Future<Output = Result<Option<Millis>, DemoError>> + Send;

    /// Comes back when the saga under that key has ended; at once when there is none.
    fn ended(&self, definition: &str, key: &str) -> impl Future<Output = Result<(), DemoError>> + Send;
}

/// A story's stage: the shop, by one of its faces.
#[derive(Clone, Debug)]
pub struct Stage<F>(pub F);

impl<F: Face> Stage<F> {
    /// Plays a story to its end, but for sagas that a person must look at.
    ///
    /// # Errors
    /// When the face fails, or says what cannot be.
    pub async fn play(&self, story: &Story) -> Result<(), DemoError> {
        let Some(order) = self.0.submit(&story.order).await? else { return Ok(()) };
        match story.plot {
            Plot::WantsTooMuch => {}
            Plot::Cancels => self.0.cancel(&story.order).await?,
            Plot::Pays | Plot::PaysLate | Plot::Abandons => self.pay(story, &order, 1).await?,
            Plot::ClicksFiveTimes => {
                self.click_again(story, &order).await?;
                self.pay(story, &order, 1).await?;
            }
            Plot::PaysTwice => {
                self.pay(story, &order, 1).await?;
                self.pay(story, &order, 2).await?;
            }
            Plot::PaysAndRegrets => {
                self.pay(story, &order, 1).await?;
                self.order_at_rest(story).await?;
                self.regret(story, &order).await?;
            }
        }
        self.order_at_rest(story).await
    }

    /// The same cart four times more, all at once: every answer is the first order.
    async fn click_again(&self, story: &Story, order: &OrderId) -> Result<(), DemoError> {
        let clicks = (0..4).map(|_| {
            let (face, order) = (self.0.clone(), story.order.clone());
            tokio::spawn(async move { face.submit(&order).await })
        });
        for click in clicks.collect::<Vec<_>>() {
            let answer = click.await.map_err(|e| DemoError::Bug(e.to_string()))??;
            if answer.as_ref() != Some(order) {
                return Err(DemoError::Bug(format!("a second click on {order} was answered with {answer:?}")));
            }
        }
        Ok(())
    }

    async fn pay(&self, story: &Story, order: &OrderId, attempt: u32) -> Result<(), DemoError> {
        let expires_at_ms = if story.plot == Plot::Abandons { Some(self.closes_at_ms(story).await?) } else { None };
        let at_once = story.plot == Plot::Pays && story.number.is_multiple_of(5);
        let request = PaymentRequest {
            id: story.payment(attempt)?,
            order: order.clone(),
            order_saga_key: story.order.key.clone(),
            user: story.order.user.clone(),
            amount: story.order.shown,
            attempt,
            how: if at_once { How::DirectDebit } else { How::PayLink },
            expires_at_ms,
        };
        self.0.start("payment", request.id.as_str(), payload(&request)?).await
    }

    /// When the order closes by itself.
    async fn closes_at_ms(&self, story: &Story) -> Result<i64, DemoError> {
        let key = story.order.key.as_str();
        let started = self.0.started(create_order::NAME, key).await?;
        let started = started.ok_or_else(|| DemoError::Bug(format!("the saga of {key} is gone")))?;
        Ok(started.plus(Duration::from_millis(story.order.pay_within_ms)).0)
    }

    async fn order_at_rest(&self, story: &Story) -> Result<(), DemoError> {
        self.0.ended(create_order::NAME, story.order.key.as_str()).await
    }

    async fn regret(&self, story: &Story, order: &OrderId) -> Result<(), DemoError> {
        let name = format!("regret-{}", story.number);
        let request = RefundRequest {
            id: id(&name)?,
            order: order.clone(),
            claim: id(&name)?,
            user: story.order.user.clone(),
            part: Part::Whole,
            goods: Goods::NotShipped,
            on_spent: OnSpent::Deduct,
            reason: "changed my mind".to_owned(),
        };
        self.0.start("refund", &name, payload(&request)?).await
    }

    /// Starts what was asked for on an earlier day's sale.
    ///
    /// # Errors
    /// When the face fails.
    pub async fn ask(&self, request: &Request) -> Result<(), DemoError> {
        self.0.start(request.definition, &request.key, request.input.clone()).await
    }
}
