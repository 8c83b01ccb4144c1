//! Says back every message over the WebSocket stack of the gateway, for the Autobahn test suite: the protocol of Subtide refuses
//! nearly everything that the suite sends.
//!
//! Buffers are those of `gateway/src/http/stream.rs`; only the limits of size are raised, to what the suite sends.

use anyhow::Context as _;
use axum::{
    Router,
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
    routing::any,
};
use tokio::net::TcpListener;

/// As the gateway's.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// The suite's largest message has 16 MiB.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts it reads its address there")]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback port is free")?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/", any(open))).await.context("it cannot serve")
}

async fn open(upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(MAX_MESSAGE_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        // Pings and closes are answered by the library.
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
