//! Answers of the workers, from this gateway's mailbox on the bus to the sessions it holds.
//!
//! One task reads the mailbox. Each session has a bounded queue; when a session's queue is full or the mailbox may
//! have missed something (the bus was away), the session is told to replay its own event stream instead, which holds
//! every event.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shared::{
    backoff::Backoff,
    bus::{Bus, BusError, Entry, Mail, MailboxReader},
    ids::SessionId,
    jobs::{SESSION_TTL, event_stream, gateway_mailbox},
    shutdown::CancellationToken,
};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Events waiting for one session. When it is full the session replays its stream: nothing is lost, it only reads again.
const QUEUE: usize = 128;
/// How long one read of the mailbox waits.
const BLOCK: Duration = Duration::from_millis(1000);

#[derive(Debug)]
struct Slot {
    queue: mpsc::Sender<Entry>,
    missed: Arc<AtomicBool>,
}

/// Where a session's answers are delivered; clones share it.
#[derive(Debug, Clone)]
pub struct Mailbox {
    name: Arc<str>,
    bus: Arc<dyn Bus>,
    slots: Arc<Mutex<HashMap<String, Slot>>>,
    metrics: Arc<Metrics>,
}

/// One session's end of the mailbox; dropping it gives the place back.
#[derive(Debug)]
pub struct Inbox {
    mailbox: Mailbox,
    stream: String,
    queue: mpsc::Receiver<Entry>,
    missed: Arc<AtomicBool>,
}

impl Mailbox {
    /// The mailbox of the gateway named `gateway`. What it misses is counted in `metrics`.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, gateway: &str, metrics: Arc<Metrics>) -> Self {
        Self { name: gateway_mailbox(gateway).into(), bus, slots: Arc::default(), metrics }
    }

    /// From now on events of `session` come to the returned inbox, and to no other.
    ///
    /// # Errors
    /// When the bus cannot route them.
    pub async fn open(&self, session: SessionId) -> Result<Inbox, BusError> {
        let stream = event_stream(session);
        let (sender, queue) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicBool::new(false));
        let slot = Slot { queue: sender, missed: Arc::clone(&missed) };
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.clone(), slot);
        let inbox = Inbox { mailbox: self.clone(), stream, queue, missed };
        inbox.renew().await?;
        Ok(inbox)
    }

    /// Reads the mailbox until `shutdown`. `up` is told whether the bus answers.
    pub async fn run(self, shutdown: CancellationToken, up: impl Fn(bool) + Send) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let failed = tokio::select! {
                () = shutdown.cancelled() => return,
                failed = self.read(&up, &mut backoff) => failed,
            };
            up(false);
            tracing::warn!(error = %failed, "the mailbox cannot be read; trying again");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(backoff.next_delay()) => (),
            }
        }
    }

    async fn read(&self, up: &(impl Fn(bool) + Send), backoff: &mut Backoff) -> BusError {
        let mut reader = match self.bus.mailbox(&self.name).await {
            Ok(reader) => reader,
            Err(error) => return error,
        };
        self.everyone_may_have_missed();
        up(true);
        loop {
            match next(reader.as_mut()).await {
                Ok(mails) => {
                    backoff.reset();
                    mails.into_iter().for_each(|mail| self.deliver(mail));
                }
                Err(error) => return error,
            }
        }
    }

    fn deliver(&self, mail: Mail) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(&mail.stream) else { return };
        if slot.queue.try_send(Entry { id: mail.entry, payload: mail.payload }).is_err() {
            slot.missed.store(true, Ordering::Release);
            self.metrics.mailbox_full.inc();
        }
    }

    fn everyone_may_have_missed(&self) {
        for slot in self.slots.lock().unwrap_or_else(PoisonError::into_inner).values() {
            slot.missed.store(true, Ordering::Release);
            self.metrics.mailbox_away.inc();
        }
    }
}

async fn next(reader: &mut dyn MailboxReader) -> Result<Vec<Mail>, BusError> {
    reader.next(BLOCK).await
}

impl Inbox {
    /// The next event; `None` once another inbox of this gateway was opened for the session. Cancel-safe. Pends while there
    /// is none.
    pub async fn next(&mut self) -> Option<Entry> {
        self.queue.recv().await
    }

    /// Whether events may have been missed since the last call, so that the event stream must be read again.
    #[must_use]
    pub fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// Marks events as missed, after a replay that failed.
    pub fn missed(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Keeps the route alive; to be called well within [`SESSION_TTL`].
    ///
    /// # Errors
    /// When the bus cannot be reached.
    pub async fn renew(&self) -> Result<(), BusError> {
        self.mailbox.bus.route(&self.stream, &self.mailbox.name, SESSION_TTL).await
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut slots = self.mailbox.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // The place may be another inbox's by now.
        if slots.get(&self.stream).is_some_and(|slot| Arc::ptr_eq(&slot.missed, &self.missed)) {
            slots.remove(&self.stream);
        }
    }
}
