//! BCP-47 language tags, as they travel in jobs and events.

use std::{fmt, str::FromStr};

use oxilangtag::LanguageTag;
use serde::{Deserialize, Serialize};

/// Longest tag accepted, in bytes (RFC 5646 §4.4.1 asks for at least 35).
const MAX_TAG_BYTES: usize = 35;

/// A well-formed BCP-47 tag in canonical case (`es`, `pt-BR`, `zh-Hant`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

/// Why a language tag was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a BCP-47 language tag such as `en`, `es` or `pt-BR`")]
pub struct LanguageError(String);

impl Language {
    /// The tag's primary language subtag: `pt` of `pt-BR`.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }

    /// The whole tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        if tag.len() > MAX_TAG_BYTES {
            return Err(LanguageError(tag[..tag.floor_char_boundary(MAX_TAG_BYTES)].to_owned()));
        }
        match LanguageTag::parse_and_normalize(tag) {
            Ok(parsed) => Ok(Self(parsed.into_inner())),
            Err(_) => Err(LanguageError(tag.to_owned())),
        }
    }
}

impl TryFrom<String> for Language {
    type Error = LanguageError;

    fn try_from(tag: String) -> Result<Self, Self::Error> {
        tag.parse()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The source of a session: one language, or whatever the model hears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The model detects it.
    #[default]
    Auto,
    /// Given by the client.
    Language(Language),
}

impl TryFrom<String> for Source {
    type Error = LanguageError;

    fn try_from(tag: String) -> Result<Self, Self::Error> {
        if tag.eq_ignore_ascii_case("auto") { Ok(Self::Auto) } else { tag.parse().map(Self::Language) }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        match source {
            Source::Auto => "auto".to_owned(),
            Source::Language(language) => language.into(),
        }
    }
}

impl FromStr for Source {
    type Err = LanguageError;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        tag.to_owned().try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_put_into_canonical_case() -> Result<(), LanguageError> {
        assert_eq!("PT-br".parse::<Language>()?.as_str(), "pt-BR");
        assert_eq!("PT-br".parse::<Language>()?.primary(), "pt");
        Ok(())
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let refused = "not a tag".parse::<Language>();
        assert!(refused.is_err_and(|e| e.to_string().contains("not a tag")));
        assert!("e".repeat(500).parse::<Language>().is_err());
        // What is long may be a sentence in the wrong place, in letters of several bytes too.
        let refused = "海".repeat(30).parse::<Language>();
        assert!(refused.is_err_and(|e| !e.to_string().contains(&"海".repeat(12))));
    }

    #[test]
    fn auto_is_a_source_and_no_language() -> Result<(), LanguageError> {
        assert_eq!("auto".parse::<Source>()?, Source::Auto);
        // Tags have no case; `AUTO` is no language that would be written as `auto` and read as something else.
        assert_eq!("AutO".parse::<Source>()?, Source::Auto);
        assert_eq!("en".parse::<Source>()?, Source::Language("en".parse()?));
        Ok(())
    }
}
