//! The face of the demo's shop: the engine of this process, by way of the order desk.

use super::{DemoError, Face};
use crate::{
    create_order::OrderRequest,
    desk::{self, DeskError, Submitted},
};
use std::time::Duration;
use tercet::{Engine, Env, Until};
use tercet_core::{BadName, DefinitionName, Millis, Payload, SagaKey};
use tercet_shop::ids::OrderId;

/// How long a buyer waits for the answer to a submission, by the demo's clock.
const LIMIT: Duration = Duration::from_secs(600);

/// An engine of this process.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) engine: Engine,
    pub(super) env: Env,
}

impl Face for Here {
    async fn submit(&self, order: &OrderRequest) -> Result<Option<OrderId>, DemoError> {
        match desk::submit(&self.engine, &self.env, order, LIMIT).await? {
            Submitted::Placed { order, .. } => Ok(Some(order)),
            Submitted::Refused(_) => Ok(None),
            Submitted::UnderWay { saga } => Err(DemoError::Bug(format!("order {saga} was not answered in {LIMIT:?}"))),
        }
    }

    async fn cancel(&self, order: &OrderRequest) -> Result<(), DemoError> {
        match desk::cancel(&self.engine, &order.key, order.user.as_str(), "changed my mind").await {
            // It was cancelled before a crash of the demo.
            Ok(()) | Err(DeskError::NotPending { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn start(&self, definition: &str, key: &str, input: Payload) -> Result<(), DemoError> {
        let (definition, key) = names(definition, key)?;
        self.engine.start(definition, None, key, input).await?;
        Ok(())
    }

    async fn started(&self, definition: &str, key: &str) -> Result<Option<Millis>, DemoError> {
        let (definition, key) = names(definition, key)?;
        Ok(self.engine.find(definition, key).await?.map(|row| row.started))
    }

    async fn ended(&self, definition: &str, key: &str) -> Result<(), DemoError> {
        let (definition, key) = names(definition, key)?;
        let Some(row) = self.engine.find(definition, key).await? else { return Ok(()) };
        self.engine.wait(row.id, Until::End).await?;
        Ok(())
    }
}

fn names(definition: &str, key: &str) -> Result<(DefinitionName, SagaKey), DemoError> {
    let bug = |error: BadName| DemoError::Bug(error.to_string());
    Ok((definition.parse().map_err(bug)?, key.parse().map_err(bug)?))
}
