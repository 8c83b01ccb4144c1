//! Marks in audio: a number in the lowest bits of 128 samples (8 ms), which no ear and no detector of speech notices.
//!
//! A client that put them there knows what a stub of a model hears, to the word, wherever the audio is cut, sent again or
//! taken over; so a word that is lost, said twice or said too early cannot hide.

/// Samples that one mark takes.
pub const MARK_SAMPLES: usize = 128;
/// The first bits of every mark.
const MAGIC: u32 = 0x5ab7_1de5;
/// Makes the last bits of a mark differ from its first ones.
const SALT: u32 = 0x9e37_79b9;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// A word is spoken.
    Word(u32),
    /// The model fails whenever it hears this.
    Poison(u32),
    /// The process of the model dies whenever it hears this.
    Crash(u32),
}

impl Mark {
    fn parts(self) -> (u32, u32) {
        match self {
            Self::Word(number) => (1, number),
            Self::Poison(number) => (2, number),
            Self::Crash(number) => (3, number),
        }
    }

    fn bits(self) -> u128 {
        let (kind, number) = self.parts();
        [MAGIC, kind, number, check(kind, number)].iter().fold(0, |bits, part| bits << 32 | u128::from(*part))
    }

    fn of_bits(bits: u128) -> Option<Self> {
        let part = |place: u32| u32::try_from(bits >> (32 * place) & u128::from(u32::MAX)).unwrap_or_default();
        let (magic, kind, number) = (part(3), part(2), part(1));
        if magic != MAGIC || part(0) != check(kind, number) {
            return None;
        }
        match kind {
            1 => Some(Self::Word(number)),
            2 => Some(Self::Poison(number)),
            3 => Some(Self::Crash(number)),
            _ => None,
        }
    }

    /// Writes the mark into the first [`MARK_SAMPLES`] of `samples`; in fewer it is not whole, and nobody will read it.
    pub fn write(self, samples: &mut [i16]) {
        let bits = self.bits();
        for (sample, place) in samples.iter_mut().zip((0..128).rev()) {
            *sample = *sample & !1 | i16::from(bits >> place & 1 == 1);
        }
    }
}

fn check(kind: u32, number: u32) -> u32 {
    (number.rotate_left(13) ^ kind.wrapping_mul(SALT)).wrapping_mul(SALT)
}

/// The marks in `samples`, each with the number of samples up to its end.
pub fn read(samples: impl IntoIterator<Item = i16>) -> Vec<(usize, Mark)> {
    let mut bits = 0_u128;
    let mut found = Vec::new();
    for (index, sample) in samples.into_iter().enumerate() {
        bits = bits << 1 | u128::from(sample & 1 == 1);
        // Of one that is not whole the first bits may be right by chance.
        if index + 1 >= MARK_SAMPLES
            && let Some(mark) = Mark::of_bits(bits)
        {
            found.push((index + 1, mark));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<i16> {
        let mut state = 1_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i16::try_from(state >> 17).unwrap_or_default()
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_was_written_is_read_wherever_it_lies() {
        let mut samples = noise(2000);
        let marks = [(3, Mark::Word(7)), (200, Mark::Poison(u32::MAX)), (777, Mark::Crash(0)), (1500, Mark::Word(7))];
        for (at, mark) in marks {
            mark.write(&mut samples[at..]);
        }
        let expected = marks.map(|(at, mark)| (at + MARK_SAMPLES, mark));
        assert_eq!(read(samples.iter().copied()), expected);
        assert_eq!(read(samples[4..].iter().copied()).len(), 3, "one that is not whole is none");
    }

    #[test]
    fn there_are_none_in_noise_and_silence() {
        assert_eq!(read(noise(1_000_000)), []);
        assert_eq!(read(vec![0; 1000]), []);
    }
}
