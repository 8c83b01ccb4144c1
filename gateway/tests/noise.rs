//! Noise must not open utterances, and speech must be kept, both with the default settings of a session.

mod sounds;

use gateway::segment::{Cut, DetectorKind, Segmenter, SegmenterConfig};
use sounds::{Dice, at_level, brown, gain, hum, key_clicks, pink, rms, speech, to_i16, tone, white};

/// Clips of each kind of noise.
const CLIPS: u64 = 100;
/// Length of a clip, samples (5 s).
const CLIP: usize = 80_000;
/// Frames speech is labelled in, samples (10 ms).
const LABEL: usize = 160;

/// First sample and one past the last of every utterance in `wave`.
fn utterances(wave: &[f64]) -> Vec<(usize, usize)> {
    let mut segmenter = Segmenter::new(SegmenterConfig::default(), DetectorKind::default().build());
    let mut cuts = Vec::new();
    to_i16(wave).chunks(1600).for_each(|chunk| segmenter.push(chunk, &mut cuts));
    segmenter.finalize(&mut cuts);
    let starts = cuts.iter().filter_map(|cut| match cut {
        Cut::Started { start_sample, .. } => Some(*start_sample as usize),
        _ => None,
    });
    let ends = cuts.iter().filter_map(|cut| match cut {
        Cut::Ended { end_sample, .. } => Some(*end_sample as usize),
        _ => None,
    });
    starts.zip(ends).collect()
}

/// Fewer than 2 % of the clips may open an utterance.
fn assert_silent(kind: &str, clip: impl Fn(&mut Dice) -> Vec<f64>) {
    let opened = (0..CLIPS).filter(|seed| !utterances(&clip(&mut Dice(seed * 7919 + kind.len() as u64))).is_empty());
    let share = opened.count() as f64 / CLIPS as f64;
    assert!(share < 0.02, "{kind}: {:.1} % of clips open an utterance", share * 100.0);
}

#[test]
fn white_noise_opens_no_utterance() {
    for db in [-60, -40, -20, -10] {
        assert_silent(&format!("white noise at {db} dBFS"), |dice| at_level(white(dice, CLIP), db.into()));
    }
}

#[test]
fn pink_and_brown_noise_open_no_utterance() {
    for db in [-40, -20, -10] {
        assert_silent(&format!("pink noise at {db} dBFS"), |dice| at_level(pink(dice, CLIP), db.into()));
        assert_silent(&format!("brown noise at {db} dBFS"), |dice| at_level(brown(dice, CLIP), db.into()));
    }
}

#[test]
fn mains_hum_opens_no_utterance() {
    for db in [-45, -30, -20, -10] {
        assert_silent(&format!("50 Hz hum at {db} dBFS"), |dice| at_level(hum(dice, 50.0, CLIP), db.into()));
        assert_silent(&format!("60 Hz hum at {db} dBFS"), |dice| at_level(hum(dice, 60.0, CLIP), db.into()));
    }
    assert_silent("50 Hz hum over hiss", |dice| {
        let level = dice.between(-40.0, -15.0);
        let hum = at_level(hum(dice, 50.0, CLIP), level);
        at_level(white(dice, CLIP), -35.0).iter().zip(hum).map(|(a, b)| a + b).collect()
    });
}

#[test]
fn tones_and_key_clicks_open_no_utterance() {
    for db in [-40, -20, -6] {
        assert_silent(&format!("tones at {db} dBFS"), |dice| {
            let hz = 80.0 * 2f64.powf(dice.between(0.0, 6.5));
            at_level(tone(dice, hz, CLIP), db.into())
        });
    }
    assert_silent("key clicks", |dice| key_clicks(dice, CLIP));
}

/// Speech of three languages with pauses, and which frames of it are speech: those within 40 dB of the loudest.
fn conversation(level_db: f64, lead: usize) -> (Vec<f64>, Vec<bool>) {
    let mut wave = vec![0.0; lead];
    for name in ["en.wav", "es.wav", "de.wav"] {
        wave.extend(speech(name).iter().map(|s| s * gain(level_db)));
        wave.extend(vec![0.0; 19_200]);
    }
    let levels: Vec<f64> = wave.chunks_exact(LABEL).map(rms).collect();
    let loudest = levels.iter().copied().fold(0.0, f64::max);
    let labels = levels.iter().map(|level| *level > loudest * gain(-40.0)).collect();
    (wave, labels)
}

/// Share of speech frames that lie wholly within an utterance.
fn kept(labels: &[bool], found: &[(usize, usize)]) -> f64 {
    let frames = labels.iter().enumerate().filter(|(_, speech)| **speech).map(|(n, _)| n * LABEL);
    let inside = |at: &usize| found.iter().any(|(start, end)| start <= at && at + LABEL <= *end);
    let (kept, all) = frames.fold((0usize, 0usize), |(kept, all), at| (kept + usize::from(inside(&at)), all + 1));
    kept as f64 / all.max(1) as f64
}

#[test]
fn clean_speech_is_kept_and_cut_at_its_pauses() {
    for level in [0.0, -14.0, -30.0] {
        for lead in [0, 70, 130, 16_000, 16_200] {
            let (wave, labels) = conversation(level, lead);
            let found = utterances(&wave);
            let share = kept(&labels, &found);
            println!("clean speech at {level} dB, {lead} samples in: {:.1} % kept", share * 100.0);
            assert!(share > 0.95, "{:.1} % kept at {level} dB, {lead} samples in", share * 100.0);
            assert_eq!(found.len(), 3, "{level} dB, {lead} samples in: {found:?}");
        }
    }
}

#[test]
fn speech_in_noise_is_kept() {
    for (name, noise) in [("white", white as fn(&mut Dice, usize) -> Vec<f64>), ("pink", pink), ("brown", brown)] {
        for snr in [20.0, 15.0, 10.0] {
            for level in [0.0, -14.0, -30.0] {
                let (clean, labels) = conversation(level, 8_000);
                let active = clean.chunks_exact(LABEL).zip(&labels).filter(|(_, speech)| **speech);
                let speech_db = 20.0 * rms(&active.flat_map(|(frame, _)| frame.to_vec()).collect::<Vec<_>>()).log10();
                let noise = at_level(noise(&mut Dice(11), clean.len()), speech_db - snr);
                let wave: Vec<f64> = clean.iter().zip(noise).map(|(a, b)| a + b).collect();
                let found = utterances(&wave);
                let share = kept(&labels, &found);
                println!("speech at {level} dB in {name} noise {snr} dB below: {:.1} % kept", share * 100.0);
                assert!(share > 0.95, "{:.1} % kept at {level} dB, {name} noise {snr} dB below", share * 100.0);
                assert_eq!(found.len(), 3, "the pauses are lost in {name} noise {snr} dB below {level} dB: {found:?}");
            }
        }
    }
}
