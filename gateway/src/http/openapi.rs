//! The OpenAPI description of the HTTP part; docs/openapi.json is its copy.

use axum::Json;
use serde::Serialize;
use shared::wire::ErrorCode;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        OpenApi as Description,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{admin, me, paths, sign_in::SignInApi, stream};

/// The body of every answer that is a refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct RefusalBody {
    /// Stable code, one of the list in docs/PROTOCOL.md.
    #[schema(example = "rate_limited")]
    code: String,
    /// What is wrong and what to do, for people.
    message: String,
    /// Finds this request in the server's logs; the same as the header `X-Request-ID`.
    request_id: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Subtide",
        description = "Live captions and live translation: the HTTP part. The WebSocket's messages are in docs/PROTOCOL.md. \
                       Paths under /admin are on a listener of their own (ADMIN_PORT)."
    ),
    paths(
        stream::open,
        me::ticket,
        me::me,
        openapi,
        admin::sessions::list,
        admin::sessions::close,
        admin::people::list,
        admin::people::sign_out,
        admin::people::usage,
        admin::queues::health,
    ),
    modifiers(&Bearer),
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, description: &mut Description) {
        let components = description.components.get_or_insert_with(Default::default);
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access token of ours (EdDSA JWT), an API key, or a token of a trusted issuer."));
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

/// The description as JSON, with the error codes of the code itself.
#[must_use]
pub fn description() -> serde_json::Value {
    let mut all = Api::openapi();
    all.merge(SignInApi::openapi());
    let mut json = serde_json::to_value(all).unwrap_or_default();
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    if let Some(code) = json.pointer_mut("/components/schemas/Refusal/properties/code") {
        code["enum"] = codes.into();
    }
    json
}

/// This description.
#[utoipa::path(get, path = paths::OPENAPI, tag = "about", responses((status = 200, description = "OpenAPI as JSON")))]
pub(super) async fn openapi() -> Json<serde_json::Value> {
    Json(description())
}
