//! The subscriptions of one connection, from their beginning to their end.

use super::{
    desk::Desk,
    discovery::{self, Instance},
};
use futures_util::{
    Stream, StreamExt,
    stream::{SelectAll, select_all},
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tercet_nats::{
    async_nats::{Client, Message, SubscribeError, Subscriber},
    protocol::{QUEUE_GROUP, subjects},
    settled,
};
use tokio::{sync::watch, task::JoinHandle};

/// How long nothing is sent while subscriptions end. The client forgets a subscription when it next has anything to do: until then
/// it still takes in what the server had sent before it heard of it.
const QUIET: Duration = Duration::from_millis(20);

/// How long calls that are under way may take when no more are taken in.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to end, and has answered what was there.
    Drained,
    /// The connection ended for good.
    Lost,
}

/// One connection's subscriptions.
pub(super) struct Session {
    desk: Arc<Desk>,
    client: Client,
    calls: SelectAll<Routed>,
    shown: JoinHandle<()>,
}

/// Calls of one endpoint.
struct Routed {
    service: usize,
    endpoint: usize,
    calls: Subscriber,
}

impl Stream for Routed {
    type Item = (usize, usize, Message);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (service, endpoint) = (self.service, self.endpoint);
        self.calls.poll_next_unpin(cx).map(|call| call.map(|call| (service, endpoint, call)))
    }
}

impl Session {
    pub(super) async fn open(desk: Arc<Desk>, client: Client) -> Result<Self, SubscribeError> {
        let mut calls = Vec::new();
        for (service, served) in desk.services.iter().enumerate() {
            for (endpoint, at) in served.endpoints.iter().enumerate() {
                let Some(Ok(subjects)) = at.contracts.first().map(|contract| subjects(&desk.namespace, contract))
                else {
                    continue;
                };
                let calls_there = client.queue_subscribe(subjects, QUEUE_GROUP.to_owned()).await?;
                calls.push(Routed { service, endpoint, calls: calls_there });
            }
        }
        let instances: Vec<_> = desk.services.iter().map(|service| Instance::new(&client, service.name())).collect();
        let shown = discovery::subscribe(&client, &instances).await?;
        let shown = tokio::spawn(discovery::answer(desk.clone(), client.clone(), instances, shown));
        // The server knows of it before anybody is told that calls can come.
        settled(&client).await;
        Ok(Self { desk, client, calls: select_all(calls), shown })
    }

    /// Takes calls in until it is told to stop; then answers those that are there.
    pub(super) async fn run(mut self, stop: &mut watch::Receiver<bool>) -> Ended {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                is_there = self.take_in() => if !is_there {
                    return Ended::Lost;
                },
            }
        }
        {
            let _shut = self.desk.gate.write().await;
            for endpoint in self.calls.iter_mut() {
                drop(endpoint.calls.drain().await);
            }
            tokio::time::sleep(QUIET).await;
        }
        let rest = async {
            while self.take_in().await {}
            let all = u32::try_from(self.desk.concurrency).unwrap_or(u32::MAX);
            drop(self.desk.permits.acquire_many(all).await);
            settled(&self.client).await;
        };
        if tokio::time::timeout(DRAIN_MAX, rest).await.is_err() {
            tracing::warn!("calls under way did not end in time; they are asked again");
        }
        Ended::Drained
    }

    /// Takes one call in, once there is room for it; says whether there will be more.
    async fn take_in(&mut self) -> bool {
        let Ok(permit) = self.desk.permits.clone().acquire_owned().await else { return false };
        let Some((service, endpoint, message)) = self.calls.next().await else { return false };
        let (desk, client) = (self.desk.clone(), self.client.clone());
        tokio::spawn(async move {
            desk.handle(&client, service, endpoint, message).await;
            drop(permit);
        });
        true
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shown.abort();
    }
}
