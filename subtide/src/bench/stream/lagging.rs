//! How far translation lags behind speech: LAAL and StreamLAAL.
//!
//! - LAAL, length-adaptive average lagging: Papi, Gaido, Negri, Turchi 2022, "Over-Generation Cannot Be Rewarded:
//!   Length-Adaptive Average Lagging for Simultaneous Speech Translation". Over the utterances as the gateway cut them.
//! - StreamLAAL: Papi, Gaido, Negri, Bentivogli 2024, "StreamAtt: Direct Streaming Speech-to-Text Translation with
//!   Attention-based Audio History Selection": the same over the sentences of the reference, into which the stream is cut
//!   first; `simulstream` measures it so.
//!
//! Both are given twice: by the clock (computation-aware) and by the audio heard (computation-unaware).

use super::figures::Delay;

/// A stretch of speech and the translation of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    /// Where the speech begins, milliseconds.
    pub(super) start_ms: f64,
    /// Where it ends.
    pub(super) end_ms: f64,
    /// Words of the reference translation.
    pub(super) reference_words: usize,
    /// When each word of the translation was committed: by the clock, and by the audio heard until then.
    pub(super) words: Vec<Delay>,
}

impl Stretch {
    /// LAAL of this stretch, milliseconds; `None` where nothing was translated.
    pub(super) fn laal(&self) -> Option<Delay> {
        let of = |value: fn(&Delay) -> f64| {
            let delays: Vec<f64> = self.words.iter().map(|word| value(word) - self.start_ms).collect();
            laal(&delays, self.end_ms - self.start_ms, self.reference_words)
        };
        Some(Delay { wall_ms: of(|d| d.wall_ms)?, audio_ms: of(|d| d.audio_ms)? })
    }
}

/// Equation 4 of the paper. `delays`: from the start of the speech to each word of the translation; the ideal translator
/// has said all of the longer of translation and reference, evenly, when the speech ends. The mean is over the words up to
/// the first that came after the speech had ended.
fn laal(delays: &[f64], source_ms: f64, reference_words: usize) -> Option<f64> {
    let first = *delays.first()?;
    if first > source_ms || source_ms <= 0.0 {
        return Some(first);
    }
    let step = source_ms / delays.len().max(reference_words) as f64;
    let counted = delays.iter().position(|delay| *delay >= source_ms).map_or(delays.len(), |at| at + 1);
    let lag = delays[..counted].iter().enumerate().map(|(word, delay)| delay - word as f64 * step).sum::<f64>();
    Some(lag / counted as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_hand() {
        // Ideal: 0, 1, 2, 3 s. Lags 1, 1, 1 s and, after the end, 5 - 3 = 2 s; the fifth word does not count.
        assert_eq!(laal(&[1000.0, 2000.0, 3000.0, 5000.0], 4000.0, 4), Some(1250.0));
        // A longer reference makes the ideal steps shorter: 0, 0.5, 1, 1.5 s.
        assert_eq!(laal(&[1000.0, 2000.0, 3000.0, 5000.0], 4000.0, 8), Some((1000.0 + 1500.0 + 2000.0 + 3500.0) / 4.0));
        // So does a longer translation, whose words after the end do not count.
        assert_eq!(laal(&[1000.0, 4000.0, 4000.0, 4000.0], 4000.0, 2), Some((1000.0 + 3000.0) / 2.0));
        assert_eq!(laal(&[4500.0, 5000.0], 4000.0, 2), Some(4500.0));
        assert_eq!(laal(&[], 4000.0, 2), None);
    }

    #[test]
    fn a_stretch_counts_from_its_start_by_both_clocks() {
        let word = |wall_ms: f64, audio_ms: f64| Delay { wall_ms, audio_ms };
        let words = vec![word(11_500.0, 11_000.0), word(12_500.0, 12_000.0)];
        let stretch = Stretch { start_ms: 10_000.0, end_ms: 12_000.0, reference_words: 2, words };
        assert_eq!(stretch.laal(), Some(word(1500.0, 1000.0)));
    }
}
