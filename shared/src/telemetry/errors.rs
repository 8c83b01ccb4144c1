//! Errors to a tracker that speaks Sentry's protocol: lines of the level ERROR and panics, nothing else.
//!
//! What leaves the machine is the words of the line as the code has them, where they stand in the code, and the ids below; no
//! other field, no request, no person, no address, no name of the machine. The rest is in the log, under the same trace id.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sentry::{
    Client, ClientOptions,
    integrations::contexts::ContextIntegration,
    protocol::{Event, Level},
    types::Dsn,
};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt as _, filter_fn},
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::panics::PANIC;
use crate::config::{Env, ExposeSecret as _, SecretString};

/// `SENTRY_DSN` (or `SENTRY_DSN_FILE`): where errors go. Absent: nowhere.
pub const ENV_SENTRY_DSN: &str = "SENTRY_DSN";

/// Fields that are sent along. All are ids, counts or words of closed sets.
const KEPT: [&str; 10] =
    ["session", "utterance", "revision", "trace_id", "span_id", "stream", "id", "deliveries", "code", "role"];

static KEPT_TRACKER: OnceLock<Tracker> = OnceLock::new();

/// Reads [`ENV_SENTRY_DSN`].
pub(super) fn from_env(env: &mut Env) -> Option<SecretString> {
    let dsn = env.secret(ENV_SENTRY_DSN)?;
    if dsn.expose_secret().parse::<Dsn>().is_err() {
        env.fault(format!("{ENV_SENTRY_DSN}: must be a DSN such as https://KEY@HOST/PROJECT"));
    }
    Some(dsn)
}

/// Sends errors; clones share it. A layer of the subscriber.
#[derive(Clone)]
pub(super) struct Tracker {
    client: Arc<Client>,
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").finish_non_exhaustive()
    }
}

impl Tracker {
    pub(super) fn open(dsn: &SecretString) -> Self {
        let mut options = ClientOptions::new()
            .release(concat!("subtide@", env!("CARGO_PKG_VERSION")))
            .default_integrations(false)
            .add_integration(ContextIntegration::new().add_device(false))
            .max_breadcrumbs(0)
            .before_send(|event| Some(without_surroundings(event)));
        options.dsn = dsn.expose_secret().parse().ok();
        Self { client: Arc::new(Client::from(sentry::apply_defaults(options))) }
    }

    /// Sends `event`, or drops it where too many wait. Never blocks.
    pub(super) fn send(&self, event: Event<'static>) {
        self.client.capture_event(event, None);
    }
}

fn without_surroundings(event: Event<'static>) -> Event<'static> {
    Event { server_name: None, user: None, request: None, breadcrumbs: Vec::new().into(), ..event }
}

/// What reaches the layer: errors, and spans for their ids. A panic has a way of its own.
pub(super) fn filter<S: 'static>() -> impl Filter<S> + Send + Sync + 'static {
    LevelFilter::ERROR.and(filter_fn(|meta| meta.target() != PANIC))
}

/// The fields of [`KEPT`], and the words.
#[derive(Default)]
struct Told {
    ids: BTreeMap<&'static str, String>,
    message: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else if KEPT.contains(&field.name()) {
            self.ids.insert(field.name(), format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl<S> Layer<S> for Tracker
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut told = Told::default();
        attributes.record(&mut told);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(told);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(told) = span.extensions_mut().get_mut::<Told>()
        {
            values.record(told);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut told = Told::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(around) = span.extensions().get::<Told>() {
                told.ids.extend(around.ids.clone());
            }
        }
        event.record(&mut told);
        let tags = told.ids.into_iter().map(|(key, value)| (key.to_owned(), value));
        self.send(Event {
            level: Level::Error,
            message: Some(told.message),
            logger: Some(event.metadata().target().to_owned()),
            tags: tags.collect(),
            ..Event::default()
        });
    }
}

/// Keeps `tracker` for the end of the program.
pub(super) fn keep(tracker: Tracker) {
    if KEPT_TRACKER.set(tracker).is_err() {
        tracing::debug!("errors are sent already");
    }
}

/// Delivers what waits, within `timeout`.
pub(super) fn shut_down(timeout: Duration) {
    if KEPT_TRACKER.get().is_some_and(|tracker| !tracker.client.close(Some(timeout))) {
        tracing::warn!("the last errors were not delivered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_that_is_none_is_a_fault_that_does_not_repeat_it() {
        let mut env = Env::of([(ENV_SENTRY_DSN, "hush")]);
        from_env(&mut env);
        let fault = env.finish().unwrap_err().to_string();
        assert!(fault.contains(ENV_SENTRY_DSN) && !fault.contains("hush"), "{fault}");
        let mut env = Env::of([(ENV_SENTRY_DSN, "https://key@errors.example.com/1")]);
        assert!(from_env(&mut env).is_some() && env.finish().is_ok());
    }
}
