//! A session while its socket is open: what it waits for, and what goes on while it waits for the bus.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use shared::{
    bus::Entry,
    shutdown::CancellationToken,
    wire::{EndReason, ServerMessage},
};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::{
    MAX_OWED, Session,
    clock::PING_EVERY,
    end::{End, replaced},
};
use crate::{
    door::Expelled,
    socket::{self, Inbound, Outbox},
};

/// How often the session looks at its clocks: no limit is shorter than 2 s, and who is silent costs little else.
const TICK: Duration = Duration::from_millis(500);
/// A step that takes longer waits for the bus (or for a client that reads slowly): from then on frames are read and held.
/// Until then they wait in the socket, as they do in every step.
const HOLD_AFTER: Duration = Duration::from_millis(250);
/// How long a draining server waits for the finals it owes, and for a bus that is away.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// A client that cannot show that it lives, because nothing is read from it, is taken to live for so long.
const UNREAD: Duration = Duration::from_secs(120);

/// What a session turns to next.
enum Happening {
    Shutdown,
    Expelled(Expelled),
    /// An answer; `None`: another socket has the session.
    Mail(Option<Entry>),
    Tick,
    Frame(Inbound, Instant),
}

/// Lets a step of a session come to its end. One that takes long does not keep its client waiting: what that sends is read
/// and held, and pings tell it that somebody is there. One that is still under way some seconds after the server began to
/// stop, or the client went away, is broken off.
async fn attend<T>(
    frames: &mut socket::Inbox,
    outbox: &Outbox,
    shutdown: &CancellationToken,
    step: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    let mut step = pin!(step);
    tokio::select! {
        biased;
        done = &mut step => return done,
        () = sleep(HOLD_AFTER) => {}
    }
    let overdue = async {
        shutdown.cancelled().await;
        sleep(DRAIN_PATIENCE).await;
    };
    let pings = async {
        let mut due = interval(PING_EVERY);
        loop {
            due.tick().await;
            if let Err(gone) = outbox.ping().await {
                return gone;
            }
        }
    };
    tokio::select! {
        biased;
        done = frames.hold_during(step) => done?,
        () = overdue => Err(End::Ended(EndReason::Draining)),
        gone = pings => Err(gone.into()),
    }
}

/// Audio has to wait.
fn waits() -> ServerMessage {
    let message = "the server is nearly full: audio waits for a while, and none is lost";
    ServerMessage::Warning { code: "audio_paused".to_owned(), message: message.to_owned() }
}

impl Session {
    /// From its first word to its last.
    pub(super) async fn live(
        &mut self,
        frames: &mut socket::Inbox,
        outbox: &Outbox,
        shutdown: CancellationToken,
    ) -> End {
        let _open = self.context.metrics.open_session();
        frames.fit(self.founding.audio);
        let end = match self.run(frames, outbox, &shutdown).await {
            Ok(reason) => End::Ended(reason),
            Err(end) => end,
        };
        tracing::info!(session = %self.id, audio_ms = self.audio.received_ms(), ?end, "socket closed");
        end
    }

    async fn run(
        &mut self,
        frames: &mut socket::Inbox,
        outbox: &Outbox,
        shutdown: &CancellationToken,
    ) -> Result<EndReason, End> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            attend(frames, outbox, shutdown, self.turn(outbox)).await?;
            if self.stopping && self.dispatch.idle() {
                self.say(self.ended(EndReason::Stopped));
                attend(frames, outbox, shutdown, self.turn(outbox)).await?;
                return Ok(EndReason::Stopped);
            }
            match self.next(frames, &mut tick, shutdown).await {
                Happening::Shutdown => return self.drain(outbox).await,
                Happening::Expelled(Expelled { code, message }) => return Err(End::Error(code, message)),
                Happening::Mail(mail) => {
                    let mail = mail.ok_or_else(replaced)?;
                    attend(frames, outbox, shutdown, self.take_mail(mail)).await?;
                }
                Happening::Tick => {
                    let pause_begins = self.notice(frames);
                    let step = async {
                        if pause_begins && !self.stopping {
                            // What is open would neither be answered nor leave the bus as long as its audio waits.
                            self.finalize().await?;
                        }
                        self.look_at_clocks(outbox).await
                    };
                    attend(frames, outbox, shutdown, step).await?;
                }
                Happening::Frame(frame, at) => attend(frames, outbox, shutdown, self.take_frame(frame, at)).await?,
            }
        }
    }

    async fn next(
        &mut self,
        frames: &mut socket::Inbox,
        tick: &mut Interval,
        shutdown: &CancellationToken,
    ) -> Happening {
        let (guest, paused) = (&self.guest, self.paused);
        let next_frame = async {
            if paused {
                return frames.hold().await;
            }
            guest.may_read().await;
            frames.arrival().await
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Happening::Shutdown,
            expelled = guest.expelled() => Happening::Expelled(expelled),
            mail = self.inbox.next() => Happening::Mail(mail),
            _ = tick.tick() => Happening::Tick,
            (frame, at) = next_frame, if self.dispatch.owed() < MAX_OWED => Happening::Frame(frame, at),
        }
    }

    /// Notices what has changed around the session since the last tick: signs of life in frames that are held, and
    /// whether its audio has to wait because the bus is nearly full; whether that begins now.
    fn notice(&mut self, frames: &socket::Inbox) -> bool {
        let now = Instant::now();
        self.last_sign = self.last_sign.max(frames.last_sign());
        let (paused, was_paused) = (self.context.pressure.pauses(), self.paused);
        if paused != was_paused {
            self.paused = paused;
            self.say(if paused { waits() } else { self.goes_on() });
        }
        if was_paused && !paused {
            // All sessions go on at once, and what they hold must not fill the bus at once.
            self.guest.grant(0);
            self.unread_since = None;
        }
        if paused {
            // It may send as much as it likes: nobody reads it.
            self.last_audio = now;
        }
        let behind = frames.is_behind();
        if paused || behind {
            self.last_behind = now;
        }
        let unread = if paused { !frames.has_room() } else { behind };
        if unread {
            if now.duration_since(*self.unread_since.get_or_insert(now)) < UNREAD {
                self.last_sign = now;
            }
        } else {
            self.unread_since = None;
        }
        paused && !was_paused
    }

    /// Audio that waited is read again.
    fn goes_on(&self) -> ServerMessage {
        ServerMessage::Lag { behind_ms: 0, update_interval_ms: self.dispatch.update_interval_ms() }
    }

    /// Ends in order because the server stops. What another gateway can go on with is left to it; on a bus that ends with
    /// this process, what is owed and comes in time is still sent.
    async fn drain(&mut self, outbox: &Outbox) -> Result<EndReason, End> {
        if !self.context.bus.outlives_process() {
            self.stopping = true;
            self.finalize().await?;
            self.turn(outbox).await?;
            let deadline = sleep(DRAIN_PATIENCE);
            let mut tick = interval(TICK);
            tokio::pin!(deadline);
            while !self.dispatch.idle() {
                tokio::select! {
                    mail = self.inbox.next() => self.take_mail(mail.ok_or_else(replaced)?).await?,
                    _ = tick.tick() => if self.inbox.take_missed() { self.replay().await? },
                    () = &mut deadline => break,
                }
                self.turn(outbox).await?;
            }
            let mut messages = Vec::new();
            self.dispatch.give_up(&mut messages);
            messages.into_iter().for_each(|message| self.say(message));
        }
        self.say(self.ended(EndReason::Draining));
        // Whoever waits in vain for the bus is told by the close code alone.
        timeout(DRAIN_PATIENCE, self.turn(outbox)).await.unwrap_or(Ok(()))?;
        Ok(EndReason::Draining)
    }
}
