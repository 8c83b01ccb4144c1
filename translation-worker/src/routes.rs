//! Which models lead from one language to another.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::select_all;
use shared::{agreement::without_loop, language::Language};

use crate::{
    pair::Pair,
    stream::Piece,
    translator::{Term, TranslateError, TranslationRequest, Translator},
};

/// The language between two that have no model of their own: the one with the most models.
const PIVOT: &str = "en";

/// One model's part of the way.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    translator: Arc<dyn Translator>,
    from: String,
    to: String,
}

impl Leg {
    fn new(translator: &Arc<dyn Translator>, from: &str, to: &str) -> Self {
        Self { translator: Arc::clone(translator), from: from.to_owned(), to: to.to_owned() }
    }

    /// What the model says of `piece` behind its prefix, cut where it fell into a loop.
    ///
    /// # Errors
    /// When the model fails.
    pub(crate) async fn translate(&self, piece: Piece, terms: Vec<Term>) -> Result<String, TranslateError> {
        let (from, to) = (Some(self.from.clone()), Some(self.to.clone()));
        let Piece { text, prefix } = piece;
        let answer = self.translator.translate(TranslationRequest { text, prefix, terms, from, to }).await?;
        let cut = if answer.truncated { without_loop(&answer.text) } else { None };
        Ok(cut.unwrap_or(answer.text))
    }
}

/// How to get from one language to another.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// They are the same: the text is copied.
    Copy,
    /// Through one model, or through two with English in between.
    Through(Vec<Leg>),
}

/// The translators at hand: for language pairs, and perhaps one for all others.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    translators: HashMap<Pair, Arc<dyn Translator>>,
    any: Option<Arc<dyn Translator>>,
}

impl FromIterator<(Pair, Arc<dyn Translator>)> for Routes {
    fn from_iter<I: IntoIterator<Item = (Pair, Arc<dyn Translator>)>>(pairs: I) -> Self {
        Self { translators: pairs.into_iter().collect(), any: None }
    }
}

impl Routes {
    /// With a model of many languages for the pairs that have none of their own.
    #[must_use]
    pub fn with_any(self, any: Option<Arc<dyn Translator>>) -> Self {
        Self { any, ..self }
    }

    /// The way from `source` to `target`: nothing to do, a model of its own, the model for all pairs, or two models
    /// through English.
    pub(crate) fn find(&self, source: &Language, target: &Language) -> Option<Route> {
        let pair = Pair::new(source, target);
        if pair.is_same() {
            return Some(Route::Copy);
        }
        if let Some(model) = self.translators.get(&pair).or(self.any.as_ref()) {
            return Some(Route::Through(vec![Leg::new(model, source.as_str(), target.as_str())]));
        }
        let [first, second] = pair.through(PIVOT).map(|leg| self.translators.get(&leg));
        let (first, second) = (first?, second?);
        Some(Route::Through(vec![Leg::new(first, source.as_str(), PIVOT), Leg::new(second, PIVOT, target.as_str())]))
    }

    /// Waits until one of the models can no longer be relied on, and says why.
    pub(crate) async fn broken(&self) -> String {
        let mut models = Vec::new();
        for model in self.translators.values().chain(&self.any) {
            models.push(model.broken());
        }
        // Without any model there is none to break.
        if models.is_empty() { std::future::pending().await } else { select_all(models).await.0 }
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
    use crate::translator::TranslationHypothesis;

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
        let legs = |routes: &Routes, text: &str| {
            let (source, target) = text.split_once('-').unwrap();
            match routes.find(&source.parse().unwrap(), &target.parse().unwrap()) {
                None => Vec::new(),
                Some(Route::Copy) => vec!["copy".to_owned()],
                Some(Route::Through(legs)) => legs.iter().map(|leg| format!("{} to {}", leg.from, leg.to)).collect(),
            }
        };
        assert_eq!(legs(&routes, "en-en"), ["copy"]);
        assert_eq!(legs(&routes, "en-es"), ["en to es"]);
        assert_eq!(legs(&routes, "fr-es"), ["fr to en", "en to es"]);
        assert!(legs(&routes, "es-fr").is_empty() && legs(&routes, "de-en").is_empty());

        let routes = routes.with_any(Some(model()));
        assert_eq!(legs(&routes, "es-fr"), ["es to fr"]);
        assert_eq!(legs(&routes, "fr-es"), ["fr to es"], "one step through a model of many languages beats two");
    }
}
