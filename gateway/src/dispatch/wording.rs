//! Text that goes on from text.

use shared::agreement::{append, stitch};

/// Makes `committed` go on from what the client has. Workers see to that themselves; this is for the cases that none of
/// them can see, such as a final decode that was asked for while the last partial was still on its way.
pub(super) fn keep(shown: &str, committed: &mut String) {
    if !committed.starts_with(shown) {
        *committed = append(shown, &stitch(shown, committed));
    }
}

/// The last `max` bytes of `text`, from a word on.
pub(super) fn tail_of(text: &str, max: usize) -> &str {
    let Some(mut from) = text.len().checked_sub(max).filter(|from| *from > 0) else { return text };
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let rest = &text[from..];
    rest.find(' ').map_or(rest, |space| &rest[space + 1..])
}
