//! Sign-in of a program that people install (RFC 8252): it opens the system's browser and listens at a loopback port; we
//! hold the client secret and exchange the code.

use axum::{Json, extract::State};
use identity::oidc::provider::{Answer, Native};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{Asker, Body},
    tokens::TokensBody,
};
use crate::door::TurnedAway;

/// A program that wants somebody to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// PKCE challenge of the program's own verifier: base64url of its SHA-256, 43 characters (RFC 7636, `S256`).
    code_challenge: String,
    /// Loopback port that it listens at already, for `GET /callback`.
    port: u16,
    /// Whether it listens at `[::1]` rather than at `127.0.0.1`.
    #[serde(default)]
    ipv6: bool,
    /// What it calls itself, for the person's list of sign-ins; at most 64 characters.
    #[serde(default)]
    device: String,
}

/// A sign-in that was begun.
#[derive(Serialize, ToSchema)]
pub struct StartedBody {
    /// Names it; goes back with `/auth/finish`.
    login_id: String,
    /// To be opened in the system's browser. Holds the `state` that has to come back.
    authorize_url: String,
    /// Seconds that the person may take.
    expires_in: u64,
}

impl std::fmt::Debug for StartedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartedBody").finish_non_exhaustive()
    }
}

/// What came back to the program's port.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishBody {
    /// From `/auth/start`.
    login_id: String,
    /// As the provider sent it.
    code: String,
    /// What the challenge was made of.
    code_verifier: String,
    /// As the provider sent it.
    state: String,
}

impl std::fmt::Debug for FinishBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FinishBody").finish_non_exhaustive()
    }
}

/// Begins a sign-in: where to send the person's browser.
#[utoipa::path(post, path = "/auth/start", tag = "sign-in", request_body = StartBody, responses(
    (status = 200, body = StartedBody),
    (status = 400, description = "bad_message"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 413, description = "too_large"),
    (status = 429, description = "rate_limited"),
    (status = 503, description = "unavailable: the provider or a part of the server is away")))]
pub(super) async fn start(
    State(desk): State<Desk>,
    Body(StartBody { code_challenge, port, ipv6, device }): Body<StartBody>,
) -> Result<Json<StartedBody>, TurnedAway> {
    let started = desk.provider.start_native(Native { challenge: code_challenge, port, ipv6, device }).await?;
    let (login_id, authorize_url, expires_in) = (started.login_id, started.authorize_url, started.expires_in);
    Ok(Json(StartedBody { login_id, authorize_url, expires_in }))
}

/// Ends a sign-in: tokens for the code that came back. Each sign-in can be ended once.
#[utoipa::path(post, path = "/auth/finish", tag = "sign-in", request_body = FinishBody, responses(
    (status = 200, body = TokensBody),
    (status = 400, description = "bad_message"),
    (status = 401, description = "auth_error: the sign-in is unknown, over, or does not hold"),
    (status = 403, description = "forbidden: this person may not come in"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 413, description = "too_large"),
    (status = 429, description = "rate_limited"),
    (status = 503, description = "unavailable: the provider or a part of the server is away")))]
pub(super) async fn finish(
    State(desk): State<Desk>,
    asker: Asker,
    Body(FinishBody { login_id, code, code_verifier, state }): Body<FinishBody>,
) -> Result<Json<TokensBody>, TurnedAway> {
    let answer = Answer { login_id, state, code, code_verifier };
    let signed_in = match desk.provider.finish_native(answer).await {
        Ok(signed_in) => signed_in,
        Err(failed) => return Err(desk.failed(failed, &asker).await),
    };
    let people = desk.people.for_request(&asker.request_id);
    let tokens = people.sign_in(&signed_in.who, &signed_in.device, &asker.address).await?;
    Ok(Json(TokensBody::with_refresh_token(tokens)))
}
