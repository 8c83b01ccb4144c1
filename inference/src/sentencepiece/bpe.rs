//! The BPE kind: starts from characters and joins neighbours into pieces, the highest score first, from the left.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::Segment;
use super::file::{Piece, PieceKind};
use super::trie::Trie;

/// A piece out of use is taken apart again at most so deep (the reference library's limit).
const MOST_SPLITS: usize = 100;

#[derive(Debug)]
pub(super) struct Bpe {
    pieces: HashMap<String, u32>,
    scores: Vec<f32>,
    unused: Vec<bool>,
}

/// A piece of the text while it grows.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// Empty once it was joined to the symbol before it.
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// A user-defined piece: never joined.
    fixed: bool,
}

/// Two neighbours that make a piece.
#[derive(Debug, Clone, Copy)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the two together when they were found; another length means one of them has changed.
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// One text on its way.
struct Work<'a> {
    text: &'a str,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// How pieces out of use came about.
    halves: HashMap<&'a str, (&'a str, &'a str)>,
}

impl Bpe {
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let listed = pieces.iter().zip(0..).filter(|(piece, _)| piece.in_text());
        Self {
            pieces: listed.map(|(piece, id)| (piece.text.clone(), id)).collect(),
            scores: pieces.iter().map(|piece| piece.score).collect(),
            unused: pieces.iter().map(|piece| piece.kind == PieceKind::Unused).collect(),
        }
    }

    /// A normalised text's pieces. `fixed` are those that are never cut nor joined.
    pub(super) fn segment<'a>(&self, text: &'a str, fixed: &Trie) -> Vec<Segment<'a>> {
        let symbols = symbols(text, fixed);
        let agenda = BinaryHeap::with_capacity(symbols.len());
        let mut work = Work { text, symbols, agenda, halves: HashMap::new() };
        for right in 1..work.symbols.len() {
            self.consider(&mut work, Some(right - 1), Some(right));
        }
        while let Some(pair) = work.agenda.pop() {
            let (left, right) = (work.symbols[pair.left], work.symbols[pair.right]);
            let gone = left.start == left.end || right.start == right.end;
            if gone || left.end - left.start + right.end - right.start != pair.size {
                continue;
            }
            work.symbols[pair.left] = Symbol { end: right.end, next: right.next, ..left };
            work.symbols[pair.right].end = right.start;
            if let Some(next) = right.next {
                work.symbols[next].previous = Some(pair.left);
            }
            self.consider(&mut work, left.previous, Some(pair.left));
            self.consider(&mut work, Some(pair.left), right.next);
        }
        let mut segments = Vec::new();
        let mut at = (!work.symbols.is_empty()).then_some(0);
        while let Some(i) = at {
            let symbol = work.symbols[i];
            self.settle(&text[symbol.start..symbol.end], &work.halves, 0, &mut segments);
            at = symbol.next;
        }
        segments
    }

    /// Puts two neighbours on the agenda when they make a piece.
    fn consider(&self, work: &mut Work<'_>, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (first, second) = (work.symbols[left], work.symbols[right]);
        if first.fixed || second.fixed {
            return;
        }
        let joined = &work.text[first.start..second.end];
        let Some(id) = self.pieces.get(joined).map(|id| *id as usize) else { return };
        work.agenda.push(Pair { score: self.scores[id], left, right, size: joined.len() });
        if self.unused[id] {
            let halves = (&work.text[first.start..first.end], &work.text[second.start..second.end]);
            work.halves.insert(joined, halves);
        }
    }

    /// Writes a piece down, or what it was made of when it is out of use.
    fn settle<'a>(
        &self,
        text: &'a str,
        halves: &HashMap<&'a str, (&'a str, &'a str)>,
        depth: usize,
        segments: &mut Vec<Segment<'a>>,
    ) {
        let piece = self.pieces.get(text).copied();
        match piece.filter(|id| self.unused[*id as usize] && depth <= MOST_SPLITS) {
            None => segments.push(Segment { text, piece }),
            Some(_) => match halves.get(text) {
                None => segments.push(Segment { text, piece: None }),
                Some((left, right)) => {
                    self.settle(left, halves, depth + 1, segments);
                    self.settle(right, halves, depth + 1, segments);
                }
            },
        }
    }
}

/// The text's characters and user-defined pieces.
fn symbols(text: &str, fixed: &Trie) -> Vec<Symbol> {
    let mut symbols = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(character) = text[start..].chars().next() {
        let found = fixed.longest(&text.as_bytes()[start..]);
        let end = start + found.unwrap_or(character.len_utf8());
        let i = symbols.len();
        let next = (end < text.len()).then_some(i + 1);
        symbols.push(Symbol { start, end, previous: i.checked_sub(1), next, fixed: found.is_some() });
        start = end;
    }
    symbols
}
