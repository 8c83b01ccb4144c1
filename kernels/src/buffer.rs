//! Memory of 32-bit words that starts on a line of the cache, so that no vector lies across two.

#![allow(unsafe_code)]

use std::cell::RefCell;

/// A line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Words, zero at first.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<Line>);

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }

    fn clone_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }
}

impl Buffer {
    /// `words` zeros.
    pub(crate) fn zeros(words: usize) -> Self {
        Self(vec![Line([0; 16]); words.div_ceil(16)])
    }

    /// Makes it at least `words` long; what is new is zero.
    pub(crate) fn grow(&mut self, words: usize) {
        if self.0.len() * 16 < words {
            self.0.resize(words.div_ceil(16), Line([0; 16]));
        }
    }

    /// Makes room for `words` without growing.
    pub(crate) fn reserve(&mut self, words: usize) {
        self.0.reserve(words.div_ceil(16).saturating_sub(self.0.len()));
    }

    pub(crate) fn words(&self) -> &[u32] {
        // SAFETY: a `Line` is sixteen words without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }

    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: a `Line` is sixteen words without padding, and any bits are words.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }

    /// Becomes the first `words` of `other`.
    pub(crate) fn copy_front(&mut self, other: &Self, words: usize) {
        self.0.clear();
        self.0.extend_from_slice(&other.0[..words.div_ceil(16)]);
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with at least `words` words that this thread keeps from one use to the next; what they hold is left over.
pub(crate) fn with_scratch<T>(words: usize, work: impl FnOnce(&mut [u32]) -> T) -> T {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.grow(words);
    let result = work(buffer.words_mut());
    SCRATCH.with_borrow_mut(|kept| kept.push(buffer));
    result
}
