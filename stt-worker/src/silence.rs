//! Audio with nothing to hear in it, or no speech, never reaches the model, which would make something up.

use shared::audio::SAMPLE_RATE;

/// Loudness below which nothing is heard, as a root mean square of full scale: -66 dBFS, about the noise floor of a
/// good microphone in a quiet room and 30 dB below a whisper.
const FLOOR: f32 = 0.0005;
/// Stretch whose loudness counts, 100 ms: shorter than any word.
const STRETCH: usize = SAMPLE_RATE as usize / 10;

/// Where the detector is sure of less than this share of the audio, no frame of some hundred, nobody speaks...
const NO_SPEECH: f32 = 0.003;
/// ...if the audio is at least so long (3 s): a few words may have no clear vowel.
const JUDGED_FROM: usize = SAMPLE_RATE as usize * 3;

/// Whether `pcm`, of which the share `speech_share` surely holds speech, is some other sound.
pub(crate) fn is_no_speech(pcm: &[f32], speech_share: f32) -> bool {
    speech_share < NO_SPEECH && pcm.len() >= JUDGED_FROM
}

/// Whether no stretch of `pcm` is louder than the floor.
pub(crate) fn is_silent(pcm: &[f32]) -> bool {
    pcm.chunks(STRETCH).all(|stretch| rms(stretch) < FLOOR)
}

/// Root mean square of `samples`; zero when there are none.
pub(crate) fn rms(samples: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred thousand samples at most")]
    let count = samples.len().max(1) as f32;
    (samples.iter().map(|s| s * s).sum::<f32>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_sounds_are_refused_for_want_of_speech() {
        assert!(is_no_speech(&vec![0.1; 64_000], 0.0));
        assert!(!is_no_speech(&vec![0.1; 64_000], 0.01) && !is_no_speech(&vec![0.1; 32_000], 0.0));
    }

    #[test]
    fn one_soft_word_in_a_long_silence_is_not_silence() {
        let mut pcm = vec![0.0001_f32; 16_000 * 10];
        assert!(is_silent(&pcm));
        for (i, sample) in pcm[80_000..83_200].iter_mut().enumerate() {
            *sample = if i % 40 < 20 { 0.003 } else { -0.003 };
        }
        assert!(!is_silent(&pcm));
        assert!(is_silent(&[]));
    }
}
