//! The Unigram kind: of all ways to cut a text, the one whose pieces' scores sum highest (Kudo 2018, arXiv 1804.10959).
//! Sums are 32-bit and the first of equals wins, as in the reference library: ids depend on both.

use super::Segment;
use super::file::{Piece, PieceKind};
use super::trie::{Node, Trie};

/// An unknown character scores so much less than the lowest piece (the reference library's constant).
const UNKNOWN_PENALTY: f32 = 10.0;
/// Beyond this, sums are counted from zero again, before 32-bit rounding eats the differences (likewise).
const SUM_LIMIT: f32 = 100_000.0;

#[derive(Debug)]
pub(super) struct Unigram {
    trie: Trie,
    /// By piece; NaN for those that are out of use.
    scores: Vec<f32>,
    unknown_score: f32,
}

/// The best way to cut the text up to one place.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f32,
    /// Where its last piece starts; none while no way is known.
    start: Option<usize>,
    piece: Option<u32>,
}

impl Unigram {
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let score = |piece: &Piece| match piece.kind {
            PieceKind::Unused => f32::NAN,
            // Longer ones win over the same text in several: 0.1 a byte after the first (likewise).
            PieceKind::UserDefined => (0.1 * (piece.text.len() as f64 - 1.0)) as f32,
            _ => piece.score,
        };
        let lowest = pieces.iter().filter(|piece| piece.kind == PieceKind::Normal).map(|piece| piece.score);
        let listed = pieces.iter().zip(0..).filter(|(piece, _)| piece.in_text());
        Self {
            trie: Trie::new(listed.map(|(piece, id)| (piece.text.as_str(), id)).collect()),
            scores: pieces.iter().map(score).collect(),
            unknown_score: lowest.fold(f32::MAX, f32::min) - UNKNOWN_PENALTY,
        }
    }

    /// A normalised text's pieces.
    pub(super) fn segment<'a>(&self, text: &'a str) -> Vec<Segment<'a>> {
        let bytes = text.as_bytes();
        let mut best = vec![Best { score: 0.0, start: None, piece: None }; bytes.len() + 1];
        // Where the furthest way so far ends.
        let mut frontier = 0;
        for (start, character) in text.char_indices() {
            if best[start].score.abs() > SUM_LIMIT {
                let excess = best[start].score;
                let known = |(i, best): &(usize, &mut Best)| *i == 0 || best.start.is_some();
                for (_, best) in best[start..=frontier].iter_mut().enumerate().filter(known) {
                    best.score -= excess;
                }
            }
            let here = best[start].score;
            let next = start + character.len_utf8();
            let mut whole_character = false;
            let (mut node, mut end) = (Node::ROOT, start);
            while let Some(further) = bytes.get(end).and_then(|byte| self.trie.step(node, *byte)) {
                (node, end) = (further, end + 1);
                let Some(piece) = self.trie.piece(node) else { continue };
                let score = self.scores[piece as usize];
                if score.is_nan() {
                    continue;
                }
                frontier = frontier.max(end);
                best[end].offer(Best { score: score + here, start: Some(start), piece: Some(piece) });
                whole_character |= end == next;
            }
            if !whole_character {
                frontier = frontier.max(next);
                best[next].offer(Best { score: self.unknown_score + here, start: Some(start), piece: None });
            }
        }
        let mut segments = Vec::new();
        let mut end = bytes.len();
        while let Some(start) = best[end].start {
            segments.push(Segment { text: &text[start..end], piece: best[end].piece });
            end = start;
        }
        segments.reverse();
        segments
    }
}

impl Best {
    fn offer(&mut self, other: Self) {
        if self.start.is_none() || other.score > self.score {
            *self = other;
        }
    }
}
