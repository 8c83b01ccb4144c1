//! Whisper's vocabulary: its special tokens, its languages, text to tokens and back.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::alignment::token_bytes;
use crate::directory::{GenerationConfig, ModelDirectory};
use crate::error::ModelError;
use crate::whisper_vocabulary;

/// Languages written without spaces between words: a text of theirs does not start with one either.
const SPACELESS: [&str; 7] = ["zh", "yue", "ja", "th", "lo", "my", "km"];

/// The tokens of one model.
#[derive(Debug)]
pub(super) struct SpeechTokens {
    tokenizer: Tokenizer,
    pub(super) start: u32,
    pub(super) end: u32,
    transcribe: Option<u32>,
    pub(super) no_timestamps: Option<u32>,
    start_of_previous: Option<u32>,
    pub(super) no_speech: Option<u32>,
    /// Primary subtag and token, in the order of the tokens. Empty for an English-only model.
    languages: Vec<(String, u32)>,
}

impl SpeechTokens {
    pub(super) fn load(directory: &ModelDirectory, rules: &GenerationConfig) -> Result<Self, ModelError> {
        let tokenizer = whisper_vocabulary::load(directory)?;
        let fault = |reason: String| ModelError::Malformed { path: directory.path().to_owned(), reason };
        let id = |token: &str| tokenizer.token_to_id(token);
        let need = |token: &str| id(token).ok_or_else(|| fault(format!("has no token {token}")));
        let languages = if rules.is_multilingual == Some(false) { Vec::new() } else { languages(&tokenizer, rules) };
        Ok(Self {
            start: need("<|startoftranscript|>")?,
            end: need("<|endoftext|>")?,
            transcribe: id("<|transcribe|>"),
            no_timestamps: id("<|notimestamps|>"),
            start_of_previous: id("<|startofprev|>"),
            no_speech: id("<|nospeech|>").or_else(|| id("<|nocaptions|>")),
            languages,
            tokenizer,
        })
    }

    pub(super) fn languages(&self) -> &[(String, u32)] {
        &self.languages
    }

    /// The language's token; `None` in a model that needs none.
    pub(super) fn language(&self, language: &str) -> Result<Option<u32>, ModelError> {
        if self.languages.is_empty() && language == "en" {
            return Ok(None);
        }
        let known = self.languages.iter().find(|(name, _)| name == language);
        known.map(|(_, token)| Some(*token)).ok_or_else(|| {
            let names: Vec<&str> = self.languages.iter().map(|(name, _)| name.as_str()).collect();
            let known = if names.is_empty() { "en".to_owned() } else { names.join(", ") };
            ModelError::Language { language: language.to_owned(), known }
        })
    }

    /// Ids that never belong into a text: everything special, timestamps included.
    pub(super) fn specials(&self) -> Vec<u32> {
        let added = self.tokenizer.get_added_tokens_decoder();
        let listed = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id);
        let beyond = self.end + 1..self.tokenizer.get_vocab_size(true) as u32;
        listed.chain(beyond).filter(|id| *id != self.end).collect()
    }

    /// What comes before the text: specials for this language, and for a text with or without timestamps.
    pub(super) fn header(&self, language: &str, timestamps: bool) -> Result<Vec<u32>, ModelError> {
        let language = self.language(language)?;
        let task = language.and(self.transcribe);
        let without = self.no_timestamps.filter(|_| !timestamps);
        Ok([Some(self.start), language, task, without].into_iter().flatten().collect())
    }

    /// At most `limit` tokens of earlier text, the last ones, behind their marker; none where the model has no marker.
    pub(super) fn context(&self, text: &str, limit: usize) -> Result<Vec<u32>, ModelError> {
        let Some(marker) = self.start_of_previous.filter(|_| !text.trim().is_empty() && limit > 1) else {
            return Ok(Vec::new());
        };
        let tokens = self.encode(&format!(" {}", text.trim()))?;
        let kept = &tokens[tokens.len().saturating_sub(limit - 1)..];
        Ok([&[marker], kept].concat())
    }

    /// Tokens of a text that opens the window.
    pub(super) fn opening(&self, text: &str, language: &str) -> Result<Vec<u32>, ModelError> {
        let text = text.trim();
        if text.is_empty() {
            Ok(Vec::new())
        } else if SPACELESS.contains(&language) {
            self.encode(text)
        } else {
            self.encode(&format!(" {text}"))
        }
    }

    /// Of each token whether a word goes on with it: it begins with neither a space nor punctuation.
    pub(super) fn inner(&self, vocabulary: usize) -> Arc<[bool]> {
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        let inner = |token: u32| self.bytes(token).first().is_some_and(letter);
        (0..vocabulary as u32).map(|token| token < self.end && inner(token)).collect()
    }

    /// Whether a language is written without spaces between words.
    pub(super) fn spaceless(&self, language: &str) -> bool {
        SPACELESS.contains(&language)
    }

    /// Tokens of a text as it is.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|_| ModelError::Compute("the tokenizer refuses a text".to_owned()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A token's bytes: perhaps a part of a character. Empty for one that is no text.
    pub(super) fn bytes(&self, token: u32) -> Vec<u8> {
        self.tokenizer.id_to_token(token).and_then(|token| token_bytes(&token)).unwrap_or_default()
    }

    /// Tokens to text. A character cut in half at the end is left out.
    pub(super) fn text(&self, tokens: &[u32]) -> Result<String, ModelError> {
        let text = self.tokenizer.decode(tokens, true);
        let text = text.map_err(|_| ModelError::Compute("the tokenizer cannot decode its own tokens".to_owned()))?;
        Ok(text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned())
    }
}

/// The languages `generation_config.json` lists; without a list, all tokens that look like one.
fn languages(tokenizer: &Tokenizer, rules: &GenerationConfig) -> Vec<(String, u32)> {
    let name = |token: &str| {
        let tag = token.strip_prefix("<|")?.strip_suffix("|>")?;
        let tag_like = matches!(tag.len(), 2 | 3) && tag.bytes().all(|b| b.is_ascii_lowercase());
        tag_like.then(|| tag.to_owned())
    };
    let mut found: Vec<(String, u32)> = match &rules.lang_to_id {
        Some(listed) => listed.iter().filter_map(|(token, id)| Some((name(token)?, *id))).collect(),
        None => {
            let added = tokenizer.get_added_tokens_decoder();
            added.iter().filter_map(|(id, token)| Some((name(&token.content)?, *id))).collect()
        }
    };
    found.sort_by_key(|(_, id)| *id);
    found
}
