//! Which models lead from one language to another.

use std::{collections::HashMap, sync::Arc};

use crate::{pair::Pair, translator::Translator};

/// The language between two that have no model of their own: the one with the most models.
const PIVOT: &str = "en";

/// How to get from one language to another.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// They are the same: the text is copied.
    Copy,
    /// Through one model, or through two with English in between.
    Through(Vec<Arc<dyn Translator>>),
}

/// The translators at hand, by language pair.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    translators: HashMap<Pair, Arc<dyn Translator>>,
}

impl FromIterator<(Pair, Arc<dyn Translator>)> for Routes {
    fn from_iter<I: IntoIterator<Item = (Pair, Arc<dyn Translator>)>>(pairs: I) -> Self {
        Self { translators: pairs.into_iter().collect() }
    }
}

impl Routes {
    /// The way for `pair`: nothing to do, a model of its own, or two through English.
    pub(crate) fn find(&self, pair: &Pair) -> Option<Route> {
        if pair.is_same() {
            return Some(Route::Copy);
        }
        if let Some(direct) = self.translators.get(pair) {
            return Some(Route::Through(vec![Arc::clone(direct)]));
        }
        let legs: Option<Vec<_>> =
            pair.through(PIVOT).iter().map(|leg| self.translators.get(leg).map(Arc::clone)).collect();
        legs.map(Route::Through)
    }

    /// The pairs with a model of their own, in order.
    #[must_use]
    pub fn pairs(&self) -> Vec<&Pair> {
        let mut pairs: Vec<&Pair> = self.translators.keys().collect();
        pairs.sort();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::translator::{TranslateError, TranslationHypothesis, TranslationRequest};

    #[derive(Debug)]
    struct Nothing;

    #[async_trait]
    impl Translator for Nothing {
        async fn translate(&self, _: TranslationRequest) -> Result<TranslationHypothesis, TranslateError> {
            Err(TranslateError::Impossible("never called".to_owned()))
        }
    }

    #[test]
    fn a_model_of_its_own_comes_first_and_english_is_between_the_rest() {
        let model = || -> Arc<dyn Translator> { Arc::new(Nothing) };
        let pair = |text: &str| text.parse::<Pair>().unwrap();
        let routes: Routes = ["en-es", "fr-en", "fr-de"].map(|text| (pair(text), model())).into_iter().collect();
        let legs = |text: &str| match routes.find(&pair(text)) {
            None => None,
            Some(Route::Copy) => Some(0),
            Some(Route::Through(legs)) => Some(legs.len()),
        };
        assert_eq!(
            ["en-en", "en-es", "fr-de", "fr-es", "es-fr", "de-en"].map(legs),
            [Some(0), Some(1), Some(1), Some(2), None, None]
        );
    }
}
