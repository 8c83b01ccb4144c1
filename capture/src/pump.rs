//! The thread that a capture runs on: it moves the sound, and follows the devices as they come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    CaptureError, HEARD, Heard, Kind,
    devices::{self, Seen},
    flow::Flow,
    outlet::Outlet,
    stream::{self, Opened},
};

/// Looks at the ring at least so often; a callback wakes the thread sooner.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at the devices: asking a Pulse server is cheap, asking all drivers for what they can do is not.
const SCOUTING: Duration = Duration::from_millis(if cfg!(target_os = "linux") { 500 } else { 1000 });
/// Between two attempts to open a device.
const RETRY: Duration = Duration::from_secs(1);
/// For the first device to open.
const FIRST: Duration = Duration::from_secs(5);

/// What somebody wants to hear.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) kind: Kind,
    /// The default of its kind when none.
    pub(crate) id: Option<String>,
}

/// What the scout saw, or could not see.
type Sighting = Result<Vec<Seen>, CaptureError>;

/// Starts the threads, and waits until the first device is open.
pub(crate) fn start(wish: Wish, stop: Arc<AtomicBool>) -> Result<(Thread, mpsc::Receiver<Heard>), CaptureError> {
    let (listener, heard) = mpsc::channel(HEARD);
    let (ready, opened) = sync_channel(1);
    let stopped = Arc::clone(&stop);
    let run = move || match Pump::open(wish, listener, stopped) {
        Ok(mut pump) => {
            if ready.send(Ok(())).is_ok() {
                pump.run();
            }
        }
        // Whoever asked has gone; so has the reason to tell.
        Err(error) => drop(ready.send(Err(error))),
    };
    let thread = thread::Builder::new().name("sound".to_owned()).spawn(run).map_err(CaptureError::Thread)?;
    match opened.recv_timeout(FIRST) {
        Ok(Ok(())) => Ok((thread.thread().clone(), heard)),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            stop.store(true, Ordering::Relaxed);
            Err(CaptureError::List(format!("no answer for {} s", FIRST.as_secs())))
        }
    }
}

#[derive(Debug)]
struct Pump {
    wish: Wish,
    flow: Flow,
    source: Option<Opened>,
    start: Instant,
    stop: Arc<AtomicBool>,
    scout: Receiver<Sighting>,
    /// The scout goes when this is dropped.
    _leave: SyncSender<()>,
    /// A device that is being opened; since when, also after that.
    opening: Option<Receiver<Result<Opened, CaptureError>>>,
    attempt: Instant,
    /// The device that the listener was told of last; none while it was told to wait.
    known: Option<String>,
}

impl Pump {
    fn open(wish: Wish, listener: mpsc::Sender<Heard>, stop: Arc<AtomicBool>) -> Result<Self, CaptureError> {
        let all = devices::look()?;
        let chosen = devices::choose(&all, wish.kind, wish.id.as_deref());
        // At the start, somebody sees that what was chosen is not there, and can choose again.
        let chosen = chosen.filter(|seen| wish.id.as_ref().is_none_or(|id| *id == seen.device.id));
        let chosen = chosen.ok_or_else(|| match &wish.id {
            Some(id) if all.iter().any(|seen| seen.device.kind == wish.kind) => {
                CaptureError::Missing(format!("{id} is not plugged in; connect it or choose another, then try again"))
            }
            _ => devices::missing(wish.kind),
        })?;
        let opened = stream::open(wish.kind, &chosen.device.id, thread::current())?;
        let (_leave, left) = sync_channel(1);
        let mut pump = Self {
            flow: Flow::new(wish.kind, Outlet::new(listener)),
            wish,
            source: None,
            start: Instant::now(),
            stop,
            scout: scout(left)?,
            _leave,
            opening: None,
            attempt: Instant::now(),
            known: Some(opened.seen.device.id.clone()),
        };
        pump.listen_to(opened)?;
        Ok(pump)
    }

    fn run(&mut self) {
        while !self.stop.load(Ordering::Relaxed) && !self.flow.outlet.is_closed() {
            if self.source.as_ref().is_some_and(Opened::has_failed) {
                self.let_go();
            }
            if let Ok(sighting) = self.scout.try_recv() {
                self.follow(sighting);
            }
            if let Some(opened) = self.opening.as_ref().and_then(|opening| opening.try_recv().ok()) {
                self.opening = None;
                self.arrive(opened);
            }
            let now = self.start.elapsed().as_secs_f64();
            self.flow.look(self.source.as_mut().map(|source| &mut source.ring), now);
            thread::park_timeout(LOOK);
        }
    }

    fn let_go(&mut self) {
        self.source = None;
        self.flow.no_device();
    }

    /// Goes where the sound is now.
    fn follow(&mut self, sighting: Sighting) {
        let seen = sighting.inspect_err(|error| tracing::debug!(%error, "no sight of the sound devices"));
        let is_gone = |source: &Opened| match &seen {
            Ok(seen) => !seen.iter().any(|seen| is_same(seen, &source.seen)),
            // Any other says so itself.
            Err(_) => source.is_of_server(),
        };
        if self.source.as_ref().is_some_and(is_gone) {
            self.let_go();
        }
        let seen = seen.unwrap_or_default();
        let Some(chosen) = devices::choose(&seen, self.wish.kind, self.wish.id.as_deref()) else {
            if self.source.is_none() {
                self.wait();
            }
            return;
        };
        let is_open = self.source.as_ref().is_some_and(|source| is_same(chosen, &source.seen));
        if !is_open && self.opening.is_none() && self.attempt.elapsed() >= RETRY {
            self.attempt = Instant::now();
            self.opening = open(self.wish.kind, chosen.device.id.clone());
        }
    }

    fn arrive(&mut self, opened: Result<Opened, CaptureError>) {
        let device = opened.as_ref().ok().map(|opened| opened.seen.device.clone());
        match (opened.and_then(|opened| self.listen_to(opened)), device) {
            (Ok(()), Some(device)) => {
                if self.known.as_ref() != Some(&device.id) {
                    self.known = Some(device.id.clone());
                    self.flow.outlet.moved(device);
                }
            }
            (Err(error), _) => {
                tracing::info!(%error, "another sound device could not be opened");
                if self.source.is_none() {
                    self.wait();
                }
            }
            (Ok(()), None) => {}
        }
    }

    fn listen_to(&mut self, opened: Opened) -> Result<(), CaptureError> {
        let fault = |error: rubato::ResamplerConstructionError| CaptureError::Open {
            device: opened.seen.device.name.clone(),
            reason: error.to_string(),
        };
        self.flow.device(opened.rate).map_err(fault)?;
        tracing::info!(device = opened.seen.device.id, rate = opened.rate, "listening to a sound device");
        self.source = Some(opened);
        Ok(())
    }

    fn wait(&mut self) {
        if self.known.take().is_some() {
            self.flow.outlet.waiting();
        }
    }
}

/// Whether it is this very device, whatever it is called or is the default of by now.
fn is_same(one: &Seen, other: &Seen) -> bool {
    one.serial == other.serial && one.device.kind == other.device.kind && one.device.id == other.device.id
}

/// Opens a device on a thread of its own, for a system may take its time. None when there is no thread to be had.
fn open(kind: Kind, id: String) -> Option<Receiver<Result<Opened, CaptureError>>> {
    let (done, opened) = sync_channel(1);
    let pump = thread::current();
    let open = move || {
        // When nobody waits any more, the device is closed again.
        drop(done.send(stream::open(kind, &id, pump.clone())));
        pump.unpark();
    };
    let started = thread::Builder::new().name("sound-open".to_owned()).spawn(open);
    started.is_ok().then_some(opened)
}

/// Looks at the devices until `left` has no other end. A look that nobody has taken yet is kept, and a newer one dropped.
fn scout(left: Receiver<()>) -> Result<Receiver<Sighting>, CaptureError> {
    let (seen, sightings) = sync_channel(1);
    let look = move || {
        while left.recv_timeout(SCOUTING) == Err(RecvTimeoutError::Timeout) {
            drop(seen.try_send(devices::look()));
        }
    };
    thread::Builder::new().name("sound-scout".to_owned()).spawn(look).map_err(CaptureError::Thread)?;
    Ok(sightings)
}
