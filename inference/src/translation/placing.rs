//! Terms in a translation: where the model does not say a term's target by itself, it takes the place of what the model
//! says instead, and the model goes on behind it.
//!
//! Which words of the translation stand for the term is read off the decoder's attention over the source, that of the
//! last layer but one, mean of its heads, which follows word alignments best (Garg et al. 2019, "Jointly Learning to Align
//! and Translate with Transformer Models", section 4.1). The translation up to them and the target are then forced and
//! the rest is decoded anew, so that it can agree with the target. Where more than that changes (a small model leaves
//! words out or says the term twice), the rest stays as it was. Terms are placed from left to right, each once: a text
//! is decoded once more for each term that the model does not say by itself, at most.

use std::ops::Range;

use super::phrases::{boundary, find, forms_of_one, occurrences, overlap, words};
use super::{Job, TranslationModel, TranslationRequest};
use crate::decode::Decoded;
use crate::decoder::{Source, Watch};
use crate::error::ModelError;

/// Of a word's attention, so much at least goes to the term in a word that stands for it.
const USABLE: f32 = 0.15;
/// A word behind the one that looks most at the term belongs to it as well if it looks there more than anywhere else,
/// and so much as that one, by this factor...
const BEHIND: f32 = 0.5;
/// ...and a word before it, which is often an article or a preposition and to be kept, by this one.
const BEFORE: f32 = 0.8;

/// The terms of a request that are to be placed.
#[derive(Debug)]
pub(super) struct Placing {
    /// Tokens of each word of the source.
    source_words: Vec<Range<usize>>,
    pending: Vec<Occurrence>,
    /// Targets placed so far.
    placed: Vec<String>,
    /// All targets of the request that its text calls for.
    targets: Vec<String>,
    /// Bytes of the caller's prefix, and up to the end of the last target placed: they do not change any more.
    prefix: usize,
    locked: usize,
    /// What the rest would be if the decode under way is of no use.
    draft: Option<Draft>,
}

/// A term in the source.
#[derive(Debug, Clone)]
struct Occurrence {
    /// Words of the source.
    words: Range<usize>,
    target: String,
}

/// A translation with a target put in the place of some words.
#[derive(Debug)]
struct Draft {
    text: String,
    /// Where the target ends.
    end: usize,
    /// The words it replaced.
    removed: String,
}

impl Draft {
    /// Whether a translation decoded behind the target is better: it goes on where the target ends, and as before but for
    /// the forms of words.
    fn loses_to(&self, text: &str, decoded: &Decoded) -> bool {
        let Some(rest) = text.strip_prefix(&self.text[..self.end]) else { return false };
        let own = &self.text[self.end..];
        let (words, own_words) = (words(rest), words(own));
        let marks = |text: &str| text.chars().filter(|letter| !letter.is_alphanumeric()).collect::<String>();
        let mut pairs = words.iter().zip(&own_words);
        !decoded.truncated
            && boundary(text, self.end)
            && words.len() == own_words.len()
            && marks(rest) == marks(own)
            && pairs.all(|(a, b)| forms_of_one(&rest[a.clone()], &own[b.clone()]))
            && find(rest, &self.removed).len() <= find(own, &self.removed).len()
    }
}

/// What became of a decoded translation.
pub(super) enum Placed {
    /// It holds all terms.
    Done(String),
    /// Decode on behind these tokens.
    Again(Vec<u32>),
}

impl TranslationModel {
    /// What to place, if the text calls for any of its terms. `tokens` are its tokens, the end's included.
    pub(super) fn placing(
        &self,
        request: &TranslationRequest,
        tokens: &[u32],
        job: &Job,
    ) -> Result<Option<Placing>, ModelError> {
        let text = request.text.trim();
        let found = occurrences(text, &request.terms);
        if found.is_empty() {
            return Ok(None);
        }
        let source_texts = words(text);
        let source_words = self.source_words(request, text, &source_texts, tokens)?;
        let occurrence = |(at, term): (Range<usize>, usize)| {
            let first = source_texts.iter().position(|word| overlap(word, &at))?;
            let count = source_texts[first..].iter().take_while(|word| overlap(word, &at)).count();
            let target = request.terms[term].target.trim().to_owned();
            Some(Occurrence { words: first..first + count, target })
        };
        let pending: Vec<Occurrence> = found.into_iter().filter_map(occurrence).collect();
        let prefix = self.tokens.text(&job.prefix)?.len();
        let targets = pending.iter().map(|term| term.target.clone()).collect();
        let placed = Vec::new();
        Ok(Some(Placing { source_words, pending, placed, targets, prefix, locked: prefix, draft: None }))
    }

    /// The source tokens of each word: those that a text up to its end has and one up to its start has not.
    fn source_words(
        &self,
        request: &TranslationRequest,
        text: &str,
        words: &[Range<usize>],
        tokens: &[u32],
    ) -> Result<Vec<Range<usize>>, ModelError> {
        let last = tokens.len().saturating_sub(1);
        let shared = |end: usize| -> Result<usize, ModelError> {
            let before = self.source_tokens(request, &text[..end])?;
            Ok(before.iter().zip(&tokens[..last]).take_while(|(a, b)| a == b).count())
        };
        words
            .iter()
            .map(|word| {
                let (from, to) = (shared(word.start)?, shared(word.end)?);
                Ok(from.min(to)..to.max(from + 1).min(last))
            })
            .collect()
    }

    /// Goes on with a decoded translation.
    pub(super) fn place(&self, job: &Job, placing: &mut Placing, decoded: &Decoded) -> Result<Placed, ModelError> {
        let forced = &job.prompt[job.specials..];
        let mut text = self.tokens.text(&[forced, &decoded.tokens].concat())?;
        if let Some(draft) = placing.draft.take()
            && !draft.loses_to(&text, decoded)
        {
            text = draft.text;
        }
        while let Some((at, target)) = self.next_place(job, placing, &text)? {
            let (space, removed) = (if at.is_empty() && at.start > 0 { " " } else { "" }, text[at.clone()].to_owned());
            let begun = format!("{}{space}{target}", &text[..at.start]);
            let space = if at.is_empty() && at.start == 0 { " " } else { "" };
            text = format!("{begun}{space}{}", &text[at.end..]);
            placing.locked = begun.len();
            placing.placed.push(target);
            if words(&text[begun.len()..]).is_empty() || removed.is_empty() {
                continue; // Nothing is left to agree with it.
            }
            let tokens = self.tokens.target(&begun)?;
            let room = job.specials + tokens.len() < self.network.decoder().max_positions();
            if room && self.tokens.text(&tokens)? == begun {
                placing.draft = Some(Draft { text, end: begun.len(), removed });
                return Ok(Placed::Again(tokens));
            }
        }
        Ok(Placed::Done(text))
    }

    /// The next target that is missing, and the bytes it is to replace: empty ones where nothing stands for the term.
    fn next_place(
        &self,
        job: &Job,
        placing: &mut Placing,
        text: &str,
    ) -> Result<Option<(Range<usize>, String)>, ModelError> {
        placing.drop_said(text);
        if placing.pending.is_empty() {
            return Ok(None);
        }
        let texts = words(text);
        let looks = self.looks(job, &placing.source_words, text, &texts)?;
        let mut next: Option<(usize, Range<usize>)> = None;
        let mut said = Vec::new();
        for (i, term) in placing.pending.iter().enumerate() {
            match placing.spot(term, text, &texts, looks.as_ref()) {
                Spot::Said => said.push(i),
                Spot::At(at) if next.as_ref().is_none_or(|(_, best)| at.start < best.start) => next = Some((i, at)),
                Spot::At(_) => {}
            }
        }
        let found = next.map(|(i, at)| (at, placing.pending[i].target.clone(), i));
        if let Some((.., i)) = &found {
            said.push(*i);
        }
        said.sort_unstable();
        said.into_iter().rev().for_each(|i| drop(placing.pending.remove(i)));
        Ok(found.map(|(at, target, _)| (at, target)))
    }

    /// How much each word of the translation looks at each word of the source: shares of the attention over text. `None`
    /// where the tokens do not give the text again.
    fn looks(
        &self,
        job: &Job,
        source_words: &[Range<usize>],
        text: &str,
        texts: &[Range<usize>],
    ) -> Result<Option<Vec<Vec<f32>>>, ModelError> {
        let decoder = self.network.decoder();
        let tokens = self.tokens.target(text)?;
        if job.source.is_none()
            || self.tokens.text(&tokens)? != text
            || job.specials + tokens.len() > decoder.max_positions()
        {
            return Ok(None);
        }
        let ends: Result<Vec<usize>, ModelError> =
            (1..=tokens.len()).map(|count| Ok(self.tokens.text(&tokens[..count])?.len())).collect();
        let ends = ends?;
        let (layers, heads) = decoder.heads();
        let layer = layers.saturating_sub(2);
        let mut watch = Watch::new(&(0..heads).map(|head| (layer, head)).collect::<Vec<_>>());
        let whole = [&job.prompt[..job.specials], tokens.as_slice()].concat();
        let mut batch = decoder.batch(job.source.as_slice())?;
        decoder.forward_watched(&[whole], &mut batch, Some(&mut watch))?;
        let positions = job.source.as_ref().map_or(0, Source::length);
        // What chose a token is the position before it.
        let row = |token: usize| job.specials + token - 1;
        let share = |token: usize, source: &Range<usize>| -> f32 {
            let of = |head: &Vec<f32>| head[row(token) * positions..][source.clone()].iter().sum::<f32>();
            watch.shares.iter().map(of).sum()
        };
        let looks = texts.iter().map(|word| {
            let begins = |token: usize| if token == 0 { 0 } else { ends[token - 1] };
            let own = (0..ends.len()).filter(|token| overlap(word, &(begins(*token)..ends[*token])));
            let own: Vec<usize> = own.collect();
            let shares = source_words.iter().map(|source| own.iter().map(|token| share(*token, source)).sum());
            let shares: Vec<f32> = shares.collect();
            let total: f32 = shares.iter().sum::<f32>().max(f32::MIN_POSITIVE);
            shares.into_iter().map(|share| share / total).collect()
        });
        Ok(Some(looks.collect()))
    }
}

/// Where a term belongs in a translation.
#[derive(Debug, PartialEq)]
enum Spot {
    /// It is said already, or by the caller's prefix, in whatever words.
    Said,
    /// In the place of these bytes.
    At(Range<usize>),
}

impl Placing {
    /// Forgets terms whose target the translation holds as often as it should.
    fn drop_said(&mut self, text: &str) {
        let wanted = |target: &str, list: &[Occurrence]| list.iter().filter(|term| term.target == target).count();
        let pending = self.pending.clone();
        self.pending.retain(|term| {
            let placed = self.placed.iter().filter(|target| **target == term.target).count();
            find(text, &term.target).len() < placed + wanted(&term.target, &pending)
        });
    }

    /// `looks` says how much each word of the translation looks at each of the source.
    fn spot(&self, term: &Occurrence, text: &str, texts: &[Range<usize>], looks: Option<&Vec<Vec<f32>>>) -> Spot {
        let Some(looks) = looks else { return self.diagonal(term, text, texts) };
        let share = |word: usize| looks[word][term.words.clone()].iter().sum::<f32>();
        let own = find(text, &term.target);
        let taken: Vec<Range<usize>> = self.targets.iter().flat_map(|target| find(text, target)).collect();
        let free =
            |word: usize| texts[word].start >= self.locked && taken.iter().all(|taken| !overlap(taken, &texts[word]));
        let mut order: Vec<usize> = (0..texts.len()).filter(|word| share(*word) >= USABLE).collect();
        order.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
        for word in order {
            let at = &texts[word];
            let placed = at.start >= self.prefix && at.start < self.locked;
            if at.start < self.prefix || (!placed && own.iter().any(|own| overlap(own, at))) {
                return Spot::Said;
            }
            if free(word) {
                let most = |word: usize| looks[word].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                let belongs = |other: usize, factor: f32| {
                    other < texts.len()
                        && free(other)
                        && most(other).is_some_and(|(source, _)| term.words.contains(&source))
                        && share(other) >= factor * share(word)
                };
                let (mut first, mut last) = (word, word);
                // Over one word that does not belong (a preposition within a name for something) too.
                while let Some(next) = [1, 2].into_iter().find(|step| *step <= first && belongs(first - step, BEFORE)) {
                    first -= next;
                }
                while let Some(next) = [last + 1, last + 2].into_iter().find(|next| belongs(*next, BEHIND)) {
                    last = next;
                }
                return Spot::At(texts[first].start..texts[last].end);
            }
        }
        self.diagonal(term, text, texts)
    }

    /// Before the word as far along in the translation as the term is in the source; nothing is replaced.
    fn diagonal(&self, term: &Occurrence, text: &str, texts: &[Range<usize>]) -> Spot {
        let along = texts.len() * term.words.start / self.source_words.len().max(1);
        let next = texts.iter().skip(along).find(|word| word.start > self.locked);
        // Behind the word before it.
        let at = next.map(|next| text[..next.start].trim_end().len()).or(texts.last().map(|last| last.end));
        let at = at.unwrap_or(0).max(self.locked);
        Spot::At(at..at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placing(terms: &[(Range<usize>, &str)], prefix: usize) -> Placing {
        let occurrence =
            |(words, target): &(Range<usize>, &str)| Occurrence { words: words.clone(), target: (*target).to_owned() };
        let pending: Vec<Occurrence> = terms.iter().map(occurrence).collect();
        Placing {
            source_words: vec![0..1; 4],
            targets: pending.iter().map(|term| term.target.clone()).collect(),
            pending,
            placed: Vec::new(),
            prefix,
            locked: prefix,
            draft: None,
        }
    }

    /// "the board meets tomorrow", four words, in four words and their looks.
    const TEXT: &str = "el consejo se reúne";

    fn spot(placing: &Placing, text: &str, looks: &[[f32; 4]]) -> Spot {
        let looks = looks.iter().map(|row| row.to_vec()).collect();
        placing.spot(&placing.pending[0], text, &words(text), Some(&looks))
    }

    fn at(text: &str, part: &str) -> Spot {
        let start = text.find(part).unwrap();
        Spot::At(start..start + part.len())
    }

    #[test]
    fn a_term_takes_the_place_of_the_words_that_look_at_it() {
        let looks = [[0.4, 0.6, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0], [0.0, 0.2, 0.8, 0.0], [0.0, 0.0, 0.9, 0.1]];
        assert_eq!(spot(&placing(&[(1..2, "junta")], 0), TEXT, &looks), at(TEXT, "consejo"), "the article stays");
        assert_eq!(spot(&placing(&[(2..3, "junta")], 0), TEXT, &looks), at(TEXT, "se reúne"), "two words for one");
        assert_eq!(spot(&placing(&[(1..2, "el consejo")], 0), TEXT, &looks), Spot::Said);
        assert_eq!(spot(&placing(&[(1..2, "junta")], 10), TEXT, &looks), Spot::Said, "the prefix stays as it is");
        assert_eq!(spot(&placing(&[(2..3, "junta")], 10), TEXT, &looks), at(TEXT, "se reúne"), "behind it");
    }

    #[test]
    fn a_preposition_within_goes_with_its_words() {
        let text = "la sala de reuniones";
        let looks = [[0.5, 0.2, 0.2, 0.1], [0.0, 0.4, 0.4, 0.2], [0.2, 0.1, 0.1, 0.6], [0.0, 0.5, 0.4, 0.1]];
        assert_eq!(spot(&placing(&[(1..3, "aula")], 0), text, &looks), at(text, "sala de reuniones"));
    }

    #[test]
    fn where_nothing_looks_at_a_term_it_comes_between_words() {
        let looks = [[1.0, 0.0, 0.0, 0.0]; 4];
        let place = |words, prefix| spot(&placing(&[(words, "junta")], prefix), TEXT, &looks);
        assert_eq!(place(2..3, 0), Spot::At(10..10), "as far along as in the source");
        assert_eq!(place(1..2, 13), Spot::At(13..13), "but behind the prefix");
        let blind = placing(&[(3..4, "junta")], 0);
        assert_eq!(blind.spot(&blind.pending[0], TEXT, &words(TEXT), None), Spot::At(13..13));
        assert_eq!(blind.spot(&blind.pending[0], "", &[], None), Spot::At(0..0));
    }

    #[test]
    fn a_second_decode_counts_only_if_little_more_than_forms_changed() {
        let decoded = |truncated| Decoded { truncated, ..Decoded::default() };
        let text = "La junta está cansado hoy.".to_owned();
        let draft = Draft { end: "La junta".len(), text, removed: "consejo".to_owned() };
        assert!(draft.loses_to("La junta está cansada hoy.", &decoded(false)));
        assert!(!draft.loses_to("La junta está cansada hoy.", &decoded(true)));
        assert!(!draft.loses_to("La juntas está cansada hoy.", &decoded(false)), "another word");
        assert!(!draft.loses_to("La junta cansada hoy.", &decoded(false)), "a word was lost");
        assert!(!draft.loses_to("La junta consejo cansado hoy.", &decoded(false)), "said twice");
        assert!(!draft.loses_to("La junta duerme muy bien.", &decoded(false)), "something else");
    }

    #[test]
    fn targets_said_often_enough_are_not_looked_for() {
        let mut twice = placing(&[(1..2, "junta"), (3..4, "junta"), (2..3, "hoy")], 0);
        twice.drop_said("la Junta, la junta");
        assert_eq!(twice.pending.len(), 1);
        let mut once = placing(&[(1..2, "junta"), (3..4, "junta")], 0);
        once.drop_said("la junta");
        assert_eq!(once.pending.len(), 2, "which of them it is the attention will tell");
    }
}
