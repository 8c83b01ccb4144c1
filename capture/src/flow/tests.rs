//! A device, a listener and a clock that only the test moves.

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

/// Seconds.
const NIGHT: f64 = 8.0 * 3600.0;

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

#[test]
fn nights_asleep_are_told_and_no_silence_stands_for_them() {
    for kind in [Kind::Microphone, Kind::System] {
        let mut bench = Bench::new(kind);
        for night in 1..=3 {
            bench.plays(20.0);
            bench.now += NIGHT;
            bench.plays(20.0);
            let (sound, silence, lost) = bench.heard();
            near(sound, 40.0);
            near(silence, 0.0);
            near(lost, NIGHT);
            let surplus = bench.flow.pace.surplus(bench.now - bench.flow.leapt);
            assert!(surplus.abs() < 0.06, "{kind:?}, night {night}: {surplus} s from its place");
        }
    }
}

#[test]
fn a_night_asleep_is_told_though_no_sound_comes_after_it() {
    let mut bench = Bench::new(Kind::Microphone);
    bench.plays(10.0);
    bench.stalls(3.0);
    bench.now += NIGHT;
    bench.stalls(2.0);
    bench.plays(10.0);
    let (sound, silence, lost) = bench.heard();
    near(sound, 20.0);
    // Of the first stall, what was still waited for belongs to the night.
    near(silence, 3.0 - PATIENCE_MICROPHONE + 2.0 - SETTLE_MAX);
    near(lost, NIGHT + 5.0);
}

#[test]
fn a_night_asleep_without_a_device_is_told() {
    let mut bench = Bench::new(Kind::System);
    bench.plays(10.0);
    bench.flow.no_device();
    bench.now += NIGHT;
    for _ in 0..20 {
        bench.now += 0.05;
        bench.flow.look(None, bench.now);
    }
    bench.flow.device(48_000).unwrap();
    bench.plays(10.0);
    let (sound, silence, lost) = bench.heard();
    near(sound, 20.0);
    assert!(silence < 1.11, "{silence} s of silence");
    near(lost, NIGHT + 1.0);
}

#[test]
fn a_stop_of_some_seconds_is_silence_still() {
    let mut bench = Bench::new(Kind::Microphone);
    bench.plays(10.0);
    bench.now += 4.0;
    bench.plays(10.0);
    let (sound, silence, lost) = bench.heard();
    near(sound, 20.0);
    near(silence, 4.0);
    near(lost, 4.0);
}

#[test]
fn what_was_kept_while_this_was_stopped_is_heard_and_not_told_as_lost() {
    let mut bench = Bench::new(Kind::Microphone);
    bench.plays(10.0);
    bench.now += 7.0;
    bench.stalls(0.1);
    bench.device.push_entire_slice(&[0.25; 144_000]).unwrap();
    bench.plays(10.0);
    let (sound, silence, lost) = bench.heard();
    near(sound, 23.0);
    near(silence, 4.1);
    near(lost, 4.1);
}
