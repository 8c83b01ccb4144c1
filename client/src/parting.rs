//! How a socket ended, and what a client does about it (docs/PROTOCOL.md, "Going on after a broken connection").

use std::time::Duration;

use shared::wire::{ErrorCode, WireError};

use super::ClientError;

/// What follows the end of a socket.
#[derive(Debug)]
pub(super) enum Parting {
    /// The session is over in order, or by an error that was passed on.
    Over,
    /// It is over, and the client has to be told why.
    Fault(ClientError),
    /// The token ended; another one may go on with the session.
    Stale,
    /// Connect again.
    Broken {
        /// For people.
        why: String,
        /// Not before.
        retry_after: Option<Duration>,
    },
    /// The gateway no longer has the session: begin a new one.
    Expired,
}

impl Parting {
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into(), retry_after: None }
    }

    /// After a close frame without an `error` or `ended` before it. `code` is `None` where no frame came.
    pub(super) fn of_close(code: Option<u16>, reason: &str) -> Self {
        match code {
            None | Some(1001 | 1005 | 1006 | 1011 | 1012 | 1013) => Self::broken(match code {
                Some(code) => format!("close code {code}"),
                None => "without a word".to_owned(),
            }),
            Some(4401) => Self::Stale,
            Some(4409) => Self::Fault(ClientError::Replaced),
            Some(4410) => Self::Expired,
            Some(code) => Self::Fault(ClientError::Closed(format!("close code {code} {reason}").trim_end().to_owned())),
        }
    }

    /// After an `error` event. `None`: it ends the session and is passed on.
    pub(super) fn of_error(error: &WireError) -> Option<Self> {
        match error.code {
            ErrorCode::Replaced => Some(Self::Fault(ClientError::Replaced)),
            ErrorCode::ResumeExpired => Some(Self::Expired),
            ErrorCode::AuthError => Some(Self::Stale),
            ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::Overloaded if error.retryable => {
                let retry_after = error.retry_after_ms.map(Duration::from_millis);
                Some(Self::Broken { why: error.message.clone(), retry_after })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_connection_can_mend_is_tried_again() {
        for code in [None, Some(1001), Some(1006), Some(1011), Some(1012), Some(1013)] {
            assert!(matches!(Parting::of_close(code, ""), Parting::Broken { .. }), "{code:?}");
        }
        for code in [1000, 1008, 1009, 4400, 4403, 4408, 4429, 4440] {
            assert!(matches!(Parting::of_close(Some(code), ""), Parting::Fault(ClientError::Closed(_))), "{code}");
        }
        assert!(matches!(Parting::of_close(Some(4409), ""), Parting::Fault(ClientError::Replaced)));
        assert!(matches!(Parting::of_close(Some(4401), ""), Parting::Stale));
        assert!(matches!(Parting::of_close(Some(4410), ""), Parting::Expired));
    }

    #[test]
    fn an_error_is_tried_again_only_where_it_says_so() {
        let error = |code: ErrorCode, retryable| WireError {
            code,
            message: "m".to_owned(),
            retryable,
            retry_after_ms: Some(700),
            trace_id: String::new(),
        };
        let away = Parting::of_error(&error(ErrorCode::Unavailable, true));
        let wait = Duration::from_millis(700);
        assert!(matches!(away, Some(Parting::Broken { retry_after: Some(after), .. }) if after == wait));
        assert!(Parting::of_error(&error(ErrorCode::Unavailable, false)).is_none());
        assert!(matches!(Parting::of_error(&error(ErrorCode::ResumeExpired, false)), Some(Parting::Expired)));
        for code in ErrorCode::ALL.into_iter().filter(|code| code.close_code() >= 4400) {
            let ends = !matches!(code, ErrorCode::AuthError | ErrorCode::Replaced | ErrorCode::ResumeExpired);
            assert_eq!(Parting::of_error(&error(code, true)).is_none(), ends, "{code:?}");
        }
    }
}
