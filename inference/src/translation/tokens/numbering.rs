//! A `.spm` file numbers its pieces in its own way: the numbers the models go by instead.

use std::collections::HashMap;

use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::language::Language;
use crate::sentencepiece::SentencePiece;

/// What SentencePiece vocabularies call a piece they lack.
pub(super) const UNKNOWN: &str = "<unk>";
/// Tokens that are no text.
const SILENT: [&str; 4] = [UNKNOWN, "<s>", "</s>", "<pad>"];
/// NLLB-200 counts as fairseq does: these come first, and pieces are one further than in the file.
const FAIRSEQ: [&str; 4] = ["<s>", "<pad>", "</s>", UNKNOWN];

/// How a model numbers pieces and other tokens.
#[derive(Debug)]
pub(super) enum Numbering {
    /// As the file does (T5).
    Own,
    /// By spelling, in a `vocab.json` (Marian, M2M100).
    Listed { ids: HashMap<String, u32>, names: HashMap<u32, String> },
    /// [`FAIRSEQ`], the other pieces, then the languages (NLLB-200).
    Nllb { pieces: u32, languages: HashMap<&'static str, u32> },
}

/// A file of token spellings and numbers.
pub(super) fn vocabulary(directory: &ModelDirectory, name: &str) -> Result<HashMap<String, u32>, ModelError> {
    directory.json(name)
}

impl Numbering {
    pub(super) fn listed(ids: HashMap<String, u32>) -> Self {
        let names = ids.iter().map(|(name, id)| (*id, name.clone())).collect();
        Self::Listed { ids, names }
    }

    /// The languages follow the pieces, in the order of their codes.
    pub(super) fn m2m100(mut ids: HashMap<String, u32>) -> Self {
        let names = ids.iter().map(|(name, id)| (*id, name.clone())).collect();
        let mut codes: Vec<&str> = Language::all().iter().filter_map(Language::m2m100).collect();
        codes.sort_unstable();
        codes.dedup();
        let first = ids.len() as u32;
        ids.extend(codes.iter().zip(first..).map(|(code, id)| (format!("__{code}__"), id)));
        Self::Listed { ids, names }
    }

    pub(super) fn nllb(pieces: usize) -> Self {
        let pieces = pieces as u32;
        Self::Nllb { pieces, languages: Language::nllb_codes().zip(pieces + 1..).collect() }
    }

    /// The number of a piece or another token.
    pub(super) fn id(&self, side: &SentencePiece, token: &str) -> Option<u32> {
        match self {
            Self::Own => side.id(token),
            Self::Listed { ids, .. } => ids.get(token).copied(),
            Self::Nllb { languages, .. } => {
                let special = FAIRSEQ.iter().zip(0..).find(|(name, _)| **name == token).map(|(_, id)| id);
                special.or_else(|| languages.get(token).copied()).or_else(|| Some(side.id(token)? + 1))
            }
        }
    }

    pub(super) fn encode(&self, side: &SentencePiece, text: &str) -> Vec<u32> {
        if let Self::Own = self {
            return side.encode(text);
        }
        let unknown = self.id(side, UNKNOWN);
        let id = |(_, spelling): (u32, String)| self.id(side, &spelling).or(unknown);
        side.pieces(text).into_iter().filter_map(id).collect()
    }

    /// The text of tokens, without those that are none.
    pub(super) fn text(&self, side: &SentencePiece, tokens: &[u32]) -> String {
        let name = |id: &u32| match self {
            Self::Own => side.piece(*id),
            Self::Listed { names, .. } => names.get(id).map(String::as_str),
            Self::Nllb { pieces, .. } => {
                let own = id.checked_sub(1).filter(|own| (FAIRSEQ.len() as u32 - 1..*pieces).contains(own));
                own.and_then(|own| side.piece(own))
            }
        };
        let names = tokens.iter().filter_map(name).filter(|name| !SILENT.contains(name));
        // A vocabulary may have pieces its file does not.
        side.decode_pieces(names).replace('▁', " ")
    }
}
