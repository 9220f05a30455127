//! Playing a story: what the buyer does, one thing after the other. Every step may be done again after a crash: keys make it once.

use super::{
    DemoError,
    cases::{Request, id, payload},
    stories::{Plot, Story},
};
use crate::{
    create_order,
    desk::{self, DeskError, Submitted},
    payment::PaymentRequest,
    refund::RefundRequest,
};
use std::{str::FromStr, time::Duration};
use tercet::{Engine, Env, Until};
use tercet_core::{DefinitionName, Payload, SagaId, SagaKey};
use tercet_shop::{
    channel::How,
    ids::OrderId,
    orders::{Goods, Part},
    shares::OnSpent,
};

/// How long a buyer waits for the answer to a submission, by the demo's clock.
const LIMIT: Duration = Duration::from_secs(600);

/// What playing needs.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) env: Env,
}

impl Stage {
    /// Plays a story to its end, but for sagas that a person must look at.
    pub(super) async fn play(&self, story: &Story) -> Result<(), DemoError> {
        let Some(order) = self.submit(story).await? else { return Ok(()) };
        match story.plot {
            Plot::WantsTooMuch => {}
            Plot::Cancels => self.cancel(story).await?,
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

    /// The order, if it is placed.
    async fn submit(&self, story: &Story) -> Result<Option<OrderId>, DemoError> {
        match desk::submit(&self.engine, &self.env, &story.order, LIMIT).await? {
            Submitted::Placed { order, .. } => Ok(Some(order)),
            Submitted::Refused(_) => Ok(None),
            Submitted::UnderWay { saga } => Err(DemoError::Bug(format!("order {saga} was not answered in {LIMIT:?}"))),
        }
    }

    /// The same cart four times more, all at once: every answer is the first order.
    async fn click_again(&self, story: &Story, order: &OrderId) -> Result<(), DemoError> {
        let clicks = (0..4).map(|_| {
            let (stage, story) = (self.clone(), story.clone());
            tokio::spawn(async move { stage.submit(&story).await })
        });
        for click in clicks.collect::<Vec<_>>() {
            let answer = click.await.map_err(|e| DemoError::Bug(e.to_string()))??;
            if answer.as_ref() != Some(order) {
                return Err(DemoError::Bug(format!("a second click on {order} was answered with {answer:?}")));
            }
        }
        Ok(())
    }

    async fn cancel(&self, story: &Story) -> Result<(), DemoError> {
        let by = story.order.user.to_string();
        match desk::cancel(&self.engine, &story.order.key, &by, "changed my mind").await {
            // It was cancelled before a crash of the demo.
            Ok(()) | Err(DeskError::NotPending { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
        self.start("payment", request.id.as_str(), payload(&request)?).await.map(drop)
    }

    /// When the order closes by itself.
    async fn closes_at_ms(&self, story: &Story) -> Result<i64, DemoError> {
        let (definition, key) = names(create_order::NAME, story.order.key.as_str())?;
        let row = self.engine.find(definition, key).await?;
        let row = row.ok_or_else(|| DemoError::Bug(format!("the saga of {} is gone", story.order.key)))?;
        Ok(row.started.plus(Duration::from_millis(story.order.pay_within_ms)).0)
    }

    async fn order_at_rest(&self, story: &Story) -> Result<(), DemoError> {
        let (definition, key) = names(create_order::NAME, story.order.key.as_str())?;
        let Some(row) = self.engine.find(definition, key).await? else { return Ok(()) };
        self.engine.wait(row.id, Until::End).await?;
        Ok(())
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
        self.start("refund", &name, payload(&request)?).await.map(drop)
    }

    /// Starts what was asked for on an earlier day's sale.
    pub(super) async fn ask(&self, request: &Request) -> Result<(), DemoError> {
        self.start(request.definition, &request.key, request.input.clone()).await.map(drop)
    }

    /// Starts a saga, once.
    async fn start(&self, definition: &str, key: &str, input: Payload) -> Result<SagaId, DemoError> {
        let (definition, key) = names(definition, key)?;
        Ok(self.engine.start(definition, None, key, input).await?.id)
    }
}

fn names(definition: &str, key: &str) -> Result<(DefinitionName, SagaKey), DemoError> {
    let bug = |error: tercet_core::BadName| DemoError::Bug(error.to_string());
    Ok((DefinitionName::from_str(definition).map_err(bug)?, SagaKey::from_str(key).map_err(bug)?))
}
