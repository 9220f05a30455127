//! The shop's events, as a node shows them.

use std::sync::Arc;
use tercet::published::{EventSource, Paging, PublishedEvent, Wanted};
use tercet_participant::outbox::{EventFilter, EventNumber, Published, Subject};
use tercet_shop::{Shop, publishing::ORDERS};

/// The changes of that shop's orders.
#[derive(Clone)]
pub struct OrderEvents(pub Arc<Shop>);

impl EventSource for OrderEvents {
    fn page(&self, wanted: Wanted) -> Paging<'_> {
        let Wanted { subject, since, after, limit } = wanted;
        let filter = EventFilter { subject: subject.map(Subject), since, after: after.map(EventNumber) };
        Box::pin(async move {
            let page = self.0.order_events(&filter, limit).await.map_err(|fault| fault.to_string())?;
            Ok(page.into_iter().map(shown).collect())
        })
    }
}

fn shown(published: Published) -> PublishedEvent {
    let Published { number, event } = published;
    PublishedEvent {
        number: number.0,
        id: event.id(),
        source: ORDERS.to_owned(),
        subject: event.subject.0,
        version: event.version.0,
        kind: event.kind,
        at: event.at,
        data: event.data,
    }
}

impl std::fmt::Debug for OrderEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OrderEvents")
    }
}
