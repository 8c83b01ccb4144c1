//! Streams: a device and a session each, from `open_stream` of the page to `closed`.
//!
//! # Layout
//! - [`Streams`]: those that are open; `up`: from the device to the gateway; `down`: from the gateway to the page
//! - [`told`]: what a page is told

mod down;
pub(crate) mod told;
mod up;

use std::{
    collections::HashMap,
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use client::Session;
use shared::wire::ClientMessage;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

pub(crate) use self::up::{Ears, Opener};
use self::{
    down::Down,
    told::{Closed, LinkState, Tell, Told},
    up::{Order, Up},
};
use crate::refusal::Refusal;

/// Orders of a page that a stream has not obeyed yet. When it is full, the page's call waits.
const ORDERS: usize = 32;

/// Finds out where the gateway is and who asks, which may take a while: models are loaded, tokens refreshed.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Session, Closed>> + Send>>;

/// Tells the page; false where it can be told no more.
pub(crate) type Page = Box<dyn Fn(Told) -> bool + Send + Sync>;

/// What the tray has to know of the streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    /// Streams that are open.
    pub(crate) open: usize,
    /// Whether all of them are paused.
    pub(crate) paused: bool,
}

#[derive(Debug)]
struct Stream {
    orders: mpsc::Sender<Order>,
    stopping: watch::Sender<bool>,
    paused: bool,
}

/// The open streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<HashMap<u32, Stream>>,
    newest: AtomicU32,
    /// Pages that were abandoned so far. Changed, and compared, only while `open` is locked.
    abandoned: AtomicU64,
    listening: watch::Sender<Listening>,
}

impl Default for Inner {
    fn default() -> Self {
        let listening = watch::Sender::new(Listening::default());
        Self { open: Mutex::default(), newest: AtomicU32::new(0), abandoned: AtomicU64::new(0), listening }
    }
}

impl Streams {
    /// What goes on, for whoever wants to follow it.
    pub(crate) fn listening(&self) -> watch::Receiver<Listening> {
        self.0.listening.subscribe()
    }

    /// Opens a stream. Sound is taken in from now on, whenever the session is open; what becomes of it is told.
    ///
    /// # Errors
    /// When there is no sound to be had, or the page went away meanwhile.
    pub(crate) async fn open(&self, opener: Opener, opening: Opening, page: Page) -> Result<u32, Refusal> {
        let abandoned = self.0.abandoned.load(Ordering::Relaxed);
        let first = Arc::clone(&opener);
        let opened = tokio::task::spawn_blocking(move || first()).await.map_err(Refusal::failed)?;
        let ears = opened.map_err(|error| told::of_capture(&error))?;
        let id = self.0.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let stopping = watch::Sender::new(false);
        let (tell, unheard) = heard_by(page);
        let began_ms = Arc::new(AtomicU64::new(0));
        let up = Up::new(opener, ears, Arc::clone(&tell), Arc::clone(&began_ms));
        let state = LinkState::Connecting;
        let down = Down { tell: Arc::clone(&tell), began_ms, stopping: stopping.subscribe(), state };
        let insert = |open: &mut HashMap<u32, Stream>| {
            let asked_for = self.0.abandoned.load(Ordering::Relaxed) == abandoned;
            asked_for.then(|| open.insert(id, Stream { orders, stopping, paused: false })).is_some()
        };
        if !self.change(insert) {
            return Err(Refusal::new("failed", "the page that asked for this stream is gone"));
        }
        let streams = self.clone();
        tokio::spawn(async move {
            let (link, linked) = oneshot::channel();
            let mut up = tokio::spawn(up.run(ordered, linked));
            let mut down = std::pin::pin!(down.run(opening, link));
            let mut unheard = std::pin::pin!(async {
                unheard.notified().await;
                streams.stop(id).await;
                pending().await
            });
            let closed = tokio::select! {
                closed = &mut down => closed,
                // What is ours went wrong; else the way down says how it ends.
                Ok(Err(closed)) = &mut up => closed,
                // Nobody listens to what nobody reads.
                closed = &mut unheard => closed,
            };
            up.abort();
            streams.change(|open| open.remove(&id));
            tell(Told::State { state: LinkState::Closed });
            tell(Told::Closed(closed));
        });
        Ok(id)
    }

    /// Says something to the session.
    pub(crate) async fn say(&self, id: u32, message: ClientMessage) {
        self.order(id, Order::Say(message)).await;
    }

    /// While paused nothing is heard and nothing is sent.
    ///
    /// # Errors
    /// When the device cannot be opened again.
    pub(crate) async fn pause(&self, id: u32, paused: bool) -> Result<(), Refusal> {
        let (done, obeyed) = oneshot::channel();
        self.order(id, Order::Pause(paused, done)).await;
        // A stream that is over has nothing to pause.
        let obeyed = obeyed.await.unwrap_or(Ok(()));
        if obeyed.is_ok() {
            self.change(|open| open.get_mut(&id).map(|stream| stream.paused = paused));
        }
        obeyed
    }

    /// Lets the device go; the words owed still come, and then the stream closes.
    pub(crate) async fn stop(&self, id: u32) {
        self.order(id, Order::Stop).await;
        if let Some(stream) = self.lock().get(&id) {
            stream.stopping.send_replace(true);
        }
    }

    /// What a page opened that is no more, to be stopped. What it is still about to open will not be opened.
    #[must_use]
    pub(crate) fn abandon(&self) -> Vec<u32> {
        let open = self.lock();
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
        open.keys().copied().collect()
    }

    /// Stops all of them, and waits at most so long for the words owed.
    pub(crate) async fn stop_all(&self, patience: Duration) {
        let all: Vec<u32> = self.lock().keys().copied().collect();
        for id in all {
            self.stop(id).await;
        }
        let mut listening = self.listening();
        timeout(patience, listening.wait_for(|listening| listening.open == 0)).await.ok();
    }

    async fn order(&self, id: u32, order: Order) {
        let orders = self.lock().get(&id).map(|stream| stream.orders.clone());
        if let Some(orders) = orders {
            // A stream that is over obeys no more, and said why.
            orders.send(order).await.ok();
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<u32, Stream>) -> T) -> T {
        let mut open = self.lock();
        let changed = change(&mut open);
        let paused = !open.is_empty() && open.values().all(|stream| stream.paused);
        self.0.listening.send_replace(Listening { open: open.len(), paused });
        changed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Stream>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How `page` is told, and what is notified when it no longer can be.
fn heard_by(page: Page) -> (Tell, Arc<Notify>) {
    let unheard = Arc::new(Notify::new());
    let notified = Arc::clone(&unheard);
    let tell = Arc::new(move |told| {
        if !page(told) {
            notified.notify_one();
        }
    });
    (tell, unheard)
}

#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
