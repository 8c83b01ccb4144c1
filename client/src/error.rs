//! What can go wrong between a client and its gateway.

use std::time::Duration;

use tokio_tungstenite::tungstenite;

/// What can go wrong between a client and its gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers there.
    #[error("the gateway at {url} cannot be reached: {source}")]
    Connect {
        /// Address.
        url: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// It answers, and does not let us in.
    #[error("{}", refusal(*status, message, *retry_after))]
    Refused {
        /// HTTP status of the handshake.
        status: u16,
        /// In the gateway's words; empty when it said nothing.
        message: String,
        /// When it says that trying again makes sense (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The socket broke.
    #[error("the connection to the gateway broke: {0}")]
    Broken(#[from] Box<tungstenite::Error>),
    /// The connection ended without a word, and the session cannot be resumed there.
    #[error("the gateway closed the connection ({0})")]
    Closed(String),
    /// The socket broke, and no gateway took the session up again in the time it is kept.
    #[error("the connection broke ({why}), and no gateway went on with the session within {} s", window.as_secs())]
    Gone {
        /// How it broke, or why the last attempt failed.
        why: String,
        /// So long is a session kept.
        window: Duration,
    },
    /// Close code 4409.
    #[error("this session was taken over by another connection, and goes on there")]
    Replaced,
    /// The token has characters that no header can carry.
    #[error("the token has characters that cannot be sent")]
    Token,
    /// No fresh token could be got.
    #[error("no fresh token: {0}")]
    NoToken(String),
    /// Something the protocol does not know.
    #[error("the gateway said something that cannot be read: {0}")]
    Protocol(#[from] serde_json::Error),
    /// The session is over; nothing can be sent.
    #[error("the session is over")]
    Over,
}

/// What a refused handshake means, and what to do about it.
fn refusal(status: u16, message: &str, retry_after: Option<Duration>) -> String {
    let said = if message.is_empty() { String::new() } else { format!(": {message}") };
    match (status, retry_after) {
        (401, _) => format!(
            "the gateway wants a token, or another one (401){said}; set SUBTIDE_TOKEN to a token or an API key, or get one \
             with `subtide sign-in --server https://HOST`"
        ),
        (403, _) => format!("the gateway does not allow this (403){said}"),
        (429 | 503, Some(wait)) => {
            let why = if status == 429 {
                "too many connections or no quota left"
            } else {
                "the gateway is full or not ready"
            };
            format!("{why} ({status}){said}; try again in {}", in_words(wait))
        }
        (429 | 503, None) => format!("the gateway takes no session at present ({status}){said}; try again later"),
        _ => format!("the gateway refused the connection ({status}){said}"),
    }
}

/// `45 s`, `12 min`, `3 h 20 min`.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_when() {
        let refused = |status, seconds: Option<u64>| {
            let retry_after = seconds.map(Duration::from_secs);
            ClientError::Refused { status, message: "because".to_owned(), retry_after }.to_string()
        };
        assert!(refused(401, None).contains("SUBTIDE_TOKEN") && refused(401, None).contains("sign-in"));
        assert!(refused(429, Some(12)).contains("because; try again in 12 s"), "{}", refused(429, Some(12)));
        assert!(refused(503, Some(600)).contains("in 10 min"));
        assert!(refused(429, Some(12_000)).contains("in 3 h 20 min"));
        assert!(refused(503, None).contains("later"));
        assert!(refused(404, None).contains("404"));
    }
}
