//! What a sign-in that did not come to pass is answered with.

use std::time::Duration;

use identity::oidc::Failed;
use shared::wire::ErrorCode;

use super::{Desk, asked::Asker};
use crate::door::TurnedAway;

/// When a provider that is away may be asked again.
const RETRY: Duration = Duration::from_secs(5);

impl From<Failed> for TurnedAway {
    fn from(failed: Failed) -> Self {
        let code = match failed {
            Failed::Request(_) => ErrorCode::BadMessage,
            Failed::Unverified | Failed::NotInvited => ErrorCode::Forbidden,
            Failed::Setup => ErrorCode::Internal,
            Failed::Away => ErrorCode::Unavailable,
            Failed::Unknown | Failed::State | Failed::Verifier | Failed::Declined | Failed::Code | Failed::Token(_) => {
                ErrorCode::AuthError
            }
        };
        let away = Self::new(code, failed.word(), failed.to_string());
        if failed == Failed::Away { away.after(RETRY) } else { away }
    }
}

impl Desk {
    /// Writes it into the audit.
    pub(super) async fn failed(&self, failed: Failed, asker: &Asker) -> TurnedAway {
        tracing::info!(reason = failed.word(), "a sign-in did not come to pass");
        self.people.for_request(&asker.request_id).sign_in_failed(failed.word(), &asker.address).await;
        failed.into()
    }
}
