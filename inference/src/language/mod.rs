//! Languages by their BCP 47 tags, and what each model family calls them.
//!
//! `table.txt` has a line for each: tag, NLLB-200 (FLORES) code, Whisper, M2M100, MADLAD-400, and the marks opus-mt
//! models put before a source text, likeliest first. `=` stands for the tag's first part, `-` for none. The lines with an
//! NLLB code are in the order that model numbers its language tokens in.

use std::sync::LazyLock;

static TABLE: LazyLock<Vec<Language>> =
    LazyLock::new(|| include_str!("table.txt").lines().filter_map(Language::from_line).collect());

/// Whisper's languages in the order of their tokens. Models before large-v3 end at `su`.
pub(crate) const WHISPER: [&str; 100] = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it", "id", "hi", "fi",
    "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur", "hr", "bg", "lt", "la", "mi", "ml",
    "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs",
    "kk", "sq", "sw", "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am",
    "yi", "lo", "uz", "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl", "mg", "as", "tt", "haw", "ln",
    "ha", "ba", "jw", "su", "yue",
];

/// Tags that stand for another language subtag: withdrawn codes, and macrolanguages for their main member.
const ALIASES: [(&str, &str); 9] = [
    ("iw", "he"),
    ("in", "id"),
    ("ji", "yi"),
    ("jw", "jv"),
    ("mo", "ro"),
    ("no", "nb"),
    ("nor", "nb"),
    ("tl", "fil"),
    ("sh", "sr"),
];

/// A script or region that tells one row of the table from another: language, subtag, what it leads to.
const VARIANTS: [(&str, &str, &str); 7] = [
    ("zh", "TW", "zh-Hant"),
    ("zh", "HK", "zh-Hant"),
    ("zh", "MO", "zh-Hant"),
    ("ku", "Arab", "ckb"),
    ("az", "Arab", "azb"),
    ("az", "IR", "azb"),
    ("fa", "AF", "prs"),
];

/// A language, in one script.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    tag: &'static str,
    nllb: Option<&'static str>,
    whisper: Option<&'static str>,
    m2m100: Option<&'static str>,
    madlad: Option<&'static str>,
    marks: Vec<&'static str>,
}

impl Language {
    fn from_line(line: &'static str) -> Option<Self> {
        let mut columns = line.split(' ');
        let tag = columns.next()?;
        let first = tag.split('-').next()?;
        let mut code = || match columns.next()? {
            "-" => None,
            "=" => Some(first),
            code => Some(code),
        };
        let (nllb, whisper, m2m100, madlad) = (code(), code(), code(), code());
        Some(Self { tag, nllb, whisper, m2m100, madlad, marks: columns.next()?.split(',').collect() })
    }

    /// All languages of the table.
    pub fn all() -> &'static [Self] {
        &TABLE
    }

    /// The language a BCP 47 tag means, as closely as the table has it: `pt-BR` is Portuguese, `zh-TW` Chinese in
    /// traditional characters, `sr-Latn-RS` Serbian in Latin ones. Underscores, three-letter codes, FLORES codes and
    /// withdrawn codes are understood. `None` when the language is not in the table.
    pub fn parse(tag: &str) -> Option<&'static Self> {
        let mut subtags = tag.trim().split(['-', '_']);
        let mut language = subtags.next()?.to_ascii_lowercase();
        let (mut script, mut region) = (None, None);
        for (i, subtag) in subtags.enumerate() {
            let letters = subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
            match subtag.len() {
                1 => break,
                // zh-yue, ar-arz: the second says which.
                3 if letters && i == 0 => language = subtag.to_ascii_lowercase(),
                4 if letters && script.is_none() => {
                    script = Some(subtag[..1].to_ascii_uppercase() + &subtag[1..].to_ascii_lowercase());
                }
                2 if letters && region.is_none() => region = Some(subtag.to_ascii_uppercase()),
                _ => {}
            }
        }
        if language == "sh" {
            script = script.or_else(|| Some("Latn".to_owned()));
        }
        let language = ALIASES.iter().find(|(from, _)| *from == language).map_or(language.as_str(), |(_, to)| to);
        let rows: Vec<&Self> = TABLE.iter().filter(|row| row.first() == language).collect();
        let rows = if rows.is_empty() { TABLE.iter().filter(|row| row.has_code(language)).collect() } else { rows };
        let first = rows.first()?.first();
        // The script says more than the region.
        for subtag in [script.as_deref(), region.as_deref().filter(|_| script.is_none())].into_iter().flatten() {
            let variant = VARIANTS.iter().find(|(from, with, _)| *from == first && *with == subtag);
            if let Some((_, _, to)) = variant {
                return TABLE.iter().find(|row| row.tag == *to);
            }
        }
        let exact = rows.iter().find(|row| row.script().is_some() && row.script() == script.as_deref());
        exact.or_else(|| rows.iter().find(|row| row.script().is_none())).or(rows.first()).copied()
    }

    /// The language Whisper calls so.
    pub fn from_whisper(code: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.whisper == Some(code))
    }

    /// The language NLLB-200 calls so.
    pub fn from_nllb(code: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.nllb == Some(code))
    }

    /// NLLB-200's codes in the order of their tokens.
    pub fn nllb_codes() -> impl Iterator<Item = &'static str> {
        // Serbian in Latin letters comes last and shares its code: NLLB writes only Cyrillic ones.
        TABLE.iter().filter(|row| row.tag != "sr-Latn").filter_map(|row| row.nllb)
    }

    /// Its BCP 47 tag: a language subtag, with a script where the table has the language in several.
    pub fn tag(&self) -> &'static str {
        self.tag
    }

    /// Whisper's code, `en` in `<|en|>`.
    pub fn whisper(&self) -> Option<&'static str> {
        self.whisper
    }

    /// NLLB-200's code, `eng_Latn`.
    pub fn nllb(&self) -> Option<&'static str> {
        self.nllb
    }

    /// M2M100's code, `en` in `__en__`.
    pub fn m2m100(&self) -> Option<&'static str> {
        self.m2m100
    }

    /// MADLAD-400's code, `en` in `<2en>`.
    pub fn madlad(&self) -> Option<&'static str> {
        self.madlad
    }

    /// The code in the names of opus-mt models, `es` in `opus-mt-en-es`.
    pub fn marian(&self) -> &'static str {
        match self.first() {
            "nb" | "nn" => "no",
            "fil" => "tl",
            "yue" => "zh",
            first => first,
        }
    }

    /// What opus-mt models with several target languages may call it, likeliest first: `spa` in `>>spa<<`.
    pub fn marian_marks(&self) -> impl Iterator<Item = &'static str> {
        self.marks.iter().copied().chain([self.first()])
    }

    fn first(&self) -> &'static str {
        self.tag.split('-').next().unwrap_or(self.tag)
    }

    fn script(&self) -> Option<&'static str> {
        self.tag.split_once('-').map(|(_, script)| script)
    }

    /// Whether one of its longer codes begins with these letters.
    fn has_code(&self, letters: &str) -> bool {
        let begins = |code: &&str| code.split('_').next() == Some(letters);
        letters.len() == 3 && self.nllb.iter().chain(&self.marks).any(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lead_to_the_nearest_language() {
        let nllb = |tag: &str| Language::parse(tag).and_then(Language::nllb);
        for (tag, code) in [
            ("en", "eng_Latn"),
            ("EN-us", "eng_Latn"),
            ("pt-BR", "por_Latn"),
            ("zh", "zho_Hans"),
            ("zh-CN", "zho_Hans"),
            ("zh-Hant-TW", "zho_Hant"),
            ("zh-HK", "zho_Hant"),
            ("zh-Hans-HK", "zho_Hans"),
            ("zh_Hant", "zho_Hant"),
            ("cmn-Hant", "zho_Hant"),
            ("zh-yue", "yue_Hant"),
            ("yue-HK", "yue_Hant"),
            ("no", "nob_Latn"),
            ("nb-NO", "nob_Latn"),
            ("nn", "nno_Latn"),
            ("iw", "heb_Hebr"),
            ("he-IL", "heb_Hebr"),
            ("tl", "tgl_Latn"),
            ("fil-PH", "tgl_Latn"),
            ("sr-Latn-RS", "srp_Cyrl"),
            ("ar-EG", "arb_Arab"),
            ("ar-arz", "arz_Arab"),
            ("ku", "kmr_Latn"),
            ("ku-Arab-IQ", "ckb_Arab"),
            ("fa-AF", "prs_Arab"),
            ("ks-Deva", "kas_Deva"),
            ("kas", "kas_Arab"),
            ("es-419", "spa_Latn"),
            ("de-u-co-phonebk", "deu_Latn"),
            ("deu", "deu_Latn"),
            ("swa", "swh_Latn"),
            ("eng_Latn", "eng_Latn"),
        ] {
            assert_eq!(nllb(tag), Some(code), "{tag}");
        }
        for tag in ["", "-", "x", "qqq", "é", "toolongtag", "123"] {
            assert_eq!(Language::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn every_family_has_its_own_name() {
        let of = |tag: &str| Language::parse(tag).unwrap();
        assert_eq!(of("jv").whisper(), Some("jw"));
        assert_eq!((of("fil").whisper(), of("fil").madlad(), of("tl").m2m100()), (Some("tl"), Some("fil"), Some("tl")));
        assert_eq!((of("he").madlad(), of("nso").m2m100(), of("nb").whisper()), (Some("iw"), Some("ns"), Some("no")));
        assert_eq!(of("sr-Latn").marian_marks().next(), Some("srp_Latn"));
        assert_eq!(of("sr").marian_marks().next(), Some("srp_Cyrl"));
        assert_eq!((of("nn").marian(), of("zh-TW").marian(), of("es").marian()), ("no", "zh", "es"));
        assert_eq!(Language::from_whisper("tl").unwrap().tag(), "fil");
        assert_eq!(Language::from_whisper("zh").unwrap().tag(), "zh");
        assert_eq!(Language::from_nllb("srp_Cyrl").unwrap().tag(), "sr");
        assert_eq!(Language::parse("nds"), None);
    }
}
