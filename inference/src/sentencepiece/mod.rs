//! SentencePiece models (`.spm`, `.model`) without Python: text to pieces and back, as the reference library does it.

mod bpe;
mod file;
mod normalizer;
mod trie;
mod unigram;

use std::collections::HashMap;
use std::path::Path;

use crate::directory::read;
use crate::error::ModelError;
use bpe::Bpe;
use file::{File, Piece, PieceKind};
use normalizer::{Normalizer, SPACE};
use trie::Trie;
use unigram::Unigram;

/// One SentencePiece file, of the Unigram or the BPE kind.
#[derive(Debug)]
pub struct SentencePiece {
    pieces: Vec<Piece>,
    ids: HashMap<String, u32>,
    segmenter: Segmenter,
    normalizer: Normalizer,
    denormalizer: Option<Normalizer>,
    /// Pieces that are always one, and never normalised.
    user_defined: Trie,
    unknown: Option<u32>,
    unknown_surface: String,
    /// The piece of each byte, where unknown characters fall apart into bytes.
    bytes: Option<Vec<u32>>,
}

#[derive(Debug)]
enum Segmenter {
    Unigram(Unigram),
    Bpe(Bpe),
}

/// A stretch of normalised text and its piece; none when it is unknown.
#[derive(Debug)]
struct Segment<'a> {
    text: &'a str,
    piece: Option<u32>,
}

impl SentencePiece {
    /// # Errors
    /// When the file cannot be read, is no SentencePiece model, or of the kinds that cut by words or characters.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::Malformed { path: path.to_owned(), reason };
        Self::parse(&read(path)?).map_err(fault)
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        file::parse(bytes).and_then(Self::build)
    }

    fn build(file: File) -> Result<Self, String> {
        let mut ids = HashMap::with_capacity(file.pieces.len());
        for (piece, id) in file.pieces.iter().zip(0..) {
            if piece.text != "\0" && ids.insert(piece.text.clone(), id).is_some() {
                return Err(format!("piece \"{}\" is there twice", piece.text));
            }
        }
        let segmenter = match file.kind {
            1 => Segmenter::Unigram(Unigram::new(&file.pieces)),
            2 => Segmenter::Bpe(Bpe::new(&file.pieces)),
            kind => return Err(format!("SentencePiece kind {kind} is not supported, only Unigram (1) and BPE (2)")),
        };
        let of_kind = |kind| file.pieces.iter().zip(0..).filter(move |(piece, _)| piece.kind == kind);
        let unknown = of_kind(PieceKind::Unknown).map(|(_, id)| id).next();
        let bytes = file.byte_fallback.then(|| byte_pieces(&ids)).transpose()?;
        if unknown.is_none() && bytes.is_none() {
            return Err("it has no piece for the unknown".to_owned());
        }
        let user_defined = of_kind(PieceKind::UserDefined).map(|(piece, id)| (piece.text.as_str(), id)).collect();
        Ok(Self {
            user_defined: Trie::new(user_defined),
            ids,
            segmenter,
            normalizer: Normalizer::new(&file.normalizer, file.whitespace_as_suffix)?,
            denormalizer: file.denormalizer.as_ref().map(|spec| Normalizer::new(spec, false)).transpose()?,
            unknown,
            unknown_surface: file.unknown_surface,
            bytes,
            pieces: file.pieces,
        })
    }

    /// Number of pieces; their ids are below it.
    pub fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// The id of the piece spelt so.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    /// The spelling of a piece.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(id as usize).map(|piece| piece.text.as_str())
    }

    /// A text's piece ids in this file, without start and end marks.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.pieces(text).into_iter().map(|(id, _)| id).collect()
    }

    /// A text's pieces: their ids in this file and their spelling. What the file has no piece for keeps its spelling
    /// under the id of the unknown piece, or comes as bytes, `<0xE3>`.
    pub fn pieces(&self, text: &str) -> Vec<(u32, String)> {
        let text = self.normalizer.normalize(text, &self.user_defined);
        let segments = match &self.segmenter {
            Segmenter::Unigram(unigram) => unigram.segment(&text),
            Segmenter::Bpe(bpe) => bpe.segment(&text, &self.user_defined),
        };
        let mut found: Vec<(u32, String)> = Vec::with_capacity(segments.len());
        let mut after_unknown = false;
        for segment in segments {
            match (segment.piece, &self.bytes, self.unknown) {
                (Some(id), _, _) => found.push((id, segment.text.to_owned())),
                (None, Some(bytes), _) => {
                    let ids = segment.text.bytes().map(|byte| bytes[usize::from(byte)]);
                    found.extend(ids.map(|id| (id, self.pieces[id as usize].text.clone())));
                }
                (None, None, Some(unknown)) => match found.last_mut().filter(|_| after_unknown) {
                    Some((_, spelling)) => spelling.push_str(segment.text),
                    None => found.push((unknown, segment.text.to_owned())),
                },
                (None, None, None) => {}
            }
            after_unknown = segment.piece.is_none();
        }
        found
    }

    /// The text of pieces by their ids. Ids the file does not have are passed over.
    pub fn decode(&self, ids: &[u32]) -> String {
        let pieces = ids.iter().filter_map(|id| Some((Some(*id), self.piece(*id)?)));
        self.join(pieces)
    }

    /// The text of pieces by their spelling; what is no piece of this file stands for itself.
    pub fn decode_pieces<'a>(&'a self, pieces: impl Iterator<Item = &'a str>) -> String {
        self.join(pieces.map(|piece| (self.id(piece), piece)))
    }

    fn join<'a>(&'a self, pieces: impl Iterator<Item = (Option<u32>, &'a str)>) -> String {
        let (mut text, mut bytes) = (String::new(), Vec::new());
        // The dummy space at the start goes; with tidied spaces so do all until the first letter.
        let mut at_start = self.normalizer.add_dummy_prefix || self.normalizer.remove_extra_whitespaces;
        for (id, piece) in pieces {
            let kind = id.map_or(PieceKind::Unknown, |id| self.pieces[id as usize].kind);
            if kind == PieceKind::Byte {
                bytes.extend(byte_of(piece));
                continue;
            }
            push_bytes(&mut text, &mut bytes);
            at_start &= text.is_empty();
            if kind == PieceKind::Control {
                continue;
            }
            let bare = if at_start { piece.strip_prefix(SPACE).unwrap_or(piece) } else { piece };
            match kind {
                PieceKind::Unknown if id.is_some() => text.push_str(&self.unknown_surface),
                PieceKind::Unknown => text.push_str(piece),
                _ => text.push_str(&bare.replace(SPACE, " ")),
            }
            at_start &= text.is_empty() && (self.normalizer.remove_extra_whitespaces || bare.len() == piece.len());
        }
        push_bytes(&mut text, &mut bytes);
        match &self.denormalizer {
            Some(denormalizer) => denormalizer.normalize(&text, &Trie::default()),
            None => text,
        }
    }
}

fn byte_pieces(ids: &HashMap<String, u32>) -> Result<Vec<u32>, String> {
    let piece = |byte: u8| {
        let name = format!("<0x{byte:02X}>");
        ids.get(&name).copied().ok_or_else(|| format!("it lacks the byte piece {name}"))
    };
    (0..=u8::MAX).map(piece).collect()
}

/// The byte a piece such as `<0xE3>` stands for.
fn byte_of(piece: &str) -> Option<u8> {
    u8::from_str_radix(piece.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

/// Writes collected bytes down as text; each one that is no part of a character becomes U+FFFD.
fn push_bytes(text: &mut String, bytes: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    bytes.clear();
}
