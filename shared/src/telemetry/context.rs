//! The W3C trace context: which trace a stretch of work belongs to, and below which span.

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use serde::{Deserialize, Serialize};

use super::export;

/// Bytes of `00-{trace id}-{span id}-{flags}`.
const LENGTH: usize = 55;
/// The only flag that means anything in version 0: the trace is exported.
const SAMPLED: u8 = 1;

/// A span's place in its trace, as the header `traceparent` of the W3C writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

/// A text that is no trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a W3C trace context (00-{{32 hex digits}}-{{16 hex digits}}-{{2 hex digits}}, in lower case, ids not zero)"
)]
pub struct Invalid;

impl TraceParent {
    /// A new trace. Whether it is exported was decided by the share that is configured here.
    #[must_use]
    pub fn root() -> Self {
        let trace = RandomIdGenerator::default().new_trace_id();
        Self { trace, span: RandomIdGenerator::default().new_span_id(), sampled: export::samples(trace) }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: RandomIdGenerator::default().new_span_id(), ..self }
    }

    /// Id of the trace, in 32 hexadecimal digits when displayed.
    #[must_use]
    pub fn trace_id(self) -> impl fmt::Display {
        self.trace
    }

    /// Id of the span, in 16 hexadecimal digits when displayed.
    #[must_use]
    pub fn span_id(self) -> impl fmt::Display {
        self.span
    }

    /// Whether spans of this trace are exported by this process.
    #[must_use]
    pub fn is_recorded(self) -> bool {
        self.sampled && export::is_on()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = Invalid;

    /// Of a later version than 0 only the part is read that version 0 has, as the standard asks.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let part = |from: usize, to: usize| {
            let part = text.get(from..to).ok_or(Invalid)?;
            let hex = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            hex.then_some(part).ok_or(Invalid)
        };
        let bytes = text.as_bytes();
        let dashed = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        let version = part(0, 2)?;
        let ends = text.len() == LENGTH || (version != "00" && bytes.get(LENGTH) == Some(&b'-'));
        if !dashed || !ends || version == "ff" {
            return Err(Invalid);
        }
        let trace = TraceId::from_hex(part(3, 35)?).map_err(|_| Invalid)?;
        let span = SpanId::from_hex(part(36, 52)?).map_err(|_| Invalid)?;
        let flags = u8::from_str_radix(part(53, LENGTH)?, 16).map_err(|_| Invalid)?;
        if trace == TraceId::INVALID || span == SpanId::INVALID {
            return Err(Invalid);
        }
        Ok(Self { trace, span, sampled: flags & SAMPLED == SAMPLED })
    }
}

impl TryFrom<String> for TraceParent {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(parent: TraceParent) -> Self {
        parent.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

    #[test]
    fn what_is_written_is_read_back() {
        let parent: TraceParent = VALID.parse().unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), VALID);
        let child = parent.child();
        assert!(child.trace == parent.trace && child.span != parent.span && child.sampled);
        assert_eq!(child.to_string().parse(), Ok(child));
        assert_ne!(TraceParent::root().trace, TraceParent::root().trace);
    }

    #[test]
    fn only_what_the_standard_allows_is_followed() {
        for (text, valid) in [
            (VALID, true),
            ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00", true),
            ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-ff", true),
            ("01-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more", true),
            ("01-0123456789abcdef0123456789abcdef-0123456789abcdef-01", true),
            ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more", false),
            ("01-0123456789abcdef0123456789abcdef-0123456789abcdef-01more", false),
            ("ff-0123456789abcdef0123456789abcdef-0123456789abcdef-01", false),
            ("00-00000000000000000000000000000000-0123456789abcdef-01", false),
            ("00-0123456789abcdef0123456789abcdef-0000000000000000-01", false),
            ("00-0123456789ABCDEF0123456789abcdef-0123456789abcdef-01", false),
            ("00-+123456789abcdef0123456789abcdef-0123456789abcdef-01", false),
            ("00-0123456789abcdef0123456789abcde-00123456789abcdef-01", false),
            ("00-0123456789abcdef0123456789abcdef-0123456789abcdef-1", false),
            ("00_0123456789abcdef0123456789abcdef_0123456789abcdef_01", false),
            ("é0-0123456789abcdef0123456789abcdef-0123456789abcdef-0", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<TraceParent>().is_ok(), valid, "{text}");
        }
    }
}
