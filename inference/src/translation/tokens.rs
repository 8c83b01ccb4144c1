//! A translation model's vocabulary, in the layouts Marian, M2M100, NLLB and T5 models come in.

mod numbering;

use std::path::Path;

use tokenizers::Tokenizer;

use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::language::Language;
use crate::sentencepiece::SentencePiece;
use numbering::{Numbering, UNKNOWN, vocabulary};

/// Text to tokens and back.
#[derive(Debug)]
pub(super) struct TranslationTokens {
    layout: Layout,
    family: Family,
}

#[derive(Debug)]
enum Layout {
    /// `tokenizer.json`, both languages in one vocabulary.
    Joint(Box<Tokenizer>),
    /// SentencePiece files and their numbers.
    Pieces(Box<Pieces>),
}

#[derive(Debug)]
struct Pieces {
    source: Side,
    /// None where one side serves both languages.
    target: Option<Side>,
}

/// One language's pieces and the model's numbers for them.
#[derive(Debug)]
struct Side {
    pieces: SentencePiece,
    numbers: Numbering,
}

/// How a model is told the languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// One pair, or `>>spa<<` before the source.
    Marian,
    /// `__en__` before the source, `__es__` before the target.
    M2m100,
    /// `eng_Latn` before the source, `spa_Latn` before the target.
    Nllb,
    /// The text `<2es>` before the source's.
    Madlad,
}

impl TranslationTokens {
    /// The files of the model's makers win over a `tokenizer.json` made from them.
    pub(super) fn load(directory: &ModelDirectory) -> Result<Self, ModelError> {
        const JOINT: &str = "tokenizer.json";
        if let (Some(source), Some(target)) = (directory.file("source.spm"), directory.file("target.spm")) {
            return Self::pair(directory, &source, &target);
        }
        let wanted =
            "tokenizer.json, nor source.spm with target.spm and vocab.json, sentencepiece.bpe.model, spiece.model";
        let missing = ModelError::NoTokenizer { path: directory.path().to_owned(), wanted };
        if let Some(path) = directory.file("sentencepiece.bpe.model") {
            let pieces = SentencePiece::load(&path)?;
            let numbers = match directory.file("vocab.json") {
                Some(_) => Numbering::m2m100(vocabulary(directory, "vocab.json")?),
                None => Numbering::nllb(pieces.piece_count()),
            };
            return Ok(Self::new(Layout::single(Side { pieces, numbers })));
        }
        if let Some(path) = directory.file("spiece.model") {
            let side = Side { pieces: SentencePiece::load(&path)?, numbers: Numbering::Own };
            return Ok(Self::new(Layout::single(side)));
        }
        let path = directory.file(JOINT).ok_or(missing)?;
        let mut tokenizer =
            Tokenizer::from_file(&path).map_err(|e| ModelError::Malformed { path, reason: e.to_string() })?;
        // What people say never becomes a special token.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self::new(Layout::Joint(Box::new(tokenizer))))
    }

    fn pair(directory: &ModelDirectory, source: &Path, target: &Path) -> Result<Self, ModelError> {
        let side = |file: &Path, names: &str| {
            let numbers = Numbering::listed(vocabulary(directory, names)?);
            Ok::<_, ModelError>(Side { pieces: SentencePiece::load(file)?, numbers })
        };
        let names = directory.file("target_vocab.json").map_or("vocab.json", |_| "target_vocab.json");
        let pieces = Pieces { source: side(source, "vocab.json")?, target: Some(side(target, names)?) };
        Ok(Self::new(Layout::Pieces(Box::new(pieces))))
    }

    fn new(layout: Layout) -> Self {
        let has = |token: &str| layout.id(token).is_some();
        let family = if has("eng_Latn") {
            Family::Nllb
        } else if has("__en__") {
            Family::M2m100
        } else if has("<2en>") {
            Family::Madlad
        } else {
            Family::Marian
        };
        Self { layout, family }
    }

    /// Whether it must be told the languages of a text.
    pub(super) fn wants_languages(&self) -> bool {
        self.family != Family::Marian
    }

    /// The token that stands for what the vocabulary lacks.
    pub(super) fn unknown(&self) -> Option<u32> {
        self.layout.id(UNKNOWN)
    }

    /// Tokens of a source text, without the end token. A leading `>>xxx<<` that the vocabulary has is one token: it
    /// names the target language of a model with several.
    pub(super) fn source(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let id = |token: &str| self.layout.id(token);
        let mark = text.trim_start().split_once("<<").map(|(mark, rest)| (format!("{mark}<<"), rest));
        let marked = mark.filter(|(mark, _)| mark.starts_with(">>")).and_then(|(mark, rest)| Some((id(&mark)?, rest)));
        let (mark, text) = marked.map_or((None, text), |(id, rest)| (Some(id), rest));
        Ok(mark.into_iter().chain(self.layout.encode(text, false)?).collect())
    }

    /// Tokens of a source text with those that tell the model the languages, without the end token.
    ///
    /// # Errors
    /// [`ModelError::Language`] when a model with several languages lacks one of these.
    pub(super) fn source_between(&self, text: &str, from: &Language, to: &Language) -> Result<Vec<u32>, ModelError> {
        match self.family {
            Family::Nllb | Family::M2m100 => {
                Ok([vec![self.language(from)?], self.layout.encode(text, false)?].concat())
            }
            // Trained on texts that begin so, the mark being one piece among others.
            Family::Madlad => {
                self.language(to)?;
                let code = to.madlad().unwrap_or_default();
                // What people say never becomes a mark.
                let text = text.replace("<2", "< 2");
                self.layout.encode(&format!("<2{code}> {text}"), false)
            }
            Family::Marian => {
                let mark = to.marian_marks().find_map(|mark| self.layout.id(&format!(">>{mark}<<")));
                Ok(mark.into_iter().chain(self.layout.encode(text, false)?).collect())
            }
        }
    }

    /// The token that must come first in the target; none in families that tell the language otherwise.
    ///
    /// # Errors
    /// [`ModelError::Language`] when the model lacks the language.
    pub(super) fn target_start(&self, to: &Language) -> Result<Option<u32>, ModelError> {
        match self.family {
            Family::Nllb | Family::M2m100 => self.language(to).map(Some),
            Family::Madlad | Family::Marian => Ok(None),
        }
    }

    fn language(&self, language: &Language) -> Result<u32, ModelError> {
        let (token, known) = match self.family {
            Family::Nllb => (language.nllb().map(str::to_owned), "those of NLLB-200"),
            Family::M2m100 => (language.m2m100().map(|code| format!("__{code}__")), "those of M2M100"),
            Family::Madlad => (language.madlad().map(|code| format!("<2{code}>")), "those of MADLAD-400"),
            Family::Marian => (None, "those of its marks"),
        };
        let id = token.and_then(|token| self.layout.id(&token));
        id.ok_or_else(|| ModelError::Language { language: language.tag().to_owned(), known: known.to_owned() })
    }

    /// Tokens of a target text, without the end token.
    pub(super) fn target(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.layout.encode(text, true)
    }

    /// The text of `tokens` that follow `prefix`: with a leading space where a new word begins.
    pub(super) fn text_after(&self, prefix: &[u32], tokens: &[u32]) -> Result<String, ModelError> {
        let whole = self.text(&[prefix, tokens].concat())?;
        match whole.strip_prefix(self.text(prefix)?.as_str()) {
            Some(rest) => Ok(rest.to_owned()),
            None => self.text(tokens),
        }
    }

    /// What follows the text of `prefix` in a whole text.
    pub(super) fn after(&self, prefix: &[u32], whole: String) -> Result<String, ModelError> {
        let prefix = self.text(prefix)?;
        Ok(whole.strip_prefix(prefix.as_str()).map(str::to_owned).unwrap_or(whole))
    }

    /// The text of target tokens.
    pub(super) fn text(&self, tokens: &[u32]) -> Result<String, ModelError> {
        match &self.layout {
            Layout::Joint(tokenizer) => tokenizer
                .decode(tokens, true)
                .map_err(|_| ModelError::Compute("the tokenizer cannot decode its own tokens".to_owned())),
            Layout::Pieces(pieces) => {
                let side = pieces.target.as_ref().unwrap_or(&pieces.source);
                Ok(side.numbers.text(&side.pieces, tokens))
            }
        }
    }
}

impl Layout {
    fn single(side: Side) -> Self {
        Self::Pieces(Box::new(Pieces { source: side, target: None }))
    }

    /// The number of a token on the source side.
    fn id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Joint(tokenizer) => tokenizer.token_to_id(token),
            Self::Pieces(pieces) => pieces.source.numbers.id(&pieces.source.pieces, token),
        }
    }

    fn encode(&self, text: &str, target: bool) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Joint(tokenizer) => {
                let encoding = tokenizer.encode_fast(text, false);
                let encoding = encoding.map_err(|_| ModelError::Compute("the tokenizer refuses a text".to_owned()))?;
                Ok(encoding.get_ids().to_vec())
            }
            Self::Pieces(pieces) => {
                let side = pieces.target.as_ref().filter(|_| target).unwrap_or(&pieces.source);
                Ok(side.numbers.encode(&side.pieces, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Read;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        tokens: Vec<u32>,
    }

    #[derive(Deserialize)]
    struct Cases {
        cases: Vec<Case>,
        targets: Vec<Case>,
    }

    fn stored(file: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokens").join(file);
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn language(tag: &str) -> &'static Language {
        Language::parse(tag).unwrap()
    }

    /// The files and numbers that training/reference/make_fixtures.py stored.
    fn fixtures() -> (TranslationTokens, Cases) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/parity");
        let directory = ModelDirectory::open(&dir).unwrap();
        (TranslationTokens::load(&directory).unwrap(), directory.json("spm.json").unwrap())
    }

    #[test]
    fn tokens_are_numbered_by_the_vocabulary_and_read_back() {
        let (tokens, cases) = fixtures();
        assert_eq!(tokens.family, Family::Marian);
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
        let (mut tokens, _) = fixtures();
        let Layout::Pieces(pieces) = &mut tokens.layout else { panic!("no SentencePiece files") };
        let Numbering::Listed { ids, .. } = &mut pieces.source.numbers else { panic!("no vocab.json") };
        ids.insert(">>spa<<".to_owned(), 7);
        let plain = tokens.source("the train").unwrap();
        assert_eq!(tokens.source(">>spa<< the train").unwrap(), [&[7], plain.as_slice()].concat());
        assert_ne!(tokens.source(">>xx<< the train").unwrap()[1..], plain);
        let (english, spanish) = (language("en"), language("es-MX"));
        let marked = tokens.source_between("the train", english, spanish).unwrap();
        assert_eq!(marked, [&[7], plain.as_slice()].concat());
        assert_eq!(tokens.source_between("the train", english, language("fr")).unwrap(), plain);
    }

    #[test]
    fn m2m100_is_numbered_as_the_reference_numbers_it() {
        #[derive(Deserialize)]
        struct Reference {
            vocabulary: HashMap<String, u32>,
            lines: Vec<String>,
            ids: Vec<Vec<u32>>,
            texts: Vec<String>,
            zu: u32,
        }
        let reference: Reference = serde_json::from_slice(&stored("m2m100.json.gz")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sentencepiece.bpe.model"), stored("bpe_nmt.spm.gz")).unwrap();
        std::fs::write(dir.path().join("vocab.json"), serde_json::to_vec(&reference.vocabulary).unwrap()).unwrap();
        let tokens = TranslationTokens::load(&ModelDirectory::open(dir.path()).unwrap()).unwrap();
        let (english, zulu) = (language("en"), language("zu"));
        assert!(reference.lines.len() > 40);
        for ((line, ids), text) in reference.lines.iter().zip(&reference.ids).zip(&reference.texts) {
            let (end, body) = ids.split_last().unwrap();
            assert_eq!(tokens.source_between(line, english, zulu).unwrap(), body, "{line}");
            assert_eq!(*end, 2);
            assert_eq!(tokens.text(ids).unwrap(), *text, "{line}");
        }
        assert_eq!(tokens.target_start(zulu).unwrap(), Some(reference.zu));
        let error = tokens.target_start(language("eo")).unwrap_err().to_string();
        assert!(error.contains("\"eo\"") && error.contains("M2M100"), "{error}");
    }

    #[test]
    fn nllb_counts_one_further_and_its_languages_follow_the_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sentencepiece.bpe.model");
        std::fs::write(&path, stored("bpe_nmt.spm.gz")).unwrap();
        let pieces = SentencePiece::load(&path).unwrap();
        let tokens = TranslationTokens::load(&ModelDirectory::open(dir.path()).unwrap()).unwrap();
        let count = pieces.piece_count() as u32;
        assert_eq!(tokens.target_start(language("ace-Arab")).unwrap(), Some(count + 1));
        assert_eq!(tokens.target_start(language("en")).unwrap(), Some(count + 1 + 46));
        assert_eq!(tokens.target_start(language("zu")).unwrap(), Some(count + 1 + 201));
        let ids = tokens.source_between("the train \u{10ffff}", language("en"), language("zu")).unwrap();
        let shifted: Vec<u32> = pieces.encode("the train").iter().map(|id| id + 1).collect();
        assert_eq!(ids[..=shifted.len()], [&[count + 1 + 46], shifted.as_slice()].concat());
        assert_eq!(*ids.last().unwrap(), 3, "the unknown");
        assert_eq!(tokens.text(&ids).unwrap().trim_end(), "the train");
        assert_eq!(
            tokens.source_between("a", language("haw"), language("zu")).unwrap_err().to_string().matches("haw").count(),
            1
        );
    }

    #[test]
    fn madlad_begins_with_the_piece_of_the_language() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spiece.model");
        std::fs::write(&path, stored("unigram_bytes.spm.gz")).unwrap();
        let pieces = SentencePiece::load(&path).unwrap();
        let mut tokens = TranslationTokens::load(&ModelDirectory::open(dir.path()).unwrap()).unwrap();
        assert_eq!(tokens.family, Family::Marian, "it has no <2en>");
        tokens.family = Family::Madlad;
        let ids = tokens.source_between("the train", language("en"), language("es")).unwrap();
        assert_eq!(ids, pieces.encode("<2es> the train"));
        assert!(ids.contains(&pieces.id("<2es>").unwrap()));
        assert!(tokens.source_between("the train", language("es"), language("fr")).is_err());
        assert_eq!(tokens.target_start(language("es")).unwrap(), None);
        assert_eq!(tokens.text(&pieces.encode("the train")).unwrap(), "the train");
    }
}
