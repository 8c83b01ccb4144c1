//! Where a refresh token lies: in the system's keychain, or, where there is none, in memory alone for as long as the program
//! runs. Never in a file.
//!
//! A keychain may ask the person before it answers, so a thread waits for it and nobody else does.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use client::sign_in::RefreshStore;
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::oneshot, time::timeout};

/// Under which all our entries stand.
const SERVICE: &str = "dev.subtide.desktop";
/// What is wanted of the keychain and was not done yet. When it is full, which takes an hour of a keychain that does not
/// answer, the token is kept in memory alone.
const WANTED: usize = 8;
/// How long a person may take to unlock their keychain.
const PATIENCE: Duration = Duration::from_secs(60);

/// One entry of a keychain.
pub(crate) trait Vault: Send + 'static {
    /// The secret; `None` where there is none.
    ///
    /// # Errors
    /// Why the keychain cannot be used.
    fn read(&self) -> anyhow::Result<Option<String>>;

    /// Puts `secret` in the place of the one before; `None`: takes it away.
    ///
    /// # Errors
    /// Why the keychain cannot be used.
    fn write(&self, secret: Option<&str>) -> anyhow::Result<()>;
}

/// The system's keychain.
struct System {
    server: String,
}

impl System {
    fn entry(&self) -> anyhow::Result<keyring::Entry> {
        keyring::Entry::new(SERVICE, &self.server).map_err(plain)
    }
}

/// An error of the keychain without what it holds: some carry the bytes of the secret.
#[expect(clippy::needless_pass_by_value, reason = "it is used as a function of errors")]
fn plain(error: keyring::Error) -> anyhow::Error {
    match error {
        keyring::Error::BadEncoding(_) => anyhow!("the keychain's entry is no text"),
        keyring::Error::BadDataFormat(..) => anyhow!("the keychain's entry cannot be read"),
        other => anyhow!("{other}"),
    }
}

impl Vault for System {
    fn read(&self) -> anyhow::Result<Option<String>> {
        match self.entry()?.get_password() {
            Ok(secret) => Ok(Some(secret)),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }

    fn write(&self, secret: Option<&str>) -> anyhow::Result<()> {
        let entry = self.entry()?;
        match secret {
            Some(secret) => entry.set_password(secret).map_err(plain),
            None => match entry.delete_credential() {
                Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
                Err(error) => Err(plain(error)),
            },
        }
    }
}

enum Wanted {
    Read(oneshot::Sender<Option<SecretString>>),
    Write(Option<SecretString>),
    Done(oneshot::Sender<()>),
}

/// The refresh token for one server.
pub(crate) struct Keychain {
    memory: Mutex<Option<SecretString>>,
    wanted: SyncSender<Wanted>,
    /// Whether the system's keychain does what is wanted.
    works: Arc<AtomicBool>,
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain").field("works", &self.works).finish_non_exhaustive()
    }
}

impl Keychain {
    /// The system's entry for `server`.
    pub(crate) fn of(server: &str) -> Self {
        Self::with(System { server: server.to_owned() })
    }

    pub(crate) fn with(vault: impl Vault) -> Self {
        let (wanted, orders) = sync_channel(WANTED);
        let works = Arc::new(AtomicBool::new(true));
        let for_thread = Arc::clone(&works);
        let serving =
            thread::Builder::new().name("keychain".to_owned()).spawn(move || serve(&vault, &orders, &for_thread));
        if serving.is_err() {
            works.store(false, Ordering::Relaxed);
        }
        Self { memory: Mutex::new(None), wanted, works }
    }

    /// Whether a sign-in outlives the program.
    pub(crate) fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    /// Asks the keychain for the token of an earlier run, unless there is one already. Whether there is one.
    pub(crate) async fn load(&self) -> bool {
        if self.memory.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return true;
        }
        let (told, answer) = oneshot::channel();
        if self.wanted.try_send(Wanted::Read(told)).is_err() {
            self.works.store(false, Ordering::Relaxed);
            return false;
        }
        let token = timeout(PATIENCE, answer).await.ok().and_then(Result::ok).flatten();
        let there = token.is_some();
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = token;
        there
    }

    /// Takes the token away.
    pub(crate) fn forget(&self) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.want(None);
    }

    /// Waits until the keychain did all that was wanted, for a while.
    pub(crate) async fn settle(&self, patience: Duration) {
        let (told, done) = oneshot::channel();
        if self.wanted.try_send(Wanted::Done(told)).is_ok() {
            timeout(patience, done).await.ok();
        }
    }

    fn want(&self, secret: Option<SecretString>) {
        if self.wanted.try_send(Wanted::Write(secret)).is_err() {
            self.works.store(false, Ordering::Relaxed);
        }
    }
}

impl RefreshStore for Keychain {
    fn read(&self) -> anyhow::Result<String> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.as_ref().map(|token| token.expose_secret().to_owned()).context("nobody is signed in; sign in first")
    }

    fn write(&self, token: &str) -> anyhow::Result<()> {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.into());
        self.want(Some(token.into()));
        Ok(())
    }
}

fn serve(vault: &impl Vault, orders: &Receiver<Wanted>, works: &AtomicBool) {
    let checked = |result: anyhow::Result<()>| {
        works.store(result.is_ok(), Ordering::Relaxed);
        if let Err(error) = result {
            tracing::info!(%error, "the system's keychain cannot be used; a sign-in lasts until the program ends");
        }
    };
    while let Ok(wanted) = orders.recv() {
        match wanted {
            Wanted::Read(told) => {
                let read = vault.read();
                let token = read.as_ref().ok().and_then(|token| token.as_deref().map(SecretString::from));
                checked(read.map(drop));
                told.send(token).ok();
            }
            Wanted::Write(secret) => checked(vault.write(secret.as_ref().map(ExposeSecret::expose_secret))),
            Wanted::Done(told) => {
                told.send(()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keychain of one entry that outlives the program, or none at all.
    #[derive(Clone, Default)]
    struct Chest {
        locked: bool,
        entry: Arc<Mutex<Option<String>>>,
    }

    impl Vault for Chest {
        fn read(&self) -> anyhow::Result<Option<String>> {
            anyhow::ensure!(!self.locked, "no keychain here");
            Ok(self.entry.lock().unwrap().clone())
        }

        fn write(&self, secret: Option<&str>) -> anyhow::Result<()> {
            anyhow::ensure!(!self.locked, "no keychain here");
            *self.entry.lock().unwrap() = secret.map(str::to_owned);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_token_outlives_the_program_where_there_is_a_keychain() {
        let chest = Chest::default();
        let first = Keychain::with(chest.clone());
        assert!(!first.load().await && first.read().is_err(), "nobody signed in yet");
        first.write("refresh-1").unwrap();
        first.write("refresh-2").unwrap();
        first.settle(Duration::from_secs(10)).await;
        let second = Keychain::with(chest.clone());
        assert!(second.load().await && second.works());
        assert_eq!(second.read().unwrap(), "refresh-2");
        second.forget();
        second.settle(Duration::from_secs(10)).await;
        assert_eq!(*chest.entry.lock().unwrap(), None);
    }

    #[tokio::test]
    async fn without_a_keychain_a_sign_in_lasts_as_long_as_the_program() {
        let keychain = Keychain::with(Chest { locked: true, ..Chest::default() });
        assert!(!keychain.load().await);
        keychain.write("refresh-1").unwrap();
        keychain.settle(Duration::from_secs(10)).await;
        assert!(!keychain.works());
        assert_eq!(keychain.read().unwrap(), "refresh-1");
        assert!(!format!("{keychain:?}").contains("refresh-1"));
    }
}
