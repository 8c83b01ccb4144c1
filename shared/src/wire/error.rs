//! Why something was refused or ended: one closed set of codes for the WebSocket and for HTTP.

use serde::{Deserialize, Serialize};

/// Why the session could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// Stable code.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Whether trying the same again can help.
    pub retryable: bool,
    /// When to try again, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Finds this event in the server's logs.
    pub trace_id: String,
}

/// The body of every HTTP answer that is a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable code.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Finds this request in the server's logs; the same as the header `X-Request-ID`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

/// Stable error codes, of the WebSocket and of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, an unknown type or field, or a value out of range.
    BadMessage,
    /// Audio or a message came before `start`, or a second `start`.
    BadOrder,
    /// Unusable audio: odd byte count, unsupported rate or channels.
    InvalidAudio,
    /// A frame or body above the size limit.
    TooLarge,
    /// Missing, wrong, expired or revoked token.
    AuthError,
    /// Known, and not allowed to do this.
    Forbidden,
    /// Connections come too fast, or too many sessions are open at once.
    RateLimited,
    /// The day's audio is used up.
    QuotaExceeded,
    /// Nothing came for too long.
    Timeout,
    /// The session goes on at another socket.
    Replaced,
    /// The session cannot be resumed: too long ago, ended, or never ours.
    ResumeExpired,
    /// The session reached its maximum length.
    SessionTooLong,
    /// Too much to do at present.
    Overloaded,
    /// The queue or another part of the server is away.
    Unavailable,
    /// Nothing of that name is here.
    NotFound,
    /// This address speaks WebSocket only.
    UpgradeRequired,
    /// A fault of the server's own.
    Internal,
}

impl ErrorCode {
    /// All codes, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::BadMessage,
        Self::BadOrder,
        Self::InvalidAudio,
        Self::TooLarge,
        Self::AuthError,
        Self::Forbidden,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Timeout,
        Self::Replaced,
        Self::ResumeExpired,
        Self::SessionTooLong,
        Self::Overloaded,
        Self::Unavailable,
        Self::NotFound,
        Self::UpgradeRequired,
        Self::Internal,
    ];

    /// The code as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::BadOrder => "bad_order",
            Self::InvalidAudio => "invalid_audio",
            Self::TooLarge => "too_large",
            Self::AuthError => "auth_error",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
            Self::ResumeExpired => "resume_expired",
            Self::SessionTooLong => "session_too_long",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
            Self::UpgradeRequired => "upgrade_required",
            Self::Internal => "internal",
        }
    }

    /// WebSocket close code that goes with this error (RFC 6455 §7.4, and 4000-4999 for our own).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::BadMessage | Self::BadOrder | Self::InvalidAudio | Self::NotFound | Self::UpgradeRequired => 4400,
            Self::TooLarge => 1009,
            Self::AuthError => 4401,
            Self::Forbidden => 4403,
            Self::Timeout => 4408,
            Self::Replaced => 4409,
            Self::ResumeExpired => 4410,
            Self::RateLimited | Self::QuotaExceeded => 4429,
            Self::SessionTooLong => 4440,
            Self::Overloaded | Self::Unavailable => 1013,
            Self::Internal => 1011,
        }
    }

    /// HTTP status that goes with this error (RFC 9110 §15, RFC 6585 §4).
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadMessage | Self::BadOrder | Self::InvalidAudio => 400,
            Self::AuthError => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Timeout | Self::SessionTooLong => 408,
            Self::Replaced => 409,
            Self::ResumeExpired => 410,
            Self::TooLarge => 413,
            Self::UpgradeRequired => 426,
            Self::RateLimited | Self::QuotaExceeded => 429,
            Self::Internal => 500,
            Self::Overloaded | Self::Unavailable => 503,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::QuotaExceeded
                | Self::Timeout
                | Self::SessionTooLong
                | Self::Overloaded
                | Self::Unavailable
                | Self::Internal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_called() -> Result<(), serde_json::Error> {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code)?, format!("\"{}\"", code.as_str()));
        }
        Ok(())
    }
}
