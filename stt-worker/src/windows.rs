//! Audio longer than the model hears at once, cut where it is quietest. The gateway cuts long utterances itself, so
//! this is for models with a short window.

use shared::audio::SAMPLE_RATE;

use crate::silence::rms;

/// The cut is looked for in this much audio at the end of each window.
const SEARCH: usize = 2 * SAMPLE_RATE as usize;
/// Length of the quiet stretch, 20 ms; the cut is at its middle.
const STRETCH: usize = SAMPLE_RATE as usize / 50;

/// `pcm` in parts of at most `window` samples; nothing is lost, nothing comes twice.
pub(crate) fn split(pcm: &[f32], window: usize) -> Vec<&[f32]> {
    let window = window.max(STRETCH);
    let mut parts = Vec::new();
    let mut rest = pcm;
    while rest.len() > window {
        let (part, after) = rest.split_at(quietest(&rest[..window]));
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Where to cut a full window: never at its start, so that every cut makes progress.
fn quietest(window: &[f32]) -> usize {
    let from = window.len().saturating_sub(SEARCH).max(window.len() / 2);
    window[from..]
        .chunks_exact(STRETCH)
        .enumerate()
        .min_by(|(_, a), (_, b)| rms(a).total_cmp(&rms(b)))
        .map_or(window.len(), |(at, _)| from + at * STRETCH + STRETCH / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cut_is_in_the_pause() {
        let mut pcm = vec![0.1_f32; 6 * 16_000];
        pcm[64_000..64_640].fill(0.0);
        let parts = split(&pcm, 5 * 16_000);
        assert_eq!(parts.len(), 2);
        assert!((64_000..64_640).contains(&parts[0].len()), "{}", parts[0].len());
    }

    proptest! {
        #[test]
        fn parts_fit_and_add_up(samples in 0..50_000_usize, window in 1..20_000_usize) {
            let pcm: Vec<f32> = (0..samples).map(|i| (i % 97) as f32 / 100.0).collect();
            let parts = split(&pcm, window);
            prop_assert!(parts.iter().all(|part| part.len() <= window.max(STRETCH)));
            prop_assert_eq!(parts.concat(), pcm);
        }
    }
}
