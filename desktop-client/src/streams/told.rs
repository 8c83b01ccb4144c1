//! What a page is told of a stream, in the words of its own link (web-ui/page/link).

use std::{sync::Arc, time::Duration};

use capture::CaptureError;
use client::ClientError;
use serde::Serialize;
use shared::wire::{EndReason, Event, ServerMessage};

use crate::refusal::Refusal;

/// How a page is told.
pub(crate) type Tell = Arc<dyn Fn(Told) + Send + Sync>;

/// What a page is told of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told {
    State {
        state: LinkState,
    },
    /// An event of the protocol; each number of a session once, in growing order.
    Event {
        event: Box<Event>,
    },
    /// The session was lost. What follows is a new one, whose first sample is this much after the first one of the session
    /// before.
    Anew {
        from_ms: u64,
    },
    /// Loudest sample since the last time (0 to 1), and how much of this session was heard by now.
    Level {
        peak: f32,
        heard_ms: u64,
    },
    /// Another device gives the sound now.
    Moved {
        label: String,
    },
    /// There is no device any more, and no other.
    Gone {
        fault: String,
    },
    /// Sound of this session that the machine could not deliver; silence stands for it.
    Lost {
        from_ms: u64,
        to_ms: u64,
    },
    /// Nothing follows.
    Closed(Closed),
}

/// As `LinkState` of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkState {
    Connecting,
    Open,
    Reconnecting,
    Stopping,
    Closed,
}

/// Why a stream is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Closed {
    pub(crate) cause: Cause,
    /// WebSocket close code; 0 where there was none.
    pub(crate) code: u16,
    /// For people who ask.
    pub(crate) reason: String,
    /// When to try again; 0 where nobody said.
    pub(crate) retry_after_ms: u64,
}

/// As `CloseCause` of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    Stopped,
    Ended,
    Error,
    Unauthorized,
    Forbidden,
    Overloaded,
    Limited,
    Quota,
    Replaced,
    Refused,
    /// Local mode cannot begin.
    NoLocal,
    Unreachable,
    Lost,
    TooSlow,
    Silent,
}

impl Closed {
    pub(crate) fn of(cause: Cause) -> Self {
        Self { cause, code: 0, reason: String::new(), retry_after_ms: 0 }
    }

    /// After the last thing that the server said in order.
    pub(super) fn of_last(last: Option<&ServerMessage>) -> Self {
        Self::of(match last {
            Some(ServerMessage::Ended { reason: EndReason::Stopped, .. }) => Cause::Stopped,
            Some(ServerMessage::Ended { reason: EndReason::Draining, .. }) => Cause::Ended,
            Some(ServerMessage::Error(_)) => Cause::Error,
            _ => Cause::Lost,
        })
    }

    /// Where there is no way to the server, or none any more.
    pub(crate) fn of_error(error: &ClientError) -> Self {
        let reason = error.to_string();
        let (cause, code) = match error {
            ClientError::Connect { .. } => (Cause::Unreachable, 0),
            ClientError::Refused { status, message, .. } => (cause_of_status(*status, message), 0),
            ClientError::Closed(why) => cause_of_close(why),
            ClientError::Replaced => (Cause::Replaced, 4409),
            ClientError::Token | ClientError::NoToken(_) => (Cause::Unauthorized, 0),
            ClientError::Protocol(_) => (Cause::Refused, 0),
            _ => (Cause::Lost, 0),
        };
        let after = match error {
            ClientError::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self { cause, code, reason, retry_after_ms }
    }
}

fn cause_of_status(status: u16, message: &str) -> Cause {
    match status {
        401 => Cause::Unauthorized,
        403 => Cause::Forbidden,
        // One status for both; the gateway's sentence about the day's audio has this word, and no other one has.
        429 if message.contains("quota") => Cause::Quota,
        429 => Cause::Limited,
        503 => Cause::Overloaded,
        _ => Cause::Refused,
    }
}

/// `why` is what [`ClientError::Closed`] holds: `close code 4403 words`, or words alone.
fn cause_of_close(why: &str) -> (Cause, u16) {
    let code = why.strip_prefix("close code ").and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
    let cause = match code {
        4401 => Cause::Unauthorized,
        4403 => Cause::Forbidden,
        4409 => Cause::Replaced,
        1013 => Cause::Overloaded,
        4429 => Cause::Limited,
        _ => Cause::Lost,
    };
    (cause, code)
}

/// Why there is no sound, in the page's words.
pub(crate) fn of_capture(error: &CaptureError) -> Refusal {
    let fault = match error {
        CaptureError::Missing(_) => "missing",
        CaptureError::Denied(_) => "denied",
        CaptureError::Open { .. } => "busy",
        CaptureError::List(_) => "unsupported",
        _ => "failed",
    };
    Refusal::new(fault, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, message: &str) -> Closed {
        let retry_after = Some(Duration::from_millis(1500));
        Closed::of_error(&ClientError::Refused { status, message: message.to_owned(), retry_after })
    }

    #[test]
    fn what_is_told_is_what_the_page_reads() {
        let told = |told: Told| serde_json::to_value(told).unwrap();
        assert_eq!(told(Told::State { state: LinkState::Open }), json!({"type": "state", "state": "open"}));
        let event = Box::new(Event { event: 3, message: ServerMessage::Ack { audio_ms: 40 } });
        assert_eq!(told(Told::Event { event })["event"], json!({"event": 3, "type": "ack", "audio_ms": 40}));
        assert_eq!(
            told(Told::Level { peak: 0.5, heard_ms: 90 }),
            json!({"type": "level", "peak": 0.5, "heard_ms": 90})
        );
        let closed = json!({"type": "closed", "cause": "too_slow", "code": 0, "reason": "", "retry_after_ms": 0});
        assert_eq!(told(Told::Closed(Closed::of(Cause::TooSlow))), closed);
        assert_eq!(told(Told::Closed(Closed::of(Cause::NoLocal)))["cause"], "no_local");
        assert_eq!(told(Told::Gone { fault: "missing".to_owned() }), json!({"type": "gone", "fault": "missing"}));
    }

    #[test]
    fn each_refusal_has_the_cause_that_the_page_explains() {
        for (status, cause) in [
            (401, Cause::Unauthorized),
            (403, Cause::Forbidden),
            (429, Cause::Limited),
            (503, Cause::Overloaded),
            (404, Cause::Refused),
        ] {
            let closed = refused(status, "words");
            assert_eq!((closed.cause, closed.retry_after_ms), (cause, 1500), "{status}");
        }
        assert_eq!(refused(429, "the day's quota of audio is used up").cause, Cause::Quota);
    }

    #[test]
    fn a_close_code_is_read_again() {
        let closed = |why: &str| Closed::of_error(&ClientError::Closed(why.to_owned()));
        assert_eq!((closed("close code 4403 no").cause, closed("close code 4403 no").code), (Cause::Forbidden, 4403));
        assert_eq!((closed("close code 1013").cause, closed("without a word").cause), (Cause::Overloaded, Cause::Lost));
        assert_eq!(Closed::of_error(&ClientError::Replaced).code, 4409);
        assert_eq!(Closed::of_error(&ClientError::NoToken("n".to_owned())).cause, Cause::Unauthorized);
    }

    #[test]
    fn an_orderly_end_says_why() {
        let ended = |reason| ServerMessage::Ended { reason, audio_ms: 0, utterances: 0 };
        assert_eq!(Closed::of_last(Some(&ended(EndReason::Stopped))).cause, Cause::Stopped);
        assert_eq!(Closed::of_last(Some(&ended(EndReason::Draining))).cause, Cause::Ended);
        assert_eq!(Closed::of_last(None).cause, Cause::Lost);
    }
}
