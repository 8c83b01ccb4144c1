//! Revocations: what reaches every gateway's live sockets.
