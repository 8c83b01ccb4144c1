//! Keeps what a device gives at the pace of the clock on the wall. Knows no device and no clock: both are told to it.
//!
//! Sound arrives in lumps, late by chance but never early. So how far all sound so far is ahead of the clock, taken at
//! arrivals, has an upper edge that is a straight line; its slope is how fast the device runs. The highest arrival of
//! each second is a point of the edge. The resampler is steered by the slope of up to the last minute of points, and by how
//! far the edge has gone from where it was at the start, so that an error goes away instead of adding up.
//!
//! A device that stalls leaves a hole; no steering, but silence fills it. A clock that leaps is not for this to mend: `flow`
//! leaves the leap out of the time it tells.

use std::collections::VecDeque;

/// Greatest share by which sound is made longer or shorter. Sound cards are within 0.0003; software devices that count
/// timer ticks were seen at 0.002.
pub(crate) const MAX_STEER: f64 = 0.005;
/// Greatest change of it per second: a third of a hundredth of a semitone's step, which nobody hears.
pub(crate) const MAX_SLEW: f64 = 200e-6;
/// Length of a window in seconds; its highest arrival is one point of the edge.
const WINDOW: f64 = 1.0;
/// Points that a slope needs, and how many it is taken over: 10 to 60 s.
const POINTS: std::ops::RangeInclusive<usize> = 10..=60;
/// Seconds in which an error of place is to go away.
const CORRECTION: f64 = 30.0;
/// Seconds by which two windows on end must lie below the edge for sound to be missing: more than drift does, and more than
/// jitter, which is known by how far the points lie from their line (root of the mean square).
const JUMP: f64 = 0.04;
const JUMP_OF_JITTER: f64 = 4.0;
/// Share of a window in the level that the next is held against.
const LEVEL_SHARE: f64 = 0.3;
/// Silence is put in by no less than a frame, in seconds.
const LEAST_FILL: f64 = 0.05;
/// Seconds of surplus that say that silence was put in too soon, and greatest patience that is learnt from it.
const SURPLUS: f64 = 0.1;
const MAX_PATIENCE: f64 = 3.0;
/// Seconds after a silence in which a surplus is its fault.
const BLAME: f64 = 5.0;

/// Silence that belongs before the sound that has just arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Gap {
    /// None.
    None,
    /// Seconds: the rest of a silence that was put in while nothing came.
    Rest(f64),
    /// Seconds: sound went missing while other sound came.
    Missing(f64),
}

/// Highest arrival of a window.
#[derive(Debug, Clone, Copy)]
struct Window {
    opened: f64,
    /// When it was, and how far ahead of the clock the device's sound was, both in seconds.
    at: f64,
    raw: f64,
    /// How far ahead what was made of it was, with silence and steering.
    top: f64,
}

/// The pace of one capture. All times are seconds since its start.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Seconds without sound until silence takes its place.
    patience: f64,
    /// Of output so far: sound as it was steered, and silence.
    made: f64,
    /// Of sound, by the device's own count, since the edge was last broken.
    heard: f64,
    /// Where the edge is to stay; taken in the second window, when the start is over.
    reference: Option<f64>,
    windows: usize,
    window: Option<Window>,
    /// Of the edge, as long as it is in one piece.
    points: VecDeque<(f64, f64)>,
    /// When the last window was that was as it should be, and where the edge was then. And by how much one after it was
    /// too low.
    level: Option<(f64, f64)>,
    low: Option<f64>,
    /// By how much a second of the device's is longer than one of the clock's, as far as known; and how far the points lie
    /// from the line.
    slope: f64,
    jitter: f64,
    steer: f64,
    /// Nothing came for longer than the patience, or the device is another: the next sound starts anew.
    broken: bool,
    /// When silence was last put in.
    filled: f64,
}

impl Pace {
    /// With `patience` seconds until silence takes the place of sound that does not come.
    pub(crate) fn new(patience: f64) -> Self {
        Self {
            patience,
            made: 0.0,
            heard: 0.0,
            reference: None,
            windows: 0,
            window: None,
            points: VecDeque::new(),
            level: None,
            low: None,
            slope: 0.0,
            jitter: 0.0,
            steer: 0.0,
            broken: false,
            filled: f64::NEG_INFINITY,
        }
    }

    /// By which share sound is to be made longer.
    pub(crate) fn steer(&self) -> f64 {
        self.steer
    }

    /// Whether the next sound starts anew. It should be looked at when it has come in for a moment: what comes in one lump
    /// after a stall was late, not lost.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Another device gives the sound from now on: its rate is not known.
    pub(crate) fn moved(&mut self) {
        self.broken = true;
        (self.slope, self.jitter, self.steer) = (0.0, 0.0, 0.0);
    }

    /// The clock leapt, and those who told the time leave the leap out from now on: the next sound starts anew. The device
    /// is the same, and so is how fast it runs.
    pub(crate) fn leapt(&mut self) {
        (self.broken, self.filled) = (true, f64::NEG_INFINITY);
    }

    /// Seconds by which what is made is behind the clock.
    pub(crate) fn late(&self, now: f64) -> f64 {
        self.reference.unwrap_or(0.0) - (self.made - now)
    }

    /// Nothing new has come by `now`: seconds of silence to put in.
    pub(crate) fn waited(&mut self, now: f64) -> f64 {
        let fill = self.late(now) - self.patience;
        if fill < LEAST_FILL {
            return 0.0;
        }
        self.made += fill;
        self.broken = true;
        self.filled = now;
        fill
    }

    /// `sound` seconds, by the device's count, have come by `now`: silence to put in before them.
    pub(crate) fn arrived(&mut self, sound: f64, now: f64) -> Gap {
        let length = sound * (1.0 + self.steer);
        let mut gap = Gap::None;
        if self.broken {
            gap = self.start_anew(length, now);
        }
        self.heard += sound;
        self.made += length;
        self.learn_patience(now);
        let (raw, top) = (self.heard - now, self.made - now);
        let window = self.window.get_or_insert(Window { opened: now, at: now, raw, top });
        if top > window.top {
            *window = Window { opened: window.opened, at: now, raw, top };
        }
        if now - window.opened >= WINDOW {
            let window = *window;
            self.window = None;
            if let Some(missing) = self.close(window, now) {
                gap = Gap::Missing(missing);
            }
        }
        gap
    }

    /// Sound that has arrived was left out of what is made.
    pub(crate) fn skipped(&mut self, sound: f64) {
        self.made -= sound * (1.0 + self.steer);
    }

    /// Seconds by which what is made is ahead of where it should be, right after an arrival; less than 0 when behind.
    pub(crate) fn surplus(&self, now: f64) -> f64 {
        self.reference.map_or(0.0, |reference| self.made - now - reference)
    }

    fn start_anew(&mut self, length: f64, now: f64) -> Gap {
        self.broken = false;
        self.break_edge();
        let rest = -self.surplus(now) - length;
        if rest <= 0.0 {
            return Gap::None;
        }
        self.made += rest;
        Gap::Rest(rest)
    }

    fn break_edge(&mut self) {
        self.points.clear();
        (self.heard, self.window, self.level, self.low) = (0.0, None, None, None);
    }

    fn learn_patience(&mut self, now: f64) {
        let surplus = self.surplus(now);
        if surplus > SURPLUS && now - self.filled < BLAME {
            self.patience = (self.patience + surplus).min(MAX_PATIENCE);
            self.filled = f64::NEG_INFINITY;
        }
    }

    /// A window is over: seconds of sound that went missing before it, if so.
    fn close(&mut self, window: Window, now: f64) -> Option<f64> {
        self.windows += 1;
        if self.reference.is_none() && self.windows == 2 {
            self.reference = Some(window.top);
        }
        let expected = self.level.map_or(window.raw, |(at, raw)| raw + self.slope * (window.at - at));
        let jump = window.raw - expected;
        let allowed = JUMP.max(JUMP_OF_JITTER * self.jitter);
        if jump < -allowed {
            let Some(first) = self.low.take() else {
                // Once may be a busy machine.
                self.low = Some(jump);
                return None;
            };
            let missing = -first.max(jump);
            self.break_edge();
            self.made += missing;
            return Some(missing);
        }
        self.low = None;
        if jump > allowed {
            // Late sound came after all, or was caught up with.
            self.points.clear();
        }
        let share = if jump.abs() > allowed { 1.0 } else { LEVEL_SHARE };
        self.level = Some((window.at, expected + share * jump));
        self.aim(window, now);
        None
    }

    fn aim(&mut self, window: Window, now: f64) {
        let Some(reference) = self.reference else { return };
        let since = self.points.back().map_or(WINDOW, |(at, _)| window.at - at).clamp(0.0, 2.0 * WINDOW);
        if self.points.len() == *POINTS.end() {
            self.points.pop_front();
        }
        self.points.push_back((window.at, window.raw));
        if self.points.len() >= *POINTS.start() {
            let (slope, jitter) = line(&self.points);
            (self.slope, self.jitter) = (slope.clamp(-MAX_STEER, MAX_STEER), jitter);
        }
        let error = window.top - reference;
        let wanted = (-self.slope - error / CORRECTION).clamp(-MAX_STEER, MAX_STEER);
        self.steer += (wanted - self.steer).clamp(-MAX_SLEW * since, MAX_SLEW * since);
        tracing::trace!(now, error, slope = self.slope, steer = self.steer, "pace of a device");
    }
}

/// Slope of the line that lies nearest to the points (least squares), and how far they lie from it (root of the mean square).
#[expect(clippy::cast_precision_loss, reason = "60 points at most")]
fn line(points: &VecDeque<(f64, f64)>) -> (f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = if spread > 0.0 { both / spread } else { 0.0 };
    let off: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
    (slope, (off / count).sqrt())
}

#[cfg(test)]
mod tests;
