//! A prefix tree over the bytes of pieces.

use std::collections::VecDeque;

/// No piece ends at this node.
const NONE: u32 = u32::MAX;

/// Nodes are numbered level by level, so that the children of one lie side by side, sorted by their byte.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The children of node `n` are `first[n]..first[n + 1]`.
    first: Vec<u32>,
    /// The byte that leads to a node.
    byte: Vec<u8>,
    /// The number of the piece that ends at a node.
    value: Vec<u32>,
}

/// A place in a [`Trie`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Node(u32);

impl Node {
    pub(super) const ROOT: Self = Self(0);
}

impl Trie {
    /// Of equal pieces the one with the lowest number counts: a file may have any number that are a zero byte.
    pub(super) fn new(mut pieces: Vec<(&str, u32)>) -> Self {
        pieces.sort_unstable();
        let mut trie = Self { first: Vec::new(), byte: vec![0], value: vec![NONE] };
        // Ranges of `pieces` that share `depth` bytes, in the order of their nodes.
        let mut waiting = VecDeque::from([(0, pieces.len(), 0)]);
        let mut node = 0;
        while let Some((mut start, end, depth)) = waiting.pop_front() {
            trie.first.push(trie.byte.len() as u32);
            while start < end && pieces[start].0.len() == depth {
                trie.value[node] = trie.value[node].min(pieces[start].1);
                start += 1;
            }
            while start < end {
                let byte = pieces[start].0.as_bytes()[depth];
                let same = pieces[start..end].partition_point(|(piece, _)| piece.as_bytes()[depth] == byte);
                waiting.push_back((start, start + same, depth + 1));
                trie.byte.push(byte);
                trie.value.push(NONE);
                start += same;
            }
            node += 1;
        }
        trie.first.push(trie.byte.len() as u32);
        trie
    }

    /// The node one byte further; `None` where no piece goes on so.
    pub(super) fn step(&self, node: Node, byte: u8) -> Option<Node> {
        let first = *self.first.get(node.0 as usize)? as usize;
        let end = *self.first.get(node.0 as usize + 1)? as usize;
        let at = self.byte[first..end].binary_search(&byte).ok()?;
        Some(Node((first + at) as u32))
    }

    /// The piece that ends here.
    pub(super) fn piece(&self, node: Node) -> Option<u32> {
        self.value.get(node.0 as usize).copied().filter(|value| *value != NONE)
    }

    /// Bytes of the longest piece that `text` starts with.
    pub(super) fn longest(&self, text: &[u8]) -> Option<usize> {
        let (mut node, mut longest) = (Node::ROOT, None);
        for (i, byte) in text.iter().enumerate() {
            let Some(next) = self.step(node, *byte) else { break };
            node = next;
            if self.piece(node).is_some() {
                longest = Some(i + 1);
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let trie = Trie::new(vec![("ab", 7), ("a", 3), ("abcd", 9), ("é", 4), ("b", 0)]);
        let find = |text: &str| {
            let node = text.bytes().try_fold(Node::ROOT, |node, byte| trie.step(node, byte))?;
            trie.piece(node)
        };
        for (piece, id) in [("ab", 7), ("a", 3), ("abcd", 9), ("é", 4), ("b", 0)] {
            assert_eq!(find(piece), Some(id), "{piece}");
        }
        assert_eq!([find("abc"), find("x"), find("")], [None; 3]);
        assert_eq!(trie.longest(b"abce"), Some(2));
        assert_eq!(trie.longest(b"xa"), None);
        assert_eq!(Trie::default().longest(b"a"), None);
        assert_eq!(Trie::new(Vec::new()).longest(b"a"), None);
        let twice = Trie::new(vec![("\0", 5), ("\0", 2), ("\0", 3), ("\0a", 4)]);
        let zero = twice.step(Node::ROOT, 0);
        assert_eq!(zero.and_then(|node| twice.piece(node)), Some(2));
        assert_eq!(twice.longest(b"\0ab"), Some(2));
    }
}
