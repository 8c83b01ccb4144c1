//! Two languages: from and into.

use std::{fmt, str::FromStr};

use shared::language::Language;

/// A language pair by primary subtags, such as `en-es`: models do not tell `pt-BR` from `pt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    source: String,
    target: String,
}

/// Why a pair was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a language pair such as `en-es`")]
pub struct PairError(String);

impl Pair {
    /// From `source` into `target`.
    #[must_use]
    pub fn new(source: &Language, target: &Language) -> Self {
        Self { source: source.primary().to_owned(), target: target.primary().to_owned() }
    }

    /// The pair that the name of a model ends in: `en-fr` of `Helsinki-NLP/opus-mt-en-fr`.
    #[must_use]
    pub fn of_model_name(name: &str) -> Option<Self> {
        let last = name.trim_end_matches('/').rsplit('/').next()?;
        let mut parts = last.rsplitn(3, '-');
        let (target, source) = (parts.next()?, parts.next()?);
        format!("{source}-{target}").parse().ok()
    }

    /// Whether both sides are one language.
    pub(crate) fn is_same(&self) -> bool {
        self.source == self.target
    }

    /// The two pairs that lead from source to target through `pivot`.
    pub(crate) fn through(&self, pivot: &str) -> [Self; 2] {
        [
            Self { source: self.source.clone(), target: pivot.to_owned() },
            Self { source: pivot.to_owned(), target: self.target.clone() },
        ]
    }
}

impl FromStr for Pair {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        // Two or three letters, or else `opus-mt` would be a pair of languages.
        let subtag = |text: &str| matches!(text.len(), 2..=3) && text.bytes().all(|b| b.is_ascii_lowercase());
        match text.split_once('-') {
            Some((source, target)) if subtag(source) && subtag(target) => {
                Ok(Self { source: source.to_owned(), target: target.to_owned() })
            }
            _ => Err(PairError(text.to_owned())),
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.source, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_tells_its_pair() {
        for (name, pair) in [
            ("Helsinki-NLP/opus-mt-en-fr", Some("en-fr")),
            ("/srv/models/demo-mt-en-es/", Some("en-es")),
            ("opus-mt-tc-big-en-pt", Some("en-pt")),
            ("my-model", None),
            ("model", None),
        ] {
            assert_eq!(Pair::of_model_name(name).map(|p| p.to_string()).as_deref(), pair, "{name}");
        }
    }

    #[test]
    fn regions_do_not_matter() {
        let (en, pt) = ("en-GB".parse().unwrap(), "pt-BR".parse().unwrap());
        assert_eq!(Pair::new(&en, &pt), "en-pt".parse().unwrap());
        assert!("english-spanish".parse::<Pair>().is_err());
    }
}
