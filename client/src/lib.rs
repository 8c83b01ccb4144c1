//! A client of the gateway over a real WebSocket: what every program wants that streams sound and shows captions.
//!
//! # Layout
//! - [`open`]: one socket, as the protocol has it; it ends when the socket does
//! - [`Session`]: a session that outlives its sockets, which is what programs want; `session`, `kept`, `parting`
//! - [`Credential`], [`TokenSource`]: what is shown at the door; [`ClientError`]: what can go wrong
//! - `handshake`: from an address and a credential to a socket
//! - [`sign_in`]: a person's sign-in through the browser, and access tokens from then on
//! - [`transcript`]: events to lines
//!
//! Absent on purpose: sound devices, screens, the configuration of a server.

mod credential;
mod error;
mod handshake;
mod kept;
mod parting;
mod session;
pub mod sign_in;
pub mod transcript;

use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use secrecy::SecretString;
use shared::wire::{ClientMessage, Event, Start};
use tokio_tungstenite::tungstenite::Message;

use self::handshake::Socket;
pub use self::{
    credential::{Credential, TokenSource},
    error::ClientError,
    session::{Downlink, Happening, Session, Uplink},
};

/// The direction to the gateway.
#[derive(Debug)]
pub struct Sender(SplitSink<Socket, Message>);

/// The direction from the gateway.
#[derive(Debug)]
pub struct Receiver(SplitStream<Socket>);

/// Opens a session at `url` (`ws://host:port/v1/stream`) over one socket: when that breaks, this session is over here.
///
/// # Errors
/// When the gateway is not there or does not let us in.
pub async fn open(url: &str, token: Option<&str>, start: Start) -> Result<(Sender, Receiver), ClientError> {
    let token = token.map(SecretString::from);
    let resume = start.resume.as_ref().map(|resume| resume.token.as_str());
    let (sink, stream) = handshake::connect(url, token.as_ref(), resume).await?.split();
    let mut sender = Sender(sink);
    sender.say(&ClientMessage::Start(start)).await?;
    Ok((sender, Receiver(stream)))
}

impl Sender {
    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn say(&mut self, message: &ClientMessage) -> Result<(), ClientError> {
        let text = serde_json::to_string(message)?;
        self.0.send(Message::text(text)).await.map_err(|e| Box::new(e).into())
    }

    /// Sends PCM as one binary frame.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn audio(&mut self, pcm: Vec<u8>) -> Result<(), ClientError> {
        self.0.send(Message::binary(pcm)).await.map_err(|e| Box::new(e).into())
    }
}

impl Receiver {
    /// The next event; `None` once the gateway has closed.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(frame) = self.0.next().await {
            match frame.map_err(Box::new)? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Close(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}
