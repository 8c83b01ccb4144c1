//! The admin listener: a port of its own, never the clients', and the scope `admin` on every route.
//!
//! - [`sessions`]: who is here; [`people`]: who was, and how much; [`queues`]: how the workers do

pub(super) mod people;
pub(super) mod queues;
pub(super) mod sessions;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use identity::{People, Principal, Scope};
use shared::bus::Bus;

use crate::door::{self, Door, TurnedAway, credentials};

/// What the routes need.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) people: People,
    pub(super) door: Arc<Door>,
    pub(super) bus: Arc<dyn Bus>,
}

/// All routes; every one of them, and what is no route, demands the scope `admin`.
pub(super) fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/admin/sessions", get(sessions::list))
        .route("/admin/sessions/{id}", delete(sessions::close))
        .route("/admin/users", get(people::list))
        .route("/admin/users/{id}/sign-out", post(people::sign_out))
        .route("/admin/usage", get(people::usage))
        .route("/admin/health", get(queues::health))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(middleware::from_fn_with_state(admin.clone(), guard))
        .with_state(admin)
}

async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let outcome = operator(&admin.people, request.uri().clone(), request.headers().clone()).await;
    match outcome {
        Ok(who) => {
            tracing::info!(operator = who.subject, method = %request.method(), "admin request");
            next.run(request).await
        }
        Err(away) => {
            admin.door.metrics().count_refused("admin");
            away.into_response()
        }
    }
}

async fn operator(people: &People, uri: Uri, headers: HeaderMap) -> Result<Principal, TurnedAway> {
    credentials::none_in_url(&uri)?;
    let who = people.verify(credentials::bearer(&headers)?).await?;
    door::needs(&who, Scope::Admin)?;
    Ok(who)
}
