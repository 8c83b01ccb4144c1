//! What SentencePiece does to a text before it cuts it: characters are replaced, spaces tidied and marked.

use super::file::NormalizerSpec;
use super::trie::Trie;

/// What SentencePiece writes for a space.
pub(super) const SPACE: &str = "▁";

#[derive(Debug)]
pub(super) struct Normalizer {
    map: Option<CharacterMap>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    space: &'static str,
    /// The dummy space comes at the end.
    suffix: bool,
}

impl Normalizer {
    pub(super) fn new(spec: &NormalizerSpec, suffix: bool) -> Result<Self, String> {
        Ok(Self {
            map: if spec.charsmap.is_empty() { None } else { Some(CharacterMap::new(&spec.charsmap)?) },
            add_dummy_prefix: spec.add_dummy_prefix,
            remove_extra_whitespaces: spec.remove_extra_whitespaces,
            space: if spec.escape_whitespaces { SPACE } else { " " },
            suffix,
        })
    }

    /// `kept` are pieces that no replacement touches.
    pub(super) fn normalize(&self, text: &str, kept: &Trie) -> String {
        let mut rest = text;
        if self.remove_extra_whitespaces {
            while let Some((" ", length)) = self.next(rest, kept) {
                rest = &rest[length..];
            }
        }
        let mut out = String::with_capacity(text.len() * 3 / 2 + SPACE.len());
        if rest.is_empty() {
            return out;
        }
        if self.add_dummy_prefix && !self.suffix {
            out.push_str(self.space);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while let Some((replaced, length)) = self.next(rest, kept) {
            rest = &rest[length..];
            let replaced = if after_space { replaced.trim_start_matches(' ') } else { replaced };
            for (i, part) in replaced.split(' ').enumerate() {
                if i > 0 {
                    out.push_str(self.space);
                }
                out.push_str(part);
            }
            if !replaced.is_empty() {
                after_space = self.remove_extra_whitespaces && replaced.ends_with(' ');
            }
        }
        if self.remove_extra_whitespaces {
            out.truncate(out.trim_end_matches(self.space).len());
        }
        if self.add_dummy_prefix && self.suffix {
            out.push_str(self.space);
        }
        out
    }

    /// What the start of `text` becomes, and the bytes that are replaced by it.
    fn next<'a>(&'a self, text: &'a str, kept: &Trie) -> Option<(&'a str, usize)> {
        if let Some(length) = kept.longest(text.as_bytes()) {
            return Some((&text[..length], length));
        }
        if let Some(replaced) = self.map.as_ref().and_then(|map| map.replace(text)) {
            return Some(replaced);
        }
        let length = text.chars().next()?.len_utf8();
        Some((&text[..length], length))
    }
}

/// `precompiled_charsmap`: a double-array trie in the layout of Darts-clone over the replaced strings, and their
/// replacements, each ended by a zero byte.
#[derive(Debug)]
struct CharacterMap {
    units: Vec<u32>,
    replacements: String,
}

impl CharacterMap {
    fn new(blob: &[u8]) -> Result<Self, String> {
        let damaged = || "its precompiled_charsmap is damaged".to_owned();
        let (size, rest) = blob.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (units, replacements) = rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(damaged)?;
        let (units, []) = units.as_chunks::<4>() else { return Err(damaged()) };
        let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| damaged())?;
        if units.is_empty() || replacements.is_empty() { Err(damaged()) } else { Ok(Self { units, replacements }) }
    }

    /// The replacement of the longest string that `text` starts with, and that string's length.
    fn replace(&self, text: &str) -> Option<(&str, usize)> {
        // A unit: bits 0-7 and 31 the label, bit 8 has a leaf, bits 10-30 the offset, shifted by 8 when bit 9 is set.
        let offset = |unit: u32| (unit >> 10) << ((unit & 1 << 9) >> 6);
        let mut position = offset(self.units[0]);
        let mut found = None;
        for (i, byte) in text.bytes().enumerate() {
            position ^= u32::from(byte);
            let unit = *self.units.get(position as usize)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            position ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                found = Some((self.units.get(position as usize)? & !(1 << 31), i + 1));
            }
        }
        let (start, length) = found.filter(|(_, length)| text.is_char_boundary(*length))?;
        let replacement = self.replacements.get(start as usize..)?;
        Some((replacement.split('\0').next().unwrap_or_default(), length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalizer(change: impl FnOnce(&mut NormalizerSpec), suffix: bool) -> Normalizer {
        let mut spec = NormalizerSpec::default();
        change(&mut spec);
        Normalizer::new(&spec, suffix).unwrap()
    }

    #[test]
    fn spaces_are_tidied_and_marked_as_the_file_says() {
        let none = Trie::default();
        assert_eq!(normalizer(|_| (), false).normalize("  a  b ", &none), "▁a▁b");
        assert_eq!(normalizer(|_| (), true).normalize("  a  b ", &none), "a▁b▁");
        assert_eq!(normalizer(|spec| spec.remove_extra_whitespaces = false, false).normalize(" a  b", &none), "▁▁a▁▁b");
        assert_eq!(normalizer(|spec| spec.add_dummy_prefix = false, false).normalize(" a b", &none), "a▁b");
        assert_eq!(normalizer(|spec| spec.escape_whitespaces = false, false).normalize("a  b", &none), " a b");
        assert_eq!(normalizer(|_| (), false).normalize("   ", &none), "");
        assert_eq!(normalizer(|spec| spec.remove_extra_whitespaces = false, false).normalize("", &none), "");
    }

    #[test]
    fn a_damaged_character_map_is_an_error() {
        for blob in [&[1, 0][..], &[9, 0, 0, 0, 1], &[4, 0, 0, 0, 1, 2, 3, 4], &[4, 0, 0, 0, 1, 2, 3, 4, 0xff]] {
            let spec = NormalizerSpec { charsmap: blob.to_vec(), ..NormalizerSpec::default() };
            assert!(Normalizer::new(&spec, false).unwrap_err().contains("precompiled_charsmap"), "{blob:?}");
        }
    }
}
