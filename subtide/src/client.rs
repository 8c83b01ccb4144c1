//! A client of the gateway over a real WebSocket.

use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use shared::wire::{ClientMessage, Event, SUBPROTOCOL, Start};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What can go wrong between a client and its gateway.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The handshake failed.
    #[error("the gateway at {url} cannot be reached: {source}")]
    Connect {
        /// Address.
        url: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// The socket broke.
    #[error("the connection to the gateway broke: {0}")]
    Broken(#[from] Box<tungstenite::Error>),
    /// The token has characters that no header can carry.
    #[error("the token has characters that cannot be sent")]
    Token,
    /// Something the protocol does not know.
    #[error("the gateway said something that cannot be read: {0}")]
    Protocol(#[from] serde_json::Error),
}

/// The direction to the gateway.
#[derive(Debug)]
pub struct Sender(SplitSink<Socket, Message>);

/// The direction from the gateway.
#[derive(Debug)]
pub struct Receiver(SplitStream<Socket>);

/// Opens a session at `url` (`ws://host:port/v1/stream`).
///
/// # Errors
/// When the gateway is not there or does not let us in.
pub async fn open(url: &str, token: Option<&str>, start: Start) -> Result<(Sender, Receiver), ClientError> {
    let unreachable = |source| ClientError::Connect { url: url.to_owned(), source: Box::new(source) };
    let mut request = url.into_client_request().map_err(unreachable)?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        request.headers_mut().insert("authorization", value);
    }
    let (socket, _) = connect_async(request).await.map_err(unreachable)?;
    let (sink, stream) = socket.split();
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
