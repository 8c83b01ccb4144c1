//! From an address and a token to a socket, or to a refusal that can be understood.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use shared::wire::{Refusal, SUBPROTOCOL};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self,
        client::IntoClientRequest,
        http::{HeaderValue, Response},
    },
};

use super::ClientError;

/// A gateway that takes longer to answer is taken for away.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects to `url` (`ws://` or `wss://`) and asks for `subtide.v1`. With the `resume_token` of a session it says which
/// one goes on: that needs no second place.
///
/// # Errors
/// [`ClientError::Connect`], [`ClientError::Refused`], [`ClientError::Token`].
pub(super) async fn connect(
    url: &str,
    token: Option<&SecretString>,
    resume_token: Option<&str>,
) -> Result<Socket, ClientError> {
    // Two providers are linked in, and rustls guesses none; an error means that one was chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let unreachable = |source| ClientError::Connect { url: url.to_owned(), source: Box::new(source) };
    let mut request = url.into_client_request().map_err(unreachable)?;
    let session = resume_token.and_then(|token| token.split_once('.')).map(|(session, _)| session);
    let offer = session.and_then(|session| HeaderValue::from_str(&format!("{SUBPROTOCOL}, resume.{session}")).ok());
    let offer = offer.unwrap_or_else(|| HeaderValue::from_static(SUBPROTOCOL));
    request.headers_mut().insert("sec-websocket-protocol", offer);
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
        let mut value = value.map_err(|_| ClientError::Token)?;
        value.set_sensitive(true);
        request.headers_mut().insert("authorization", value);
    }
    let late = || Err(tungstenite::Error::Io(std::io::ErrorKind::TimedOut.into()));
    match timeout(PATIENCE, connect_async(request)).await.unwrap_or_else(|_| late()) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(refused(&response)),
        Err(error) => Err(unreachable(error)),
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> ClientError {
    let said = response.body().as_deref().and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
    let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    ClientError::Refused {
        status: response.status().as_u16(),
        message: said.map(|refusal| refusal.message).unwrap_or_default(),
        retry_after: wait.map(Duration::from_secs),
    }
}
