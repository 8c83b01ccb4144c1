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

/// One capture's sound. All times are seconds since its start.
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

    /// Looks at the ring at `now`.
    pub(crate) fn look(&mut self, ring: Option<&mut Consumer<f32>>, now: f64) {
        match ring {
            Some(ring) if ring.slots() > 0 => {
                if !self.pace.is_broken() || self.has_settled(ring.slots(), now) {
                    self.take(ring, now);
                }
            }
            ring => self.wait(ring.is_some(), now),
        }
        self.report(now, false);
        self.outlet.sound(&mut self.out);
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

    fn wait(&mut self, has_device: bool, now: f64) {
        let silence = self.pace.waited(now);
        if silence > 0.0 {
            // That nothing plays is no loss.
            self.is_losing |= self.kind == Kind::Microphone || !has_device;
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
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than was waited for")]
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
mod tests {
    use rtrb::{Producer, RingBuffer};
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::{Heard, SAMPLE_RATE};

    /// A device whose every sample is 0.25, and who listens to it; the test moves the clock.
    struct Bench {
        flow: Flow,
        heard: Receiver<Heard>,
        device: Producer<f32>,
        ring: Consumer<f32>,
        now: f64,
    }

    impl Bench {
        fn new(kind: Kind) -> Self {
            let (listener, heard) = channel(10_000);
            let (device, ring) = RingBuffer::new(192_000);
            let mut flow = Flow::new(kind, Outlet::new(listener));
            flow.device(48_000).unwrap();
            Self { flow, heard, device, ring, now: 0.0 }
        }

        fn plays(&mut self, seconds: f64) {
            for _ in 0..(seconds / 0.05).round() as usize {
                self.device.push_entire_slice(&[0.25; 2400]).unwrap();
                self.passes();
            }
        }

        fn passes(&mut self) {
            self.now += 0.05;
            self.flow.look(Some(&mut self.ring), self.now);
        }

        fn stalls(&mut self, seconds: f64) {
            (0..(seconds / 0.05).round() as usize).for_each(|_| self.passes());
        }

        /// Seconds of sound, of silence, and told as lost.
        fn heard(&mut self) -> (f64, f64, f64) {
            let mut sums = (0.0, 0.0, 0.0);
            while let Ok(heard) = self.heard.try_recv() {
                match heard {
                    Heard::Frame(frame) => {
                        let loud = frame.pcm.iter().filter(|sample| **sample > 4096).count();
                        sums.0 += loud as f64 / f64::from(SAMPLE_RATE);
                        sums.1 += (frame.pcm.len() - loud) as f64 / f64::from(SAMPLE_RATE);
                    }
                    Heard::Lost(time) => sums.2 += time.as_secs_f64(),
                    other => panic!("{other:?}"),
                }
            }
            sums
        }
    }

    fn near(what: f64, expected: f64) {
        assert!((what - expected).abs() < 0.11, "{what} s, of {expected}");
    }

    #[test]
    fn a_microphone_that_stalls_is_silence_and_a_loss() {
        let mut bench = Bench::new(Kind::Microphone);
        bench.plays(10.0);
        bench.stalls(3.0);
        bench.plays(10.0);
        let (sound, silence, lost) = bench.heard();
        near(sound, 20.0);
        near(silence, 3.0);
        near(lost, 3.0);
    }

    #[test]
    fn that_nothing_plays_is_silence_and_no_loss() {
        let mut bench = Bench::new(Kind::System);
        bench.stalls(5.0);
        bench.plays(10.0);
        bench.stalls(60.0);
        bench.plays(10.0);
        let (sound, silence, lost) = bench.heard();
        near(sound, 20.0);
        // What is waited for at the start is not made up for: everything is later by as much, as it is by a device's delay.
        near(silence, 65.0 - PATIENCE_SYSTEM);
        near(lost, 0.0);
    }

    #[test]
    fn silence_goes_on_while_there_is_no_device_and_is_a_loss() {
        let mut bench = Bench::new(Kind::System);
        bench.plays(10.0);
        bench.flow.no_device();
        for _ in 0..100 {
            bench.now += 0.05;
            bench.flow.look(None, bench.now);
        }
        let (_, silence, lost) = bench.heard();
        assert!((4.0..=5.0).contains(&silence) && lost >= 3.5, "{silence} s of silence, {lost} s lost, so far");
        bench.flow.device(48_000).unwrap();
        bench.plays(10.0);
        let (sound, more, rest) = bench.heard();
        near(sound, 10.0);
        near(silence + more, 5.0);
        near(lost + rest, 5.0);
    }

    #[test]
    fn a_lump_after_a_stall_was_late_not_lost() {
        let mut bench = Bench::new(Kind::Microphone);
        bench.plays(10.0);
        bench.stalls(0.8);
        bench.device.push_entire_slice(&[0.25; 38_400]).unwrap();
        bench.plays(10.0);
        let (sound, silence, lost) = bench.heard();
        near(sound, 20.8);
        near(silence, 0.0);
        near(lost, 0.0);
    }

    #[test]
    fn sound_that_was_taken_for_a_pause_is_heard_and_quiet_makes_up_for_it() {
        // The lump comes 2 s after the silence for it went out.
        let mut bench = Bench::new(Kind::System);
        bench.plays(10.0);
        bench.stalls(2.0);
        bench.plays(0.2);
        bench.device.push_entire_slice(&[0.25; 96_000]).unwrap();
        bench.plays(2.0);
        let (sound, ..) = bench.heard();
        near(sound, 14.2);
        for _ in 0..100 {
            bench.device.push_entire_slice(&[0.0; 2400]).unwrap();
            bench.passes();
        }
        let (_, silence, lost) = bench.heard();
        // 5 s of quiet, less the 2 s that were put in before, but for what steering saw to.
        assert!((2.9..3.3).contains(&silence), "{silence} s of 5 are left");
        near(lost, 0.0);
    }
}
