//! The addresses of the client port.

/// The WebSocket.
pub const STREAM: &str = "/v1/stream";
/// Tickets for pages.
pub const TICKET: &str = "/v1/ticket";
/// Who am I.
pub const ME: &str = "/v1/me";
/// This description.
pub const OPENAPI: &str = "/v1/openapi.json";
