//! From a device to the gateway: what is heard is kept until the session takes it, so that nothing said while it opens is lost.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use capture::{CaptureError, Heard};
use client::{ClientError, Uplink};
use shared::{audio::samples_to_ms, wire::ClientMessage};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::told::{Cause, Closed, Tell, Told, of_capture};
use crate::refusal::Refusal;

/// Samples between two levels: ten of them a second.
const LEVEL_SAMPLES: u64 = 1600;
/// The same while nobody is to be heard: a meter that does not move need not be drawn.
const QUIET_SAMPLES: u64 = 5 * LEVEL_SAMPLES;
/// Below this, a meter shows nothing: -60 dB of full scale.
const QUIET: f32 = 0.001;
/// Most sound that waits for the session, in samples: two minutes, as long as a session can be resumed. The link that cannot
/// carry it for so long is given up, and said to be too slow.
const MOST_WAITING: u64 = 120 * 16_000;
/// How long a stream waits for a device when there is none left: one that is plugged elsewhere is back by then.
const ALONE: Duration = Duration::from_secs(10);

/// An open device.
pub(crate) struct Ears {
    pub(crate) heard: mpsc::Receiver<Heard>,
    /// Closes it when dropped.
    pub(crate) device: Box<dyn Send>,
}

/// Opens the device; again after a pause.
pub(crate) type Opener = Arc<dyn Fn() -> Result<Ears, CaptureError> + Send + Sync>;

/// What the page wants of a stream.
#[derive(Debug)]
pub(super) enum Order {
    Say(ClientMessage),
    Pause(bool, oneshot::Sender<Result<(), Refusal>>),
    /// The device is let go, and the session told that this was all.
    Stop,
}

enum Item {
    Audio(Vec<u8>),
    Say(ClientMessage),
}

/// The upward half of a stream.
pub(super) struct Up {
    pub(super) open: Opener,
    pub(super) ears: Option<Ears>,
    pub(super) tell: Tell,
    /// Where the present session began, milliseconds after the first one.
    pub(super) began_ms: Arc<AtomicU64>,
    waiting: VecDeque<Item>,
    /// Samples in `waiting`.
    samples_waiting: u64,
    /// Samples heard since the first session began.
    heard: u64,
    /// Since the last level: samples, and the loudest of them.
    level: (u64, f32),
    /// What the last level was.
    loud: f32,
    /// While there is no device: when to give up.
    alone_until: Option<Instant>,
    stopped: bool,
}

impl Up {
    pub(super) fn new(open: Opener, ears: Ears, tell: Tell, began_ms: Arc<AtomicU64>) -> Self {
        Self {
            open,
            ears: Some(ears),
            tell,
            began_ms,
            waiting: VecDeque::new(),
            samples_waiting: 0,
            heard: 0,
            level: (0, 0.0),
            loud: 1.0,
            alone_until: None,
            stopped: false,
        }
    }

    /// Runs until everything is said, or the session is over. An error is one of ours: the session goes with it.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        link: oneshot::Receiver<Uplink>,
    ) -> Result<(), Closed> {
        let (mut link, mut uplink) = (Some(link), None);
        loop {
            if self.stopped && self.waiting.is_empty() && uplink.is_some() {
                return Ok(());
            }
            if self.samples_waiting > MOST_WAITING {
                return Err(Closed::of(Cause::TooSlow));
            }
            tokio::select! {
                heard = next(&mut self.ears), if self.ears.is_some() => self.hear(heard),
                () = until(self.alone_until), if self.ears.is_some() => self.give_up("missing"),
                order = orders.recv(), if !self.stopped => self.obey(order).await,
                opened = opening(&mut link) => {
                    let Some(opened) = opened else { return Ok(()) };
                    (uplink, link) = (Some(opened), None);
                }
                sent = send(uplink.as_ref(), self.waiting.front()), if !self.waiting.is_empty() => {
                    if sent.is_err() {
                        return Ok(()); // the way down tells why
                    }
                    if let Some(Item::Audio(pcm)) = self.waiting.pop_front() {
                        self.samples_waiting -= pcm.len() as u64 / 2;
                    }
                }
            }
        }
    }

    fn hear(&mut self, heard: Option<Heard>) {
        match heard {
            Some(Heard::Frame(frame)) => {
                self.samples_waiting += frame.pcm.len() as u64;
                self.heard += frame.pcm.len() as u64;
                self.waiting.push_back(Item::Audio(frame.pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()));
                self.level = (self.level.0 + frame.pcm.len() as u64, self.level.1.max(frame.peak));
                let enough = if self.level.1.max(self.loud) < QUIET { QUIET_SAMPLES } else { LEVEL_SAMPLES };
                if self.level.0 >= enough {
                    let (_, peak) = std::mem::take(&mut self.level);
                    self.loud = peak;
                    (self.tell)(Told::Level { peak, heard_ms: self.heard_ms() });
                }
            }
            Some(Heard::Moved(device)) => {
                self.alone_until = None;
                (self.tell)(Told::Moved { label: device.name });
            }
            // The capture goes on by itself when a device comes, and says so.
            Some(Heard::Waiting) => self.alone_until = Some(Instant::now() + ALONE),
            Some(Heard::Lost(time)) => {
                // The silence put in its place may be in the queue behind this, or before: its length is what matters.
                let from_ms = self.heard_ms();
                let to_ms = from_ms + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                (self.tell)(Told::Lost { from_ms, to_ms });
            }
            None => self.give_up("failed"),
        }
    }

    async fn obey(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Say(message)) => self.waiting.push_back(Item::Say(message)),
            Some(Order::Pause(paused, done)) => {
                done.send(self.pause(paused).await).ok();
            }
            Some(Order::Stop) | None => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.let_go();
        self.waiting.push_back(Item::Say(ClientMessage::Stop {}));
        self.stopped = true;
    }

    /// There is no sound to be had any more: the words owed still come, and then the stream closes.
    fn give_up(&mut self, fault: &str) {
        (self.tell)(Told::Gone { fault: fault.to_owned() });
        self.stop();
    }

    async fn pause(&mut self, paused: bool) -> Result<(), Refusal> {
        if paused && self.ears.is_some() {
            self.let_go();
            // What was said so far becomes final; who goes on talking begins another utterance.
            self.waiting.push_back(Item::Say(ClientMessage::Finalize {}));
        } else if !paused && self.ears.is_none() {
            let open = Arc::clone(&self.open);
            let opened = tokio::task::spawn_blocking(move || open()).await.map_err(Refusal::failed)?;
            match opened {
                Ok(ears) => self.ears = Some(ears),
                Err(error) => {
                    let refusal = of_capture(&error);
                    self.give_up(&refusal.fault);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Closes the device; what it had delivered is still sent.
    fn let_go(&mut self) {
        let Some(Ears { mut heard, device }) = self.ears.take() else { return };
        self.alone_until = None;
        drop(device);
        while let Ok(Heard::Frame(frame)) = heard.try_recv() {
            self.hear(Some(Heard::Frame(frame)));
        }
        (self.tell)(Told::Level { peak: 0.0, heard_ms: self.heard_ms() });
    }

    fn heard_ms(&self) -> u64 {
        samples_to_ms(self.heard).saturating_sub(self.began_ms.load(Ordering::Relaxed))
    }
}

async fn next(ears: &mut Option<Ears>) -> Option<Heard> {
    match ears {
        Some(ears) => ears.heard.recv().await,
        None => pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// The session, once it is open; `None` when it never will be.
async fn opening(link: &mut Option<oneshot::Receiver<Uplink>>) -> Option<Uplink> {
    match link {
        Some(link) => link.await.ok(),
        None => pending().await,
    }
}

/// Gives the session the next item. Nothing is given where this is not waited for to its end.
async fn send(uplink: Option<&Uplink>, item: Option<&Item>) -> Result<(), ClientError> {
    match (uplink, item) {
        (Some(uplink), Some(Item::Audio(pcm))) => uplink.audio(pcm.clone()).await,
        (Some(uplink), Some(Item::Say(message))) => uplink.say(message.clone()).await,
        _ => pending().await,
    }
}
