//! Who waits for which revocation.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{Revocation, lock};

/// Everybody who waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchers {
    next: Arc<AtomicU64>,
    waiting: Arc<Mutex<HashMap<u64, Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    concerns: Vec<Revocation>,
    told: watch::Sender<Option<Revocation>>,
}

/// Hears of a revocation that concerns one client.
#[derive(Debug)]
pub struct Watch {
    number: u64,
    watchers: Watchers,
    told: watch::Receiver<Option<Revocation>>,
}

impl Watchers {
    pub(super) fn watch(&self, family: Option<&str>, subject: &str) -> Watch {
        let family = family.map(|id| Revocation::Family(id.to_owned()));
        let concerns = family.into_iter().chain([Revocation::Subject(subject.to_owned())]).collect();
        let (tell, told) = watch::channel(None);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(number, Waiting { concerns, told: tell });
        Watch { number, watchers: self.clone(), told }
    }

    pub(super) fn tell(&self, what: &Revocation) {
        for waiting in lock(&self.waiting).values().filter(|waiting| waiting.concerns.contains(what)) {
            waiting.told.send_replace(Some(what.clone()));
        }
    }
}

impl Watch {
    /// From now on it also hears when this session is closed.
    pub fn session(&mut self, id: &str) {
        let session = Revocation::Session(id.to_owned());
        if let Some(waiting) = lock(&self.watchers.waiting).get_mut(&self.number) {
            waiting.concerns.retain(|concern| !matches!(concern, Revocation::Session(_)));
            waiting.concerns.push(session);
        }
    }

    /// What was revoked, if anything was.
    #[must_use]
    pub fn revoked_now(&self) -> Option<Revocation> {
        self.told.borrow().clone()
    }

    /// Waits until something is revoked. Cancel-safe, and once it has resolved it always does.
    pub async fn revoked(&mut self) -> Revocation {
        match self.told.wait_for(Option::is_some).await.map(|told| told.clone()) {
            Ok(Some(what)) => what,
            // The sender lives as long as this is registered.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.watchers.waiting).remove(&self.number);
    }
}
