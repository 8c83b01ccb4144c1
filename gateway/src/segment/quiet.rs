//! Where a stretch of speech is best cut.

use shared::audio::SAMPLES_PER_MS;

/// Length of audio whose energy is compared: 30 ms, about the pause inside a plosive.
const WINDOW: usize = 30 * SAMPLES_PER_MS as usize;
/// Step between the windows compared: 5 ms.
const STEP: usize = 5 * SAMPLES_PER_MS as usize;

/// The middle of the quietest window in `samples`, as an index; the last of them where several are as quiet. The end
/// of `samples` when they are shorter than a window.
pub(crate) fn quietest_point(samples: &[i16]) -> usize {
    let energy = |window: &[i16]| window.iter().map(|&s| i64::from(s) * i64::from(s)).sum::<i64>();
    let windows = samples.windows(WINDOW).enumerate().step_by(STEP);
    // Backwards, because the first of equals is kept.
    let quietest = windows.rev().min_by_key(|(_, window)| energy(window));
    quietest.map_or(samples.len(), |(start, _)| start + WINDOW / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_pause_is_found() {
        let mut wave: Vec<i16> = (0..16_000).map(|n| if n % 50 < 25 { 5000 } else { -5000 }).collect();
        wave[9_000..9_600].fill(12);
        let point = quietest_point(&wave);
        assert!((9_200..9_400).contains(&point), "cut at {point}");
    }

    #[test]
    fn of_equals_the_last_is_taken_and_short_audio_is_cut_at_its_end() {
        assert_eq!(quietest_point(&[0; 1600]), 1600 - WINDOW / 2);
        assert_eq!(quietest_point(&[0; 100]), 100);
        assert_eq!(quietest_point(&[]), 0);
    }
}
