//! The thread that takes out of the ring what connections say, and adds what it finds to their flows.

use super::calls::{Calls, Found};
use edgescope_probe::{Http2Counter, Http2Reader, Probe, ProbeError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A look at the ring at least so often.
const LOOK: Duration = Duration::from_secs(1);
/// And at most so often.
const PAUSE: Duration = Duration::from_millis(10);
/// Records before what they said is counted: what a crash may cost beside the ring.
const RECORDS_MAX: usize = 4_096;
/// Times that, in one look: three rings full.
const ROUNDS_MAX: usize = 16;

/// Reads while it lives. Dropping it ends the thread, after a last look.
#[derive(Debug)]
pub struct Watch {
    reading: Arc<Mutex<Reading>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Reading {
    reader: Http2Reader,
    counter: Http2Counter,
    calls: Arc<Mutex<Calls>>,
}

impl Watch {
    /// `None` if the probe does not look for HTTP/2.
    ///
    /// # Errors
    /// If the kernel refuses what this needs.
    pub fn start(probe: &Probe) -> Result<Option<Self>, ProbeError> {
        let calls = Arc::new(Mutex::new(Calls::default()));
        let hearing = Arc::clone(&calls);
        let Some((reader, counter)) = probe.http2(move |record| lock(&hearing).take(record))? else { return Ok(None) };
        let alarm = reader.alarm()?;
        let reading = Arc::new(Mutex::new(Reading { reader, counter, calls }));
        let stop = Arc::new(AtomicBool::new(false));
        let (beside, stopped) = (Arc::clone(&reading), Arc::clone(&stop));
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                alarm.wait(LOOK);
                tell(lock(&beside).look());
                std::thread::park_timeout(PAUSE);
            }
        };
        let thread = std::thread::Builder::new().name("http2".into()).spawn(work);
        let thread = thread.map_err(|source| ProbeError::Load(format!("a thread that reads HTTP/2: {source}")))?;
        Ok(Some(Self { reading, stop, thread: Some(thread) }))
    }

    /// What was said up to now is counted when this returns.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn look(&self) -> Result<(), ProbeError> {
        lock(&self.reading).look()
    }
}

impl Reading {
    fn look(&mut self) -> Result<(), ProbeError> {
        for _ in 0..ROUNDS_MAX {
            let taken = self.reader.drain(RECORDS_MAX)?;
            let Found { counts, unreadable, resumed, ended } = lock(&self.calls).found();
            for ((key, client_port), count) in &counts {
                self.counter.add(key, *client_port, count)?;
            }
            if unreadable > 0 {
                self.counter.unreadable(unreadable)?;
            }
            for ((id, by_client), at) in resumed {
                // Where there is no room for it, the next piece that comes tries again.
                self.counter.resume(id, by_client, at)?;
            }
            ended.into_iter().try_for_each(|id| self.counter.forget(id))?;
            if taken < RECORDS_MAX {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the reader of HTTP/2 has died");
            }
        }
        tell(self.look());
    }
}

fn tell(looked: Result<(), ProbeError>) {
    if let Err(error) = looked {
        tracing::warn!(%error, "what HTTP/2 said could not be counted");
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
