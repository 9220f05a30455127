//! The thread on which writes run: beside a busy runtime, whose tasks would keep every answer of the database waiting.

use crate::store::StoreError;
use std::{io, pin::Pin, thread};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs one write after the other; ends when it is dropped, after what it has been given.
pub(super) struct Writer(mpsc::UnboundedSender<Job>);

impl Writer {
    pub(super) fn spawn() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        thread::Builder::new().name("tercet-writer".to_owned()).spawn(move || {
            runtime.block_on(async {
                while let Some(job) = queue.recv().await {
                    // As a task, so that a panic ends the job alone; its caller sees that it broke off.
                    let _ = tokio::spawn(job).await;
                }
            });
        })?;
        Ok(Self(jobs))
    }

    /// Runs a write to its end, from now on, whether or not its caller waits for the answer.
    pub(super) fn run<T: Send + 'static>(
        &self, write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        let (done, ended) = oneshot::channel();
        let job = async move { drop(done.send(write.await)) };
        let taken = self.0.send(Box::pin(job)).is_ok();
        async move {
            if !taken {
                return Err(StoreError::Unavailable("the writing thread has ended: open the store again".to_owned()));
            }
            ended.await.unwrap_or_else(|_| Err(StoreError::Ambiguous("the writing task broke off".to_owned())))
        }
    }
}
