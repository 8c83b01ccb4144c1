//! Reads SentencePiece models (`.spm`) without Python: the protocol buffer by hand, the segmentation by `tokenizers`.

use std::path::Path;

use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled, Prepend, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use crate::directory::read;
use crate::error::ModelError;

/// What SentencePiece writes for a space.
const SPACE: char = '▁';

/// One `.spm` file: text to pieces and back. Only the Unigram kind, which all Marian models have.
#[derive(Debug)]
pub struct SentencePiece {
    tokenizer: Tokenizer,
}

impl SentencePiece {
    /// # Errors
    /// When the file cannot be read, is no SentencePiece model, or not of the Unigram kind.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::Malformed { path: path.to_owned(), reason };
        let model = parse(&read(path)?).map_err(fault)?;
        Self::build(model).map_err(fault)
    }

    fn build(model: Parsed) -> Result<Self, String> {
        const UNIGRAM: u64 = 1;
        if model.kind != UNIGRAM {
            return Err(format!("SentencePiece kind {} is not supported, only Unigram (1)", model.kind));
        }
        let unknown = model.pieces.iter().position(|piece| piece.kind == PieceKind::Unknown);
        // Pieces that text must not match keep their number under a name no text has.
        let name = |(id, piece): (usize, &Piece)| match piece.kind {
            PieceKind::Text => (piece.text.clone(), f64::from(piece.score)),
            PieceKind::Unknown | PieceKind::Hidden => (format!("\0{id}"), f64::from(piece.score)),
        };
        let vocabulary = model.pieces.iter().enumerate().map(name).collect();
        let text = |e: tokenizers::Error| e.to_string();
        let mut tokenizer = Tokenizer::new(Unigram::from(vocabulary, unknown, model.byte_fallback).map_err(text)?);
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if !model.charsmap.is_empty() {
            let map =
                Precompiled::from(&model.charsmap).map_err(|_| "its precompiled_charsmap is damaged".to_owned())?;
            steps.push(map.into());
        }
        if model.trim_spaces {
            steps.push(Strip::new(true, true).into());
            steps.push(Replace::new(ReplacePattern::Regex(" {2,}".to_owned()), " ").map_err(text)?.into());
        }
        if model.leading_space {
            // Not left to Metaspace, which adds none before a space that is there already.
            steps.push(Prepend::new(SPACE.to_string()).into());
        }
        tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(text)?;
        tokenizer.with_pre_tokenizer(Some(Metaspace::new(SPACE, PrependScheme::Never, true)));
        Ok(Self { tokenizer })
    }

    /// A text's pieces: their numbers in this file and their spelling. What the file has no piece for keeps its spelling
    /// under the number of the unknown piece.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn pieces(&self, text: &str) -> Result<Vec<(u32, String)>, ModelError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|_| ModelError::Compute("SentencePiece cannot segment a text".to_owned()))?;
        Ok(encoding.get_ids().iter().copied().zip(encoding.get_tokens().iter().cloned()).collect())
    }
}

/// Pieces back to text: joined, with spaces where SentencePiece marked them, none at the start.
pub(crate) fn join<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
    let text: String = pieces.collect::<String>().replace(SPACE, " ");
    text.strip_prefix(' ').map(str::to_owned).unwrap_or(text)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum PieceKind {
    Text,
    Unknown,
    /// Control or unused: has a number, is never in a text.
    Hidden,
}

#[derive(Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: PieceKind,
}

#[derive(Debug)]
struct Parsed {
    pieces: Vec<Piece>,
    kind: u64,
    byte_fallback: bool,
    charsmap: Vec<u8>,
    leading_space: bool,
    trim_spaces: bool,
}

/// A value of a protocol buffer, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bits(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        if let Self::Number(n) = self { n } else { 0 }
    }

    fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}

fn parse(file: &[u8]) -> Result<Parsed, String> {
    let mut model = Parsed {
        pieces: Vec::new(),
        kind: 1,
        byte_fallback: false,
        charsmap: Vec::new(),
        leading_space: true,
        trim_spaces: true,
    };
    for (field, value) in fields(file)? {
        match field {
            1 => model.pieces.push(piece(value.bytes())?),
            2 => {
                for (field, value) in fields(value.bytes())? {
                    match field {
                        3 => model.kind = value.number(),
                        35 => model.byte_fallback = value.number() != 0,
                        _ => {}
                    }
                }
            }
            3 => {
                for (field, value) in fields(value.bytes())? {
                    match field {
                        2 => model.charsmap = value.bytes().to_vec(),
                        3 => model.leading_space = value.number() != 0,
                        4 => model.trim_spaces = value.number() != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.is_empty() { Err("no SentencePiece model: it has no pieces".to_owned()) } else { Ok(model) }
}

fn piece(message: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Text };
    for (field, value) in fields(message)? {
        match (field, value) {
            (1, value) => {
                piece.text = String::from_utf8(value.bytes().to_vec()).map_err(|_| "a piece is not UTF-8".to_owned())?
            }
            (2, Value::Bits(bits)) => piece.score = f32::from_bits(bits),
            (3, value) => {
                piece.kind = match value.number() {
                    2 => PieceKind::Unknown,
                    3 | 5 => PieceKind::Hidden,
                    _ => PieceKind::Text,
                }
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// The fields of one message: their numbers and values.
fn fields(mut rest: &[u8]) -> Result<Vec<(u64, Value<'_>)>, String> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = take(&mut rest, 4)?;
                Value::Bits(bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte)))
            }
            other => return Err(format!("no SentencePiece model: wire type {other}")),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("no SentencePiece model: a number has no end".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (head, tail) = rest.split_at_checked(length).ok_or("no SentencePiece model: it is cut short")?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_errors_not_panics() {
        assert!(parse(&[]).unwrap_err().contains("no pieces"));
        assert!(parse(&[0x0a, 0x05, 1]).unwrap_err().contains("cut short"));
        assert!(parse(&[0xff; 12]).unwrap_err().contains("no end"));
        assert!(parse(b"{\"not\": \"spm\"}").is_err());
        assert!(parse(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
    }

    #[test]
    fn pieces_join_to_text() {
        assert_eq!(join(["▁Hola", ",", "▁mun", "do"].into_iter()), "Hola, mundo");
        assert_eq!(join(std::iter::empty()), "");
    }
}
