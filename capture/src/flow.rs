//! The way of the sound: from the ring, at the pace of the clock, through the converter, to the listener.

use std::time::Duration;

use rtrb::Consumer;
use rubato::ResamplerConstructionError;

use crate::{
    Kind, SAMPLE_RATE,
    outlet::Outlet,
    pace::{Gap, Pace},
    resample::Converter,
};

/// Seconds without sound until silence goes on. What a machine plays stops often, and then its utterance is to end; a
/// microphone that stops is a fault, which mends itself mostly.
const PATIENCE_SYSTEM: f64 = 0.3;
const PATIENCE_MICROPHONE: f64 = 1.0;
/// Seconds that sound is left in the ring when it comes back, to see whether more is there than one block; and at most.
const SETTLE: f64 = 0.1;
const SETTLE_MAX: f64 = 0.4;
/// Below this, sound is quiet enough to be left out when there is too much of it: -50 dB of full scale.
const QUIET: f32 = 0.003_16;
/// Seconds of too much from which quiet is left out: more than jitter and drift come to.
const TOO_MUCH: f64 = 0.04;
/// Pieces that are quiet or not, per second.
const PIECES_PER_SECOND: u32 = 100;
/// Seconds between two reports of a loss that goes on.
const REPORT: f64 = 1.0;
/// Seconds that sound may be behind the clock and still be made up for with silence. While this runs it is never as much,
/// for patience ends sooner: so the machine slept (the clock of Windows runs on then) or this was stopped, for all one
/// knows for hours, and a night of silence is of no use to anybody.
const LEAP: f64 = 5.0;

/// One capture's sound. All times are seconds since its start, less those that were leapt over.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) outlet: Outlet,
    kind: Kind,
    pace: Pace,
    converter: Option<Converter>,
    /// Samples per second that go into the converter; those of the output when there is none.
    rate: u32,
    /// When sound was first seen again in the ring, and how much was there at the last look.
    settle: Option<(f64, usize)>,
    /// Seconds that no sound and no silence stands for, and when the clock was first seen to have leapt once more.
    leapt: f64,
    leap: Option<f64>,
    /// Whether silence that is put in now stands for sound that was there to hear.
    is_losing: bool,
    /// Seconds lost that nobody was told of yet, and when somebody last was.
    lost: f64,
    told: f64,
    /// Part of a sample of silence still to be put in.
    fraction: f64,
    sound: Vec<f32>,
    out: Vec<i16>,
}

impl Flow {
    pub(crate) fn new(kind: Kind, outlet: Outlet) -> Self {
        let patience = if kind == Kind::System { PATIENCE_SYSTEM } else { PATIENCE_MICROPHONE };
        Self {
            outlet,
            kind,
            pace: Pace::new(patience),
            converter: None,
            rate: SAMPLE_RATE,
            settle: None,
            leapt: 0.0,
            leap: None,
            is_losing: false,
            lost: 0.0,
            told: 0.0,
            fraction: 0.0,
            sound: Vec::new(),
            out: Vec::new(),
        }
    }

    /// A device of `rate` samples per second gives the sound from now on.
    pub(crate) fn device(&mut self, rate: u32) -> Result<(), ResamplerConstructionError> {
        let converter = Converter::new(rate)?;
        self.no_device();
        (self.converter, self.rate) = (Some(converter), rate);
        Ok(())
    }

    /// No device gives sound.
    pub(crate) fn no_device(&mut self) {
        if let Some(converter) = self.converter.take() {
            converter.finish(&mut self.out);
            self.outlet.sound(&mut self.out);
            self.pace.moved();
            self.is_losing = true;
        }
        (self.rate, self.settle, self.fraction) = (SAMPLE_RATE, None, 0.0);
    }

    /// Looks at the ring, `now` seconds after the start by the clock on the wall.
    pub(crate) fn look(&mut self, ring: Option<&mut Consumer<f32>>, now: f64) {
        let Some(now) = self.settled(ring.as_ref().map_or(0, |ring| ring.slots()), now - self.leapt) else { return };
        match ring {
            Some(ring) if ring.slots() > 0 => {
                if !self.pace.is_broken() || self.has_settled(ring.slots(), now) {
                    self.take(ring, now);
                }
            }
            _ => self.wait(now),
        }
        self.report(now, false);
        self.outlet.sound(&mut self.out);
    }

    /// The time to go on with, after a leap of the clock if there was one; none until it is clear how far it went: what
    /// comes in a lump right after was late, not lost.
    fn settled(&mut self, there: usize, now: f64) -> Option<f64> {
        let late = self.pace.late(now) - self.seconds(there);
        if late <= LEAP {
            self.leap = None;
            return Some(now);
        }
        if now - *self.leap.get_or_insert(now) < SETTLE_MAX {
            return None;
        }
        self.leap(late, now - late);
        Some(now - late)
    }

    /// Goes on at `now` as if `late` seconds had not been, but for telling them.
    fn leap(&mut self, late: f64, now: f64) {
        tracing::info!(seconds = late, "no sound for so long at once; the machine slept, or this was stopped");
        self.leapt += late;
        self.pace.leapt();
        if let Some(converter) = &mut self.converter {
            converter.restart(&mut self.out);
        }
        self.outlet.sound(&mut self.out);
        self.lost += late;
        self.report(now, true);
        self.is_losing |= self.is_owed();
        (self.leap, self.settle, self.fraction) = (None, None, 0.0);
    }

    /// Whether what does not come now is lost. That nothing plays is no loss.
    fn is_owed(&self) -> bool {
        self.kind == Kind::Microphone || self.converter.is_none()
    }

    /// Whether what has come back can be measured: it has been coming for a while, and a block has come just now.
    fn has_settled(&mut self, there: usize, now: f64) -> bool {
        let (since, before) = *self.settle.get_or_insert((now, there));
        self.settle = Some((since, there));
        let is_over = (now - since >= SETTLE && there > before) || now - since >= SETTLE_MAX;
        if is_over {
            self.settle = None;
        }
        is_over
    }

    fn wait(&mut self, now: f64) {
        let silence = self.pace.waited(now);
        if silence > 0.0 {
            self.is_losing |= self.is_owed();
            self.silence(silence, self.is_losing);
        }
    }

    fn take(&mut self, ring: &mut Consumer<f32>, now: f64) {
        let Ok(chunk) = ring.read_chunk(ring.slots()) else { return };
        let mut sound = std::mem::take(&mut self.sound);
        let (first, second) = chunk.as_slices();
        sound.extend_from_slice(first);
        sound.extend_from_slice(second);
        chunk.commit_all();
        match self.pace.arrived(self.seconds(sound.len()), now) {
            Gap::None => {}
            Gap::Rest(silence) => self.silence(silence, self.is_losing),
            Gap::Missing(silence) => self.silence(silence, true),
        }
        self.is_losing = false;
        self.report(now, true);
        self.convert(&sound, now);
        sound.clear();
        self.sound = sound;
    }

    fn convert(&mut self, sound: &[f32], now: f64) {
        let Some(converter) = &mut self.converter else { return };
        converter.steer(self.pace.steer());
        for piece in sound.chunks((self.rate / PIECES_PER_SECOND).max(1) as usize) {
            let is_quiet = || piece.iter().all(|sample| sample.abs() < QUIET);
            if self.pace.surplus(now) > TOO_MUCH && is_quiet() {
                #[expect(clippy::cast_precision_loss, reason = "10 ms of samples")]
                self.pace.skipped(piece.len() as f64 / f64::from(self.rate));
            } else {
                converter.push(piece, &mut self.out);
            }
        }
    }

    fn silence(&mut self, seconds: f64, is_lost: bool) {
        if is_lost {
            self.lost += seconds;
        }
        let samples = seconds * f64::from(self.rate) + self.fraction;
        self.fraction = samples.fract();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than LEAP")]
        let samples = samples.trunc().max(0.0) as usize;
        match &mut self.converter {
            Some(converter) => converter.silence(samples, &mut self.out),
            None => self.out.resize(self.out.len() + samples, 0),
        }
    }

    fn report(&mut self, now: f64, is_over: bool) {
        if self.lost > 0.0 && (is_over || now - self.told >= REPORT) {
            self.outlet.lost(Duration::from_secs_f64(self.lost));
            (self.lost, self.told) = (0.0, now);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "what a ring holds")]
    fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / f64::from(self.rate)
    }
}

#[cfg(test)]
mod tests;
