//! The chain's participant in a process of its own, called over NATS; and how many calls that way takes without an engine.

use super::{
    BenchError, bug,
    chain::{Link, Tally, Work, Worker, participant},
};
use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tercet::transport::{Nats, Transport};
use tercet_core::{Call, IdempotencyKey, Millis, Namespace, Operation, Payload, Phase, SagaId, ShardId, StepInstance};
use tercet_participant::nats::{Serving, Settings};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// What the other process says once it is there.
const READY: &str = "ready";

/// How long the bare calls are made.
const BARE: Duration = Duration::from_secs(2);

/// A process that has the participant.
pub(super) struct Remote {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    nats: Nats,
}

impl Remote {
    /// Starts it, and waits until it can be called.
    pub(super) async fn start(settings: &Settings, namespace: &Namespace) -> Result<Self, BenchError> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bench", "participant", "--namespace", namespace.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = process.stdout.take().ok_or_else(|| bug("the participant's process says nothing"))?;
        let mut said = BufReader::new(said).lines();
        if said.next_line().await?.as_deref() != Some(READY) {
            return Err(BenchError::Participant("it ended: see what it says above".to_owned()));
        }
        let nats = Nats::start(settings.clone(), namespace.clone()).await;
        let nats = nats.map_err(|error| BenchError::Participant(error.to_string()))?;
        Ok(Self { process, said, nats })
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.nats.clone())
    }

    /// Ends it; what it has done.
    pub(super) async fn end(mut self) -> Result<Tally, BenchError> {
        self.nats.close().await;
        drop(self.process.stdin.take());
        let tally = self.said.next_line().await?.unwrap_or_default();
        self.process.wait().await?;
        serde_json::from_str(&tally).map_err(bug)
    }

    /// Calls a second that so many callers get answered, each its next when it has its answer, with the chain's input and no engine.
    pub(super) async fn calls_per_s(&self, callers: usize) -> Result<f64, BenchError> {
        let until = Instant::now() + BARE;
        let answered = Arc::new(AtomicU64::new(0));
        let mut all = Vec::new();
        for number in 0..callers as u64 {
            let (transport, answered, call) = (self.transport(), answered.clone(), bare(number)?);
            all.push(tokio::spawn(async move {
                while Instant::now() < until {
                    if transport.call(call.clone()).await.is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        for caller in all {
            caller.await.map_err(bug)?;
        }
        Ok(answered.load(Ordering::Relaxed) as f64 / BARE.as_secs_f64())
    }
}

/// A query, which the chain's participant answers and does not count.
fn bare(number: u64) -> Result<Call, BenchError> {
    let request = Payload::of(&Link { number, text: "x".repeat(super::INPUT_BYTES) }).map_err(bug)?;
    let step: StepInstance = "a".parse().map_err(bug)?;
    let saga = SagaId::from_parts(number, [0; 10], ShardId::FIRST);
    Ok(Call {
        saga,
        key: IdempotencyKey::of_step(saga, &step),
        step,
        contract: Work::NAME.parse().map_err(bug)?,
        phase: Phase::Query,
        attempt: 1,
        issued: Millis(0),
        timeout: Duration::from_secs(10),
        expires: None,
        fence: false,
        request,
        reply: None,
    })
}

/// Serves the participant until its standard input ends, then says what it has done.
///
/// # Errors
/// When there is no way to NATS.
pub(super) async fn serve(settings: Settings, namespace: Namespace) -> Result<(), BenchError> {
    let worker = Arc::new(Worker::default());
    let serving = Serving::of([participant(&worker)], namespace).start(settings).await;
    let mut serving = serving.map_err(|error| BenchError::Participant(error.to_string()))?;
    serving.up().await;
    println!("{READY}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    serving.drain().await;
    println!("{}", serde_json::to_string(&worker.tally()).map_err(bug)?);
    Ok(())
}
