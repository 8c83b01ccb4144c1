//! What a panic says: a line in the log and, where errors are tracked, one of them.
//!
//! The words of a panic are only told where they stand as they are in the code. Those that were put together may quote what was
//! said: the standard library's do so when a text is cut in the middle of a character.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    panic::{PanicHookInfo, set_hook},
};

use sentry::{integrations::panic::PanicIntegration, protocol::Event};

use super::errors::Tracker;

/// Target of the line that tells a panic.
pub(super) const PANIC: &str = "panic";

const WITHHELD: &str = "a fault of ours; its words are withheld, for they could quote what was said";

/// From now on panics are told so.
pub(super) fn tell(tracker: Option<Tracker>) {
    set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = own_words(panic.payload());
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(target: PANIC, location, backtrace, "a task panicked: {words}");
        if let Some(tracker) = &tracker {
            tracker.send(event(panic, words));
        }
    }));
}

fn own_words(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or(WITHHELD)
}

/// With the stack, and without words that are not ours.
fn event(panic: &PanicHookInfo<'_>, words: &'static str) -> Event<'static> {
    let mut event = PanicIntegration::new().event_from_panic_info(panic);
    for exception in &mut event.exception.values {
        exception.value = Some(words.to_owned());
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_not_in_the_words_of_a_panic() {
        let said = String::from("so geht es nicht, söhnchen");
        let cut = std::panic::catch_unwind(|| said[..20].len()).unwrap_err();
        assert_eq!(own_words(cut.as_ref()), WITHHELD);
        let plain = std::panic::catch_unwind(|| panic!("in our own words")).unwrap_err();
        assert_eq!(own_words(plain.as_ref()), "in our own words");
    }
}
