//! A translation model's vocabulary, in either of the layouts Marian models come in.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::Tokenizer;

use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::sentencepiece::{SentencePiece, join};

/// What SentencePiece vocabularies call a piece they lack.
const UNKNOWN: &str = "<unk>";

/// Text to tokens and back.
#[derive(Debug)]
pub(super) enum TranslationTokens {
    /// `tokenizer.json`, both languages in one vocabulary.
    Joint(Box<Tokenizer>),
    /// `source.spm`, `target.spm` and `vocab.json` (and `target_vocab.json` where the sides differ).
    Pair(Box<Pair>),
}

#[derive(Debug)]
pub(super) struct Pair {
    source: SentencePiece,
    target: SentencePiece,
    source_ids: HashMap<String, u32>,
    target_ids: HashMap<String, u32>,
    target_pieces: HashMap<u32, String>,
}

impl TranslationTokens {
    pub(super) fn load(directory: &ModelDirectory) -> Result<Self, ModelError> {
        const JOINT: &str = "tokenizer.json";
        // A directory with both has its .spm files from the model's makers.
        if let (Some(source), Some(target)) = (directory.file("source.spm"), directory.file("target.spm")) {
            return Self::pair(directory, &source, &target);
        }
        let wanted = "tokenizer.json, nor source.spm with target.spm and vocab.json";
        let missing = ModelError::NoTokenizer { path: directory.path().to_owned(), wanted };
        let path = directory.file(JOINT).ok_or(missing)?;
        let mut tokenizer =
            Tokenizer::from_file(&path).map_err(|e| ModelError::Malformed { path, reason: e.to_string() })?;
        // What people say never becomes a special token.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self::Joint(Box::new(tokenizer)))
    }

    fn pair(directory: &ModelDirectory, source: &Path, target: &Path) -> Result<Self, ModelError> {
        let source_ids: HashMap<String, u32> = directory.json("vocab.json")?;
        let target_ids = match directory.file("target_vocab.json") {
            Some(_) => directory.json("target_vocab.json")?,
            None => source_ids.clone(),
        };
        Ok(Self::Pair(Box::new(Pair {
            source: SentencePiece::load(source)?,
            target: SentencePiece::load(target)?,
            target_pieces: target_ids.iter().map(|(piece, id)| (*id, piece.clone())).collect(),
            source_ids,
            target_ids,
        })))
    }

    /// Tokens of a source text, without the end token. A leading `>>xxx<<` that the vocabulary has is one token: it
    /// names the target language of a model with several.
    pub(super) fn source(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let id = |token: &str| match self {
            Self::Joint(tokenizer) => tokenizer.token_to_id(token),
            Self::Pair(pair) => pair.source_ids.get(token).copied(),
        };
        let mark = text.trim_start().split_once("<<").map(|(mark, rest)| (format!("{mark}<<"), rest));
        let marked = mark.filter(|(mark, _)| mark.starts_with(">>")).and_then(|(mark, rest)| Some((id(&mark)?, rest)));
        let (mark, text) = marked.map_or((None, text), |(id, rest)| (Some(id), rest));
        let tokens = match self {
            Self::Joint(tokenizer) => encode(tokenizer, text)?,
            Self::Pair(pair) => numbered(&pair.source, &pair.source_ids, text)?,
        };
        Ok(mark.into_iter().chain(tokens).collect())
    }

    /// Tokens of a target text, without the end token.
    pub(super) fn target(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Joint(tokenizer) => encode(tokenizer, text),
            Self::Pair(pair) => numbered(&pair.target, &pair.target_ids, text),
        }
    }

    /// The text of `tokens` that follow `prefix`: with a leading space where a new word begins.
    pub(super) fn text_after(&self, prefix: &[u32], tokens: &[u32]) -> Result<String, ModelError> {
        let whole = self.text(&[prefix, tokens].concat())?;
        match whole.strip_prefix(self.text(prefix)?.as_str()) {
            Some(rest) => Ok(rest.to_owned()),
            None => self.text(tokens),
        }
    }

    fn text(&self, tokens: &[u32]) -> Result<String, ModelError> {
        match self {
            Self::Joint(tokenizer) => tokenizer
                .decode(tokens, true)
                .map_err(|_| ModelError::Compute("the tokenizer cannot decode its own tokens".to_owned())),
            Self::Pair(pair) => {
                let pieces = tokens.iter().filter_map(|id| pair.target_pieces.get(id)).map(String::as_str);
                Ok(join(pieces.filter(|piece| !matches!(*piece, UNKNOWN | "</s>" | "<pad>"))))
            }
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, ModelError> {
    let encoding = tokenizer.encode_fast(text, false);
    let encoding = encoding.map_err(|_| ModelError::Compute("the tokenizer refuses a text".to_owned()))?;
    Ok(encoding.get_ids().to_vec())
}

/// A `.spm` file numbers its pieces in its own way: the model's numbers are those of `vocab.json`, by spelling.
fn numbered(side: &SentencePiece, ids: &HashMap<String, u32>, text: &str) -> Result<Vec<u32>, ModelError> {
    let unknown = ids.get(UNKNOWN);
    let id = |(_, spelling): (u32, String)| ids.get(&spelling).or(unknown).copied();
    Ok(side.pieces(text)?.into_iter().filter_map(id).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        #[serde(default)]
        ids: Vec<u32>,
        tokens: Vec<u32>,
    }

    #[derive(Deserialize)]
    struct Cases {
        cases: Vec<Case>,
        targets: Vec<Case>,
    }

    /// The files and numbers that training/reference/make_fixtures.py stored.
    fn fixtures() -> (Box<Pair>, Cases) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/parity");
        let directory = ModelDirectory::open(&dir).unwrap();
        let TranslationTokens::Pair(pair) = TranslationTokens::load(&directory).unwrap() else { panic!("not a pair") };
        (pair, directory.json("spm.json").unwrap())
    }

    #[test]
    fn sentence_pieces_are_those_of_the_reference() {
        let (pair, cases) = fixtures();
        for case in &cases.cases {
            let pieces = pair.source.pieces(&case.text).unwrap();
            let ids: Vec<u32> = pieces.into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids, case.ids, "{:?}", case.text);
        }
    }

    #[test]
    fn tokens_are_numbered_by_the_vocabulary_and_read_back() {
        let (pair, cases) = fixtures();
        let tokens = TranslationTokens::Pair(pair);
        for case in &cases.cases {
            assert_eq!(tokens.source(&case.text).unwrap(), case.tokens, "{:?}", case.text);
        }
        for case in &cases.targets {
            assert_eq!(tokens.target(&case.text).unwrap(), case.tokens, "{:?}", case.text);
            assert_eq!(tokens.text(&case.tokens).unwrap(), case.text);
            let (prefix, rest) = case.tokens.split_at(case.tokens.len() / 2);
            let head = tokens.text(prefix).unwrap();
            assert_eq!(head + &tokens.text_after(prefix, rest).unwrap(), case.text);
        }
    }

    #[test]
    fn a_target_language_mark_is_one_token() {
        let (mut pair, _) = fixtures();
        pair.source_ids.insert(">>es<<".to_owned(), 7);
        let tokens = TranslationTokens::Pair(pair);
        let plain = tokens.source("the train").unwrap();
        assert_eq!(tokens.source(">>es<< the train").unwrap(), [&[7], plain.as_slice()].concat());
        assert_ne!(tokens.source(">>xx<< the train").unwrap()[1..], plain);
    }
}
