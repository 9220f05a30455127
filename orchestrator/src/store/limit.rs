//! The store's own limit: how many journal rows it takes through [`Store::commit`], without an engine.

use super::{Batch, Change, JournalRow, NodeId, Store, StoreError, join};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tercet_core::{Millis, SagaId};

/// What a store can do at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Journal rows a second.
    pub rows_per_s: f64,
    /// The median commit, in milliseconds.
    pub commit_ms_p50: f64,
}

/// Rows that one saga of the measurement gets, about what a chain of eight steps writes.
const ROWS_PER_SAGA: u32 = 10;

/// Writes `batches` batches of `rows_per_batch` journal rows, a row of `bytes_per_row` bytes for each of as many sagas, the way an
/// engine's batches come: each saga's next entry in each batch, new sagas after ten. The rows do not compress. It joins
/// the store as a node, which it leaves, and leaves its rows there: for a store of its own, not for one in use.
///
/// # Errors
/// When the store fails.
pub async fn measure(
    store: &dyn Store, rows_per_batch: u32, bytes_per_row: usize, batches: u32,
) -> Result<Limit, StoreError> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let node = join(store, NodeId(noise.next() as i64)).await?;
    let (mut sagas, mut took) = (Vec::new(), Vec::with_capacity(batches as usize));
    for number in 0..batches {
        if number % ROWS_PER_SAGA == 0 {
            sagas = (0..rows_per_batch).map(|_| noise.saga()).collect();
        }
        let seq = number % ROWS_PER_SAGA + 1;
        let change = |&saga: &SagaId| {
            let entry = JournalRow { saga, seq, at: Millis(0), entry: noise.bytes(bytes_per_row) };
            Arc::new(Change { entries: vec![entry], ..Change::default() })
        };
        let batch = Batch { starts: Vec::new(), changes: sagas.iter().map(change).collect() };
        let began = Instant::now();
        store.commit(node, batch).await?;
        took.push(began.elapsed());
    }
    if let Some(cluster) = store.cluster() {
        // Nobody is to wait for the end of its lease.
        cluster.leave(node.node).await?;
    }
    Ok(limit(rows_per_batch, took))
}

/// Time between commits (making the rows) does not count.
fn limit(rows_per_batch: u32, mut took: Vec<Duration>) -> Limit {
    took.sort_unstable();
    let all: Duration = took.iter().sum();
    let rows = f64::from(rows_per_batch) * took.len() as f64;
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let rows_per_s = if all.is_zero() { 0.0 } else { rows / all.as_secs_f64() };
    Limit { rows_per_s, commit_ms_p50: median.as_secs_f64() * 1e3 }
}

/// Bytes that do not compress, the same in every run (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// An id of now: two runs on one file do not meet.
    fn saga(&mut self) -> SagaId {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).to_be_bytes();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&ms[2..]);
        id[6..].copy_from_slice(&self.bytes(10));
        SagaId::from_bytes(id)
    }
}
