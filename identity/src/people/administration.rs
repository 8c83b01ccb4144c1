//! What operators ask: people, keys, tokens, signing keys.

use std::time::Duration;

use uuid::Uuid;

use super::People;
use crate::{
    Refused, Scopes,
    access::MAX_TOKEN_LIFE,
    api_keys::{self, MadeApiKey, NewApiKey},
    database::{ApiKeyRow, FamilyRow, PersonRow},
    signing::SigningKey,
};

/// Longest subject, characters.
const MAX_SUBJECT: usize = 128;

/// A sign-in as operators see it.
pub type SignInInfo = FamilyRow;

/// A token to mint for a machine or a test.
#[derive(Debug, Clone)]
pub struct MintRequest {
    /// Whose limits and usage count; `[A-Za-z0-9:_-]`, at most 128 characters.
    pub subject: String,
    /// What it allows.
    pub scopes: Scopes,
    /// How long it is good, at most [`MAX_TOKEN_LIFE`].
    pub life: Duration,
}

/// Why a token is not minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Tokens are not taken back one by one.
    #[error("a token is good for at most an hour; make an API key for what lasts longer")]
    Life,
    /// The subject stands in keys on the bus.
    #[error("a subject is made of letters, digits and : _ -, at most 128 of them; it is no e-mail address")]
    Subject,
    /// It cannot be signed now.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl People {
    /// At most `count` people with ids after `after`, in the order of their ids.
    ///
    /// # Errors
    /// [`Refused::Unavailable`], as all of these.
    pub async fn list(&self, after: &str, count: u32) -> Result<Vec<PersonRow>, Refused> {
        Ok(self.inner.database.people(after, count).await?)
    }

    /// People with this id or this e-mail address.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn find(&self, id_or_email: &str) -> Result<Vec<PersonRow>, Refused> {
        Ok(self.inner.database.people_called(id_or_email).await?)
    }

    /// The newest sign-ins of a person.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn sign_ins_of(&self, id: &str) -> Result<Vec<SignInInfo>, Refused> {
        Ok(self.inner.database.families_of(id).await?)
    }

    /// Lets a person in no more, and ends what they have; `false` when there is none with this id.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]; calling again is harmless.
    pub async fn disable(&self, id: &str) -> Result<bool, Refused> {
        let found = self.inner.database.set_disabled(id, true).await?;
        if found {
            self.audit("disable", "ok", Some(id), None).await;
            self.end_all_of(id, "disabled").await?;
        }
        Ok(found)
    }

    /// Lets a person in again; `false` when there is none with this id.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn enable(&self, id: &str) -> Result<bool, Refused> {
        let found = self.inner.database.set_disabled(id, false).await?;
        if found {
            self.audit("enable", "ok", Some(id), None).await;
        }
        Ok(found)
    }

    /// Ends all sign-ins of a person, and every token minted for them until now; `false` when there is none with this id.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]; calling again is harmless.
    pub async fn sign_out_everywhere(&self, id: &str) -> Result<bool, Refused> {
        if self.inner.database.person(id).await?.is_none() {
            return Ok(false);
        }
        self.audit("sign_out_everywhere", "ok", Some(id), None).await;
        self.end_all_of(id, "sign_out_everywhere").await.map(|()| true)
    }

    /// Ends one sign-in; `false` when there is none with this id that has not ended.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]; calling again is harmless.
    pub async fn revoke_family(&self, family: &str) -> Result<bool, Refused> {
        let found = self.inner.database.revoke_family(family, "operator", self.inner.clock.now()).await?;
        self.audit("revoke_family", if found { "ok" } else { "unknown" }, None, None).await;
        // A minted token has a family that the database does not know.
        self.inner.revocations.revoke_family(family).await?;
        Ok(found)
    }

    async fn end_all_of(&self, person: &str, reason: &str) -> Result<(), Refused> {
        let families = self.inner.database.revoke_families(person, reason, self.inner.clock.now()).await?;
        let mut ended = self.inner.revocations.revoke_subject(person).await;
        for family in families {
            ended = ended.and(self.inner.revocations.revoke_family(&family).await);
        }
        ended
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn create_api_key(&self, new: NewApiKey) -> Result<MadeApiKey, Refused> {
        let made = self.inner.api_keys.create(new).await?;
        self.audit("api_key_created", "ok", Some(&api_keys::subject_of(&made.id)), None).await;
        Ok(made)
    }

    /// The newest API keys, without their secrets.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRow>, Refused> {
        Ok(self.inner.database.api_keys().await?)
    }

    /// Revokes an API key, and ends its live sessions; `false` when there is none of this id that is not revoked yet.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]; calling again is harmless.
    pub async fn revoke_api_key(&self, id: &str) -> Result<bool, Refused> {
        let found = self.inner.api_keys.revoke(id).await?;
        let subject = api_keys::subject_of(id);
        if found {
            self.audit("api_key_revoked", "ok", Some(&subject), None).await;
        }
        self.inner.revocations.revoke_subject(&subject).await?;
        Ok(found)
    }

    /// Mints an access token for a machine or a test.
    ///
    /// # Errors
    /// See [`MintError`].
    pub async fn mint(&self, request: &MintRequest) -> Result<String, MintError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
        let subject = &request.subject;
        if subject.is_empty() || subject.len() > MAX_SUBJECT || !subject.chars().all(plain) {
            return Err(MintError::Subject);
        }
        if request.life > MAX_TOKEN_LIFE {
            return Err(MintError::Life);
        }
        let family = format!("minted-{}", Uuid::new_v4());
        let token = self.access_token(subject, &family, &request.scopes, request.life.as_secs()).await?;
        self.audit("token_minted", "ok", Some(subject), None).await;
        Ok(token)
    }

    /// The keys of our own tokens, the newest first.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Refused> {
        self.inner.keys.list().await
    }

    /// Makes the next signing key, which is published now and signs in five minutes; its name.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn rotate_signing_key(&self) -> Result<String, Refused> {
        let kid = self.inner.keys.rotate().await?;
        self.audit("signing_key_rotated", "ok", None, None).await;
        Ok(kid)
    }

    /// Takes a signing key out of use: no token signed with it is good, within a minute on every gateway. `false` when there
    /// is none of this name in use.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn drop_signing_key(&self, kid: &str) -> Result<bool, Refused> {
        let found = self.inner.keys.drop_key(kid).await?;
        self.audit("signing_key_dropped", if found { "ok" } else { "unknown" }, None, None).await;
        Ok(found)
    }
}
