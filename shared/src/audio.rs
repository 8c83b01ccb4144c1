//! The one PCM format inside Subtide: 16 kHz, mono, signed 16-bit little-endian.

use std::time::Duration;

/// Samples per second of all audio past the gateway's resampler; what Whisper was trained on.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples per millisecond at [`SAMPLE_RATE`].
pub const SAMPLES_PER_MS: u64 = SAMPLE_RATE as u64 / 1000;
/// Bytes per sample of PCM s16le.
pub const BYTES_PER_SAMPLE: usize = 2;

/// How long `samples` samples at 16 kHz last, in whole milliseconds (rounded down).
#[must_use]
pub fn samples_to_ms(samples: u64) -> u64 {
    samples / SAMPLES_PER_MS
}

/// How many samples at 16 kHz `duration` holds (rounded down).
#[must_use]
pub fn duration_to_samples(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / SAMPLES_PER_MS).saturating_mul(SAMPLES_PER_MS)
}

/// PCM s16le bytes to samples in -1..1 (full scale is 32768). An odd last byte is ignored; callers refuse it earlier.
#[must_use]
pub fn s16le_to_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect()
}

/// Samples in -1..1 to PCM s16le bytes; louder samples are clipped.
#[must_use]
pub fn f32_to_s16le(samples: &[f32]) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16 first")]
    samples.iter().flat_map(|s| ((s * 32768.0).round().clamp(-32768.0, 32767.0) as i16).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcm_survives_the_round_trip() {
        let bytes: Vec<u8> = [i16::MIN, -1, 0, 1, i16::MAX].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(f32_to_s16le(&s16le_to_f32(&bytes)), bytes);
    }

    #[test]
    fn loud_samples_are_clipped() {
        assert_eq!(f32_to_s16le(&[2.0, -2.0]), [0xff, 0x7f, 0x00, 0x80]);
    }

    #[test]
    fn units_agree() {
        assert_eq!(samples_to_ms(16_000), 1000);
        assert_eq!(duration_to_samples(Duration::from_millis(250)), 4000);
    }
}
