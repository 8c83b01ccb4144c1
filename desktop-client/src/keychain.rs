//! Where a refresh token lies: in the system's keychain, or, where there is none, in memory alone for as long as the program
//! runs. Never in a file.
//!
//! A keychain may ask the person before it answers, so a thread waits for it and nobody else does.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

/// What is known of the token without asking the keychain.
#[derive(Default)]
struct Memory {
    token: Option<SecretString>,
    /// How often it was put there or taken away. An answer of the keychain to an older question counts for nothing.
    changes: u64,
}

/// The refresh token for one server.
pub(crate) struct Keychain {
    memory: Mutex<Memory>,
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
        Self { memory: Mutex::default(), wanted, works }
    }

    /// Whether a sign-in outlives the program.
    pub(crate) fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    /// Asks the keychain for the token of an earlier run, unless there is one already. Whether there is one. Who signs in or out
    /// while the keychain waits for its person knows better than it.
    pub(crate) async fn load(&self) -> bool {
        let asked_at = {
            let memory = self.memory();
            if memory.token.is_some() {
                return true;
            }
            memory.changes
        };
        let (told, answer) = oneshot::channel();
        if self.wanted.try_send(Wanted::Read(told)).is_err() {
            self.works.store(false, Ordering::Relaxed);
            return false;
        }
        let token = timeout(PATIENCE, answer).await.ok().and_then(Result::ok).flatten();
        let mut memory = self.memory();
        if memory.changes == asked_at {
            memory.token = token;
        }
        memory.token.is_some()
    }

    /// Takes the token away.
    pub(crate) fn forget(&self) {
        self.put(None);
    }

    /// Waits until the keychain did all that was wanted, for a while.
    pub(crate) async fn settle(&self, patience: Duration) {
        let (told, done) = oneshot::channel();
        if self.wanted.try_send(Wanted::Done(told)).is_ok() {
            timeout(patience, done).await.ok();
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, secret: Option<SecretString>) {
        let mut memory = self.memory();
        memory.token.clone_from(&secret);
        memory.changes += 1;
        // Before another may put one: the keychain is to end with what memory ends with.
        if self.wanted.try_send(Wanted::Write(secret)).is_err() {
            self.works.store(false, Ordering::Relaxed);
        }
    }
}

impl RefreshStore for Keychain {
    fn read(&self) -> anyhow::Result<String> {
        self.memory()
            .token
            .as_ref()
            .map(|token| token.expose_secret().to_owned())
            .context("nobody is signed in; sign in first")
    }

    fn write(&self, token: &str) -> anyhow::Result<()> {
        self.put(Some(token.into()));
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

    /// A keychain that answers once its person has unlocked it.
    struct Slow {
        asked: SyncSender<()>,
        unlocked: Receiver<()>,
        written: Arc<Mutex<Option<String>>>,
    }

    impl Vault for Slow {
        fn read(&self) -> anyhow::Result<Option<String>> {
            self.asked.send(())?;
            self.unlocked.recv()?;
            Ok(Some("of an earlier run".to_owned()))
        }

        fn write(&self, secret: Option<&str>) -> anyhow::Result<()> {
            *self.written.lock().unwrap() = secret.map(str::to_owned);
            Ok(())
        }
    }

    /// What is there when `meanwhile` happens while the keychain waits for its person, in memory and then in the keychain.
    async fn after(meanwhile: impl FnOnce(&Keychain)) -> (Option<String>, Option<String>) {
        let (asked, was_asked) = sync_channel(1);
        let (unlock, unlocked) = sync_channel(1);
        let written = Arc::new(Mutex::new(Some("of an earlier run".to_owned())));
        let keychain = Keychain::with(Slow { asked, unlocked, written: Arc::clone(&written) });
        let change = async {
            tokio::task::spawn_blocking(move || was_asked.recv().unwrap()).await.unwrap();
            meanwhile(&keychain);
            unlock.send(()).unwrap();
        };
        let (there, ()) = tokio::join!(keychain.load(), change);
        let token = keychain.read().ok();
        assert_eq!(there, token.is_some());
        keychain.settle(Duration::from_secs(10)).await;
        let written = written.lock().unwrap().clone();
        (token, written)
    }

    #[tokio::test]
    async fn who_signs_in_or_out_meanwhile_knows_better_than_a_slow_keychain() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(after(|_| ()).await, (text("of an earlier run"), text("of an earlier run")));
        assert_eq!(after(|keychain| keychain.write("new").unwrap()).await, (text("new"), text("new")));
        assert_eq!(after(Keychain::forget).await, (None, None));
    }
}
