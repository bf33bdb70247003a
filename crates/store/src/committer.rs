//! Commits together what arrives together: one durable commit answers all batches that came while the one before was under way.

use crate::batch::{AgentBatch, Committed};
use crate::commit::check;
use crate::counters::add;
use crate::error::StoreError;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Longest wait of the first batch of a commit for others to join it. A commit itself takes about as long.
const GATHER: Duration = Duration::from_millis(4);
/// Most batches of one commit: each is a line in the table's log, of about 100 bytes.
const BATCHES_MAX: usize = 500;
/// Most KiB of batches of one commit; a data file of a few MiB syncs within some 10 ms.
const COMMIT_KIB_MAX: u32 = 16 << 10;
/// Most KiB of batches that wait or are being committed. More are refused, so that agents, which keep them anyway, wait instead of this program.
const QUEUE_KIB_MAX: u32 = 64 << 10;

/// A queue in front of [`Store::commit`]. Clones share it; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Committer {
    store: Arc<Store>,
    queue: mpsc::UnboundedSender<Waiting>,
    /// A permit for each KiB that may still enter: what bounds the queue.
    room: Arc<Semaphore>,
}

struct Waiting {
    batch: AgentBatch,
    kib: u32,
    done: oneshot::Sender<Result<Committed, Arc<StoreError>>>,
    _room: OwnedSemaphorePermit,
}

impl Committer {
    /// Starts the task that commits.
    #[expect(clippy::disallowed_methods, reason = "the permits of `room` bound what waits, by bytes and not by number")]
    pub fn start(store: Arc<Store>) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(run(Arc::clone(&store), waiting));
        Self { store, queue, room: Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize)) }
    }

    /// Stores one batch; returns when it is durable. [`StoreError::Busy`] at once if too much is waiting.
    pub async fn commit(&self, batch: AgentBatch) -> Result<Committed, Arc<StoreError>> {
        check(&batch).map_err(Arc::new)?;
        let kib = kib(&batch).min(QUEUE_KIB_MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            add(&self.store.counting.queue_refused, 1);
            return Err(Arc::new(StoreError::Busy));
        };
        let (done, answer) = oneshot::channel();
        let closed = || Arc::new(StoreError::Closed);
        self.queue.send(Waiting { batch, kib, done, _room: room }).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn run(store: Arc<Store>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(first) = queue.recv().await {
        let until = Instant::now() + GATHER;
        let mut kib = first.kib;
        let mut together = vec![first];
        while together.len() < BATCHES_MAX && kib < COMMIT_KIB_MAX {
            let Ok(Some(next)) = timeout_at(until, queue.recv()).await else { break };
            kib += next.kib;
            together.push(next);
        }
        let (batches, waiting): (Vec<_>, Vec<_>) = together.into_iter().map(|w| (w.batch, (w.done, w._room))).unzip();
        match store.commit(&batches).await {
            // Who went away needs no answer: a later Hello tells what is stored.
            Ok(outcome) => waiting.into_iter().zip(outcome).for_each(|((done, _), committed)| drop(done.send(Ok(committed)))),
            Err(error) => {
                let error = Arc::new(error);
                tracing::warn!(batches = batches.len(), %error, "commit failed, nothing of it is acknowledged");
                waiting.into_iter().for_each(|(done, _)| drop(done.send(Err(Arc::clone(&error)))));
            }
        }
    }
}

/// Memory that a batch holds, about: a row's dimensions are some 24 short strings.
fn kib(batch: &AgentBatch) -> u32 {
    let rows: usize =
        batch.rows.iter().map(|row| 1024 + row.values.len() * 16 + row.histograms.iter().map(|(_, h)| h.pairs().len() * 16).sum::<usize>()).sum();
    u32::try_from(1 + (rows + batch.endpoints.len() * 512) / 1024).unwrap_or(u32::MAX)
}
