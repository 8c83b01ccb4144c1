//! Who uses this program: a sign-in through the system's browser, one for each server, shared by all streams.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use client::{
    ClientError, Credential, TokenSource,
    sign_in::{Person, Server, SignedIn, open_browser, sign_in},
};
use secrecy::SecretString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{keychain::Keychain, refusal::Refusal};

/// As `SignInState` of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SignInState {
    /// Whether this server has sign-in at all.
    pub(crate) offered: bool,
    pub(crate) person: Option<Person>,
    /// What people call who signs them in.
    pub(crate) provider: String,
    /// Whether the server could not be asked.
    pub(crate) unclear: bool,
    /// Whether a sign-in ends with the program, because there is no keychain to keep it.
    pub(crate) session_only: bool,
}

/// Told whenever the state changed.
pub(crate) type Changed = Arc<dyn Fn(&SignInState) + Send + Sync>;

/// Who is signed in at a server.
pub(crate) struct Desk {
    server: Server,
    keychain: Arc<Keychain>,
    changed: Changed,
    /// `None`: the server was not asked yet.
    state: Mutex<Option<SignInState>>,
    signed_in: Mutex<Option<Arc<SignedIn>>>,
    /// One asks at a time.
    asking: tokio::sync::Mutex<()>,
    /// Ends the sign-in that waits for its browser.
    waiting: Mutex<CancellationToken>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("server", &self.server).field("state", &self.state).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(crate) fn new(server: Server, keychain: Keychain, changed: Changed) -> Self {
        Self {
            server,
            keychain: Arc::new(keychain),
            changed,
            state: Mutex::new(None),
            signed_in: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
            waiting: Mutex::default(),
        }
    }

    /// Whether there is sign-in, and who is signed in. The server is asked where that is not known.
    pub(crate) async fn state(&self) -> SignInState {
        let _one = self.asking.lock().await;
        if let Some(known) = lock(&self.state).clone().filter(|state| !state.unclear) {
            return known;
        }
        let offer = match self.server.offer().await {
            Ok(offer) => offer,
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "the server could not be asked about sign-in");
                return self.to(|state| state.unclear = true);
            }
        };
        // Until the keychain has answered it is not said that nobody is signed in.
        self.to(|state| {
            (state.offered, state.provider, state.unclear) = (offer.sign_in, offer.provider, offer.sign_in)
        });
        if offer.sign_in && self.keychain.load().await {
            let store = Arc::clone(&self.keychain);
            let fresh = || Arc::new(SignedIn::new(self.server.clone(), store));
            lock(&self.signed_in).get_or_insert_with(fresh);
            // What comes of it is in the state.
            self.token(false).await.ok();
            return self.to(|_| ());
        }
        self.to(|state| {
            // Somebody may have signed in while the keychain was asked; then it is known who.
            if lock(&self.signed_in).is_none() {
                (state.person, state.unclear) = (None, false);
            }
        })
    }

    /// What to show at the server's door.
    ///
    /// # Errors
    /// [`ClientError::NoToken`] when nobody is signed in where somebody has to be.
    pub(crate) async fn credential(self: &Arc<Self>) -> Result<Credential, ClientError> {
        let state = self.state().await;
        let signed_in = lock(&self.signed_in).is_some();
        match (state.offered, signed_in) {
            (_, true) => Ok(Credential::Source(Arc::clone(self) as Arc<dyn TokenSource>)),
            (true, false) => Err(ClientError::NoToken("nobody is signed in; sign in first".to_owned())),
            // No sign-in, or nobody knows: the door tells.
            (false, false) => Ok(Credential::None),
        }
    }

    /// Signs in through the system's browser. Whoever asks again gives the first attempt up.
    ///
    /// # Errors
    /// When the server or the browser's answer cannot be used, or nobody signs in in time.
    pub(crate) async fn enter(&self) -> Result<SignInState, Refusal> {
        let mine = CancellationToken::new();
        std::mem::replace(&mut *lock(&self.waiting), mine.clone()).cancel();
        let refused = |error: anyhow::Error| Refusal::new("sign_in", format!("{error:#}"));
        let tokens = tokio::select! {
            tokens = sign_in(&self.server, open_browser) => tokens.map_err(refused)?,
            () = mine.cancelled() => return Err(Refusal::new("given_up", "another sign-in was begun")),
        };
        let store = Arc::clone(&self.keychain);
        let signed_in = SignedIn::with(self.server.clone(), store, &tokens).map_err(refused)?;
        *lock(&self.signed_in) = Some(Arc::new(signed_in));
        self.keychain.settle(Duration::from_secs(5)).await;
        Ok(self.to(|state| (state.offered, state.person, state.unclear) = (true, tokens.person(), false)))
    }

    /// Signs out, here and on the server.
    pub(crate) async fn leave(&self) {
        lock(&self.waiting).cancel();
        let token = client::sign_in::RefreshStore::read(&*self.keychain);
        self.forget();
        if let Ok(token) = token
            && let Err(error) = self.server.logout(&token).await
        {
            tracing::info!(error = format!("{error:#}"), "the server could not be told of the sign-out");
        }
        self.keychain.settle(Duration::from_secs(5)).await;
    }

    /// Gives the keychain time to keep what it was told to.
    pub(crate) async fn settle(&self, patience: Duration) {
        self.keychain.settle(patience).await;
    }

    fn forget(&self) {
        *lock(&self.signed_in) = None;
        self.keychain.forget();
        self.to(|state| (state.person, state.unclear) = (None, false));
    }

    fn to(&self, change: impl FnOnce(&mut SignInState)) -> SignInState {
        let mut held = lock(&self.state);
        let mut state = held.clone().unwrap_or_default();
        change(&mut state);
        state.session_only = state.offered && !self.keychain.works();
        let news = held.as_ref() != Some(&state);
        *held = Some(state.clone());
        drop(held);
        if news {
            (self.changed)(&state);
        }
        state
    }
}

/// Whether the server itself says that a sign-in is not good any more. Whoever stands between may answer 401 and 403 too, a
/// proxy or a hotel's network; but a refusal of ours has words in it, and theirs has none that are read.
fn ends_sign_in(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status: 401 | 403, message, .. } if !message.is_empty())
}

#[async_trait]
impl TokenSource for Desk {
    async fn token(&self, fresh: bool) -> Result<SecretString, ClientError> {
        let signed_in = lock(&self.signed_in).clone();
        let Some(signed_in) = signed_in else {
            return Err(ClientError::NoToken("nobody is signed in; sign in first".to_owned()));
        };
        let token = signed_in.token(fresh).await;
        // Who signed in or out while the server was asked is not spoken of by this answer.
        if !lock(&self.signed_in).as_ref().is_some_and(|present| Arc::ptr_eq(present, &signed_in)) {
            return token;
        }
        match &token {
            Ok(_) => {
                let person = signed_in.person();
                self.to(|state| (state.person, state.unclear) = (person, false));
            }
            Err(error) if ends_sign_in(error) => self.forget(),
            // Too many requests, or a server in trouble, say nothing about who this is.
            Err(_) => {
                self.to(|state| state.unclear = true);
            }
        }
        token
    }
}

#[cfg(test)]
mod tests;
