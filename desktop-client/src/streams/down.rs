//! From the gateway to the page.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use client::{ClientError, Downlink, Happening, Session, Uplink};
use shared::wire::ServerMessage;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    Opening,
    told::{Cause, Closed, LinkState, Tell, Told},
};

/// How long the server may take to send what it owes after `stop`.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// The downward half of a stream.
pub(super) struct Down {
    pub(super) tell: Tell,
    pub(super) began_ms: Arc<AtomicU64>,
    /// Whether the page asked to stop.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) state: LinkState,
}

impl Down {
    /// Opens the session, gives its upward end away, and tells what comes, until it is over.
    pub(super) async fn run(mut self, opening: Opening, link: oneshot::Sender<Uplink>) -> Closed {
        (self.tell)(Told::State { state: self.state });
        let opened = tokio::select! {
            opened = open(opening) => opened,
            () = out_of_patience(self.stopping.clone()) => return Closed::of(Cause::Silent),
        };
        let (uplink, mut downlink) = match opened {
            Ok(opened) => opened,
            Err(closed) => return closed,
        };
        if link.send(uplink).is_err() {
            return Closed::of(Cause::Stopped);
        }
        let mut stops = self.stopping.clone();
        let mut patience = std::pin::pin!(out_of_patience(self.stopping.clone()));
        loop {
            tokio::select! {
                changed = stops.changed() => match changed {
                    Ok(()) => self.to(LinkState::Stopping),
                    Err(_) => return Closed::of(Cause::Stopped),
                },
                () = &mut patience => return Closed::of(Cause::Silent),
                closed = self.listen(&mut downlink) => if let Some(closed) = closed {
                    return closed;
                },
            }
        }
    }

    /// Tells what comes until there is something to return: why it is over. Nothing is lost where this is not waited for.
    async fn listen(&mut self, downlink: &mut Downlink) -> Option<Closed> {
        let happening = match downlink.next().await {
            Ok(Some(happening)) => happening,
            Ok(None) => return Some(Closed::of(Cause::Lost)),
            Err(error) => return Some(Closed::of_error(&error)),
        };
        match happening {
            Happening::Event(event) => {
                if let ServerMessage::Started { .. } = event.message {
                    self.to(LinkState::Open);
                }
                let over = matches!(event.message, ServerMessage::Ended { .. } | ServerMessage::Error(_));
                let closed = over.then(|| Closed::of_last(Some(&event.message)));
                (self.tell)(Told::Event { event: Box::new(event) });
                return closed;
            }
            Happening::Broken { why } => {
                tracing::debug!(why, "the connection broke");
                self.to(LinkState::Reconnecting);
            }
            Happening::Resumed { .. } => self.to(LinkState::Open),
            Happening::Anew { from_ms } => {
                self.began_ms.fetch_add(from_ms, Ordering::Relaxed);
                (self.tell)(Told::Anew { from_ms });
            }
        }
        None
    }

    /// Who stops goes on stopping, whatever the connection does.
    fn to(&mut self, state: LinkState) {
        if self.state != state && self.state != LinkState::Stopping {
            self.state = state;
            (self.tell)(Told::State { state });
        }
    }
}

async fn open(opening: Opening) -> Result<(Uplink, Downlink), Closed> {
    let session: Session = opening.await?;
    session.open().await.map_err(|error: ClientError| Closed::of_error(&error))
}

/// Ends when the page asked to stop and the server took too long after that.
async fn out_of_patience(mut stopping: watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        pending::<()>().await;
    }
    sleep_until(Instant::now() + STOP_PATIENCE).await;
}
