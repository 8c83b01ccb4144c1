//! Interleaved channels of any sample format become mono.

use cpal::FromSample;

/// Averages each of the frames of `channels` samples; a torn frame at the end is left out.
///
/// The average, not the sum: a voice in the middle of a stereo picture keeps its level and nothing can clip.
pub(crate) fn mono<T: Copy>(samples: &[T], channels: usize) -> impl Iterator<Item = f32>
where
    f32: FromSample<T>,
{
    let channels = channels.max(1);
    #[expect(clippy::cast_precision_loss, reason = "a handful of channels")]
    let share = 1.0 / channels as f32;
    let level = move |frame: &[T]| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() * share;
    samples.chunks_exact(channels).map(level)
}

/// The same for 32 bit floats as a Pulse server sends them: little-endian bytes.
#[cfg(target_os = "linux")]
pub(crate) fn mono_of_bytes(bytes: &[u8], channels: usize) -> impl Iterator<Item = f32> {
    let channels = channels.max(1);
    #[expect(clippy::cast_precision_loss, reason = "a handful of channels")]
    let share = 1.0 / channels as f32;
    let sample = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.chunks_exact(channels * 4).map(move |frame| frame.chunks_exact(4).map(sample).sum::<f32>() * share)
}

#[cfg(test)]
mod tests {
    use super::mono;

    fn mixed<T: Copy>(samples: &[T], channels: usize) -> Vec<f32>
    where
        f32: cpal::FromSample<T>,
    {
        mono(samples, channels).collect()
    }

    #[test]
    fn every_format_has_the_same_full_scale_and_the_same_silence() {
        assert_eq!(mixed(&[0.0_f32, 0.5, -1.0], 1), [0.0, 0.5, -1.0]);
        assert_eq!(mixed(&[0_i16, 0x4000, i16::MIN], 1), [0.0, 0.5, -1.0]);
        assert_eq!(mixed(&[0x8000_u16, 0xC000, 0], 1), [0.0, 0.5, -1.0]);
        assert_eq!(mixed(&[0_i32, 0x4000_0000, i32::MIN], 1), [0.0, 0.5, -1.0]);
        assert_eq!(mixed(&[0x80_u8, 0xC0, 0], 1), [0.0, 0.5, -1.0]);
    }

    #[test]
    fn channels_are_averaged_frame_by_frame_and_a_torn_frame_is_left_out() {
        assert_eq!(mixed(&[0.5_f32, 0.25, -1.0, 1.0, 0.75], 2), [0.375, 0.0]);
        assert_eq!(mixed(&[i16::MIN, i16::MIN, 0, 0, 0, 0, 0, 0], 8), [-0.25]);
        assert_eq!(mixed(&[0.5_f32; 6], 6), [0.5]);
        assert_eq!(mixed(&[0.5_f32], 0), [0.5]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bytes_are_the_same_as_what_they_stand_for() {
        let samples = [0.5_f32, 0.25, -1.0, 1.0, 0.75];
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(super::mono_of_bytes(&bytes, 2).collect::<Vec<_>>(), mixed(&samples, 2));
        assert_eq!(super::mono_of_bytes(&bytes, 1).collect::<Vec<_>>(), samples);
    }
}
