//! Limits that everybody on the bus shares: buckets that refill, counters with a ceiling, and sets with so many places.

use std::time::Duration;

/// At most `most` at once, and `most` again in each `per`, evenly: a token bucket, kept as the time at which it is full again
/// (generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Key.
    pub key: String,
    /// Size, at least 1.
    pub most: u32,
    /// Time in which an empty one is full.
    pub per: Duration,
}

/// A counter (see [`Bus::count`](super::Bus::count)) that must be below `most`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// Key.
    pub key: String,
    /// First value that is too much.
    pub most: u64,
}

/// A set of so many places. A place is held until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Key.
    pub key: String,
    /// Holders at once.
    pub most: u32,
}

/// What [`Bus::admit`](super::Bus::admit) asks for: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit {
    /// One is taken out of each.
    pub buckets: Vec<Bucket>,
    /// Each must hold.
    pub ceilings: Vec<Ceiling>,
    /// A place in each is taken.
    pub places: Vec<Places>,
    /// Who takes the places.
    pub holder: String,
    /// Where this one has a place in the first set, no further one is taken.
    pub instead_of: Option<String>,
    /// How long the places are held unless they are renewed.
    pub lease: Duration,
}

/// A place in each of several sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The sets.
    pub places: Vec<Places>,
    /// Who holds them.
    pub holder: String,
    /// Tells this holding of the places from a later one under the same name; 0: nothing is held yet.
    pub stamp: u64,
}

/// The kinds of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// A [`Bucket`] is empty.
    Bucket,
    /// A [`Ceiling`] is reached.
    Ceiling,
    /// A set of [`Places`] is full.
    Places,
}

/// What became of a request for places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everything was taken; the places bear this stamp (0 when none was taken).
    Admitted {
        /// See [`Held::stamp`].
        stamp: u64,
    },
    /// Nothing was taken.
    Refused {
        /// What stood against it...
        limit: LimitKind,
        /// ...the how manieth of its kind...
        index: usize,
        /// ...and when a bucket will have one again; zero for the others.
        retry_after: Duration,
    },
}
