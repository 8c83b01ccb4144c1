//! Devices as they are, on a clock that only the test moves.

use super::*;

/// A device that delivers `block` seconds at a time, by its own count, `ppm` millionths fast.
struct Simulated {
    ppm: f64,
    block: f64,
    /// Arrivals are late by up to so many seconds, at random.
    jitter: f64,
    /// Nothing is recorded between these times.
    stall: std::ops::Range<f64>,
    /// What is recorded between these times comes all at once at their end.
    clogged: std::ops::Range<f64>,
}

impl Default for Simulated {
    fn default() -> Self {
        Self { ppm: 0.0, block: 0.06, jitter: 0.01, stall: 0.0..0.0, clogged: 0.0..0.0 }
    }
}

/// What came of a run.
#[derive(Default)]
struct Outcome {
    /// How far the output was from its place, in seconds, at the end of each second.
    errors: Vec<f64>,
    fills: f64,
    rests: f64,
    missing: f64,
    /// Greatest change of the steer at once.
    slew: f64,
    steer: f64,
}

impl Outcome {
    fn worst(&self, from: usize) -> f64 {
        self.errors[from..].iter().map(|e| e.abs()).fold(0.0, f64::max)
    }
}

/// xorshift64*: the same numbers each time.
fn random(state: &mut u64) -> f64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Runs `device` for `seconds`; an error is measured against the place at the end of the fifth second.
fn run(device: &Simulated, patience: f64, seconds: f64) -> Outcome {
    let mut pace = Pace::new(patience);
    let (mut outcome, mut seed) = (Outcome::default(), 0x5EED_u64);
    let (mut place, mut best, mut second) = (None, f64::NEG_INFINITY, 0_usize);
    let (mut recorded, mut last) = (0.0, 0.0_f64);
    let mut steer = 0.0_f64;
    while recorded < seconds {
        // The device fills a block, at its own speed.
        recorded += device.block / (1.0 + device.ppm / 1e6);
        if device.stall.contains(&recorded) {
            recorded = device.stall.end + device.block;
        }
        let mut arrival = (recorded + random(&mut seed) * device.jitter).max(last);
        if device.clogged.contains(&recorded) {
            arrival = device.clogged.end;
        }
        // In between the thread looks every 50 ms, and finds nothing.
        while last + 0.05 < arrival {
            last += 0.05;
            outcome.fills += pace.waited(last);
        }
        last = arrival;
        match pace.arrived(device.block, arrival) {
            Gap::None => {}
            Gap::Rest(time) => outcome.rests += time,
            Gap::Missing(time) => outcome.missing += time,
        }
        outcome.slew = outcome.slew.max((pace.steer() - steer).abs());
        steer = pace.steer();
        best = best.max(pace.made - arrival);
        if arrival >= (second + 1) as f64 {
            second += 1;
            if second == 5 {
                place = Some(best);
            }
            outcome.errors.push(place.map_or(0.0, |place: f64| best - place));
            best = f64::NEG_INFINITY;
        }
    }
    outcome.steer = steer;
    outcome
}

#[test]
fn an_hour_of_a_device_that_runs_wrong_stays_within_20_ms() {
    for ppm in [-300.0, -20.0, 0.0, 20.0, 300.0] {
        let outcome = run(&Simulated { ppm, ..Simulated::default() }, 1.0, 3600.0);
        let drift = outcome.worst(0) * 1e3;
        println!("{ppm} ppm, 1 h: {drift:.2} ms from its place at worst, steer {:.1} ppm", outcome.steer * 1e6);
        assert!(drift < 20.0, "{ppm} ppm: {drift} ms");
        assert!((outcome.steer * 1e6 + ppm).abs() < 60.0, "{ppm} ppm: steered by {}", outcome.steer * 1e6);
        assert_eq!((outcome.fills, outcome.rests, outcome.missing), (0.0, 0.0, 0.0), "{ppm} ppm: nothing was lost");
        assert!(outcome.slew <= MAX_SLEW * 2.01, "{ppm} ppm: {} at once", outcome.slew);
    }
}

#[test]
fn much_jitter_is_no_drift_and_no_loss() {
    for ppm in [-300.0, 300.0] {
        let outcome = run(&Simulated { ppm, jitter: 0.04, block: 0.02, ..Simulated::default() }, 1.0, 3600.0);
        let drift = outcome.worst(0) * 1e3;
        println!("{ppm} ppm, jitter 40 ms, 1 h: {drift:.2} ms from its place at worst");
        assert!(drift < 20.0, "{ppm} ppm: {drift} ms");
        assert_eq!((outcome.fills, outcome.missing), (0.0, 0.0));
    }
    // On a machine that stutters all the time, sound is late, and nothing is taken for lost.
    let outcome = run(&Simulated { jitter: 0.15, block: 0.02, ..Simulated::default() }, 1.0, 3600.0);
    println!("jitter 150 ms, 1 h: {:.2} ms from its place at worst", outcome.worst(0) * 1e3);
    assert_eq!((outcome.fills, outcome.missing), (0.0, 0.0));
}

#[test]
fn a_software_device_that_is_far_off_is_caught_without_a_word_of_loss() {
    for ppm in [-4000.0, 4000.0] {
        let outcome = run(&Simulated { ppm, ..Simulated::default() }, 1.0, 900.0);
        assert!(outcome.worst(300) < 0.02, "{ppm} ppm: {} s", outcome.worst(300));
        assert_eq!((outcome.fills, outcome.missing), (0.0, 0.0));
    }
}

#[test]
fn a_stall_is_filled_with_as_much_silence_not_stretched() {
    for patience in [0.3, 1.0] {
        let outcome = run(&Simulated { ppm: 100.0, stall: 120.0..122.0, ..Simulated::default() }, patience, 600.0);
        let silence = outcome.fills + outcome.rests;
        assert!((silence - 2.0).abs() < 0.09, "{silence} s of silence for 2 s");
        assert_eq!(outcome.missing, 0.0);
        assert!(outcome.worst(0).min(outcome.worst(130)) < 0.02, "{} s from its place", outcome.worst(130));
        assert!((outcome.steer * 1e6 + 100.0).abs() < 60.0, "steered by {}", outcome.steer * 1e6);
    }
}

#[test]
fn a_short_hole_is_found_and_filled_though_nothing_waited() {
    let outcome = run(&Simulated { stall: 120.0..120.25, ..Simulated::default() }, 1.0, 300.0);
    assert_eq!((outcome.fills, outcome.rests), (0.0, 0.0));
    assert!((outcome.missing - 0.25).abs() < 0.08, "{} s missing", outcome.missing);
    assert!(outcome.worst(125) < 0.02, "{} s from its place", outcome.worst(125));
}

#[test]
fn sound_that_comes_late_in_one_lump_is_not_lost() {
    let late = run(&Simulated { clogged: 120.0..120.8, ..Simulated::default() }, 1.0, 300.0);
    assert_eq!((late.fills, late.rests, late.missing), (0.0, 0.0, 0.0));
    assert!(late.worst(0) < 0.02);
}

#[test]
fn a_device_that_delivers_in_lumps_is_met_with_patience() {
    // 1 s at a time: impatient at first, it learns.
    let lumps = Simulated { block: 1.0, jitter: 0.005, ..Simulated::default() };
    let outcome = run(&lumps, 0.3, 300.0);
    assert!(outcome.fills < 3.0, "{} s of silence in 300 s", outcome.fills);
}

#[test]
fn a_device_that_gives_nothing_is_silence_at_the_pace_of_the_clock() {
    let mut pace = Pace::new(0.3);
    let filled: f64 = (1..=72_000).map(|tick| pace.waited(f64::from(tick) * 0.05)).sum();
    assert!((filled - (3600.0 - 0.3)).abs() < 0.06, "{filled} s in an hour");
    assert!(pace.is_broken());
}

#[test]
fn another_device_takes_up_where_the_clock_is() {
    let mut pace = Pace::new(1.0);
    let mut silence = 0.0;
    let count = |gap| match gap {
        Gap::None => 0.0,
        Gap::Rest(time) | Gap::Missing(time) => time,
    };
    for tick in 1..=1000 {
        silence += count(pace.arrived(0.02, f64::from(tick) * 0.02));
    }
    assert_eq!(silence, 0.0);
    // Gone at 20 s, another there at 25 s, which is 0.1 s later in all it gives.
    pace.moved();
    for tick in 401..=500 {
        silence += pace.waited(f64::from(tick) * 0.05);
    }
    for tick in 1..=1000 {
        silence += count(pace.arrived(0.02, 25.0 + f64::from(tick) * 0.02));
    }
    assert!((silence - 5.0).abs() < 0.021, "{silence} s of silence for 5 s");
    assert!(pace.surplus(45.0).abs() < 0.02);
}
