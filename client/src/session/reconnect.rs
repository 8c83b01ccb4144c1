//! Getting another socket for a session that lost one.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use shared::backoff::Backoff;
use tokio::time::{sleep, timeout};

use super::{Happening, Parting, Task};
use crate::{
    ClientError,
    handshake::{self, Socket},
};

/// Each attempt waits a random part of this, and of twice as much each time after.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// For a fresh token, and then the handshake.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait between attempts; it starts over once a session got somewhere.
pub(super) fn backoff() -> Backoff {
    Backoff::new(FIRST_WAIT, LONGEST_WAIT)
}

/// What came of one attempt.
enum Attempt {
    Done(Box<Socket>),
    /// Once more, but not before so long.
    Again(String, Option<Duration>),
    Never(ClientError),
}

impl Task {
    /// Connects again, for as long as the session is kept. `fresh`: with another token than before.
    ///
    /// # Errors
    /// Why there is no hope.
    pub(super) async fn reconnect(
        &mut self,
        why: String,
        retry_after: Option<Duration>,
        mut fresh: bool,
    ) -> Result<Socket, Parting> {
        let Some(window) = self.hold.as_ref().map(|hold| hold.window) else {
            return Err(Parting::Fault(ClientError::Closed(why)));
        };
        let broken_at = *self.broken_at.get_or_insert_with(Instant::now);
        self.tell(Happening::Broken { why: why.clone() }).await?;
        let (mut why, mut retry_after) = (why, retry_after);
        loop {
            let wait = self.backoff.next_delay().max(retry_after.unwrap_or_default());
            if broken_at.elapsed() + wait > window {
                return Err(Parting::Fault(ClientError::Gone { why, window }));
            }
            self.meanwhile(sleep(wait)).await;
            match self.attempt(&mut fresh).await {
                Attempt::Done(socket) => return Ok(*socket),
                Attempt::Again(reason, after) => (why, retry_after) = (reason, after),
                Attempt::Never(error) => return Err(Parting::Fault(error)),
            }
        }
    }

    /// Begins a new session: the gateway no longer has this one.
    ///
    /// # Errors
    /// Why there is no hope.
    pub(super) async fn anew(&mut self) -> Result<Socket, Parting> {
        if self.hold.take().is_none() {
            let why = "the gateway did not begin a new session".to_owned();
            return Err(Parting::Fault(ClientError::Closed(why)));
        }
        self.forget_session().await?;
        match self.attempt(&mut false).await {
            Attempt::Done(socket) => Ok(*socket),
            Attempt::Again(why, _) => Err(Parting::Fault(ClientError::Closed(why))),
            Attempt::Never(error) => Err(Parting::Fault(error)),
        }
    }

    /// What is kept becomes the beginning of another session.
    pub(super) async fn forget_session(&mut self) -> Result<(), Parting> {
        self.seen = 0;
        self.broken_at = None;
        let from_ms = self.kept.rebase();
        self.tell(Happening::Anew { from_ms }).await
    }

    /// One handshake. `fresh`: whether a fresh token was tried already; it is, once, where the old one is refused.
    async fn attempt(&mut self, fresh: &mut bool) -> Attempt {
        let session = self.session.clone();
        let wants_fresh = *fresh;
        let resume = self.hold.as_ref().map(|hold| hold.token.clone());
        let handshake = async move {
            let token = session.credential.token(wants_fresh).await?;
            handshake::connect(&session.url, token.as_ref(), resume.as_deref()).await
        };
        match self.meanwhile(timeout(ATTEMPT_PATIENCE, handshake)).await {
            Ok(Ok(socket)) => Attempt::Done(Box::new(socket)),
            Err(_) => Attempt::Again("no answer to the handshake".to_owned(), None),
            Ok(Err(ClientError::Refused { status: 401, .. })) if !*fresh && self.session.credential.renews() => {
                *fresh = true;
                Attempt::Again("the token was refused".to_owned(), None)
            }
            Ok(Err(error @ ClientError::Refused { status: 429 | 500..=599, retry_after, .. })) => {
                Attempt::Again(error.to_string(), retry_after)
            }
            Ok(Err(error @ ClientError::Connect { .. })) => Attempt::Again(error.to_string(), None),
            Ok(Err(error)) => Attempt::Never(error),
        }
    }

    /// Takes in what the caller says, as far as there is room, until `done`.
    async fn meanwhile<F: Future>(&mut self, done: F) -> F::Output {
        let mut done = pin!(done);
        loop {
            let hungry = self.open && !self.kept.is_full();
            tokio::select! {
                output = &mut done => return output,
                order = self.ordered.recv(), if hungry => self.take(order),
            }
        }
    }
}
