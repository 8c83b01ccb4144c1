//! One piece of text through the models of a route.

use crate::{glossary::Glossary, routes::Leg, stream::Piece, translator::TranslateError};

/// What the last of `legs` says of `piece` behind its prefix. The legs before it translate all of the text, and carry
/// the terms of `glossary` through untranslated; the last leg translates those that arrived.
///
/// # Errors
/// When a model fails.
pub(crate) async fn through(legs: &[Leg], piece: &Piece, glossary: &Glossary) -> Result<String, TranslateError> {
    let Some((last, before)) = legs.split_last() else { return Ok(String::new()) };
    let mut text = piece.text.clone();
    for leg in before {
        let terms = glossary.kept(&text);
        text = leg.translate(Piece { text, prefix: String::new() }, terms).await?;
    }
    let terms = glossary.for_target(&text);
    last.translate(Piece { text, prefix: piece.prefix.clone() }, terms).await
}
