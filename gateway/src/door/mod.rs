//! Who gets in: everything that is decided before the WebSocket handshake is answered, and what a session holds of it.
//!
//! - [`credentials`]: what a handshake shows; [`tickets`]: what a page shows
//! - [`origin`]: which pages may connect
//! - [`limits`]: how often and how many, shared by all gateways; [`admission`]: how far behind the workers are;
//!   [`pressure`]: how full the bus is
//! - [`guest`]: a client that was let in; `pace`: how fast its audio may come; [`live`]: the list of all of them
//! - [`settings`], [`metrics`]; [`turned_away`]: why somebody did not get in

pub mod admission;
pub mod credentials;
pub mod guest;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod origin;
mod pace;
pub mod pressure;
pub mod settings;
pub mod tickets;
pub mod turned_away;

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, Uri, header};
use identity::{People, Principal, Refused, Scope};
use shared::{bus::Bus, shutdown::CancellationToken, wire::ErrorCode};
use tokio::sync::Semaphore;

use self::{
    admission::Admission, credentials::Credential, limits::Limits, live::Live, metrics::DoorMetrics, origin::Origins,
    tickets::Tickets,
};
pub use self::{
    guest::{Expelled, Guest},
    pressure::Pressure,
    settings::DoorSettings,
    turned_away::TurnedAway,
};
use crate::config::GatewayConfig;

/// What decides who gets in. One for each gateway.
#[derive(Debug)]
pub struct Door {
    /// `None`: nobody is asked.
    people: Option<People>,
    origins: Origins,
    limits: Limits,
    admission: Admission,
    tickets: Tickets,
    live: Live,
    metrics: DoorMetrics,
    /// Of this gateway, whatever the bus says.
    places: Arc<Semaphore>,
    bus: Arc<dyn Bus>,
}

/// What stands around a door.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who people are; `None`: nobody is asked.
    pub people: Option<People>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Name of this gateway.
    pub gateway: String,
    /// What is counted.
    pub metrics: DoorMetrics,
}

/// A request for a session.
#[derive(Debug, Clone, Copy)]
pub struct Knock<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Where it went.
    pub uri: &'a Uri,
    /// Where it came from.
    pub address: IpAddr,
}

impl Door {
    /// The door of a gateway with these settings.
    #[must_use]
    pub fn new(config: &GatewayConfig, around: Surroundings) -> Self {
        let Surroundings { people, bus, gateway, metrics } = around;
        let mut allowed = config.allowed_origins.clone();
        allowed.extend(config.public_url.as_ref().map(|url| url.origin().ascii_serialization()));
        let (settings, most) = (config.door.clone(), config.max_sessions);
        Self {
            origins: Origins::new(allowed, people.is_none()),
            admission: Admission::new(&settings, config.jobs_wanted_for()),
            limits: Limits::new(settings, most, Arc::clone(&bus), metrics.clone()),
            tickets: Tickets::new(Arc::clone(&bus)),
            live: Live::new(Arc::clone(&bus), gateway),
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            metrics,
            people,
            bus,
        }
    }

    /// Looks at the queues every second until `stop`.
    pub async fn watch(&self, stop: &CancellationToken) {
        self.admission.watch(&self.bus, &self.metrics, &self.limits, stop).await;
    }

    /// How full the bus is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.admission.pressure()
    }

    /// Who people are; `None`: nobody is asked.
    #[must_use]
    pub fn people(&self) -> Option<&People> {
        self.people.as_ref()
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The sessions of all gateways.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &DoorMetrics {
        &self.metrics
    }

    /// Whose token this is.
    async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        match &self.people {
            Some(people) => people.verify(token).await,
            None => Ok(Principal::local()),
        }
    }

    /// Lets a handshake in or says why not.
    ///
    /// The order is that of the cost: what can be told from the request alone, then the address, who it is, how far behind
    /// the workers are, and last the places, so that nobody takes one who is sent away all the same.
    ///
    /// # Errors
    /// See [`TurnedAway`].
    pub async fn admit(self: &Arc<Self>, knock: Knock<'_>) -> Result<Guest, TurnedAway> {
        credentials::none_in_url(knock.uri)?;
        self.origins.check(knock.headers)?;
        let resumed = credentials::resumed(knock.headers);
        if self.people.is_none() {
            // A session that goes on is no further load.
            if resumed.is_none() {
                self.admission.check()?;
            }
            let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| limits::full())?;
            return Ok(Guest::unasked(place));
        }
        self.limits.connect(knock.address).await?;
        let who = self.recognise(knock.headers).await?;
        needs(&who, Scope::Stream)?;
        if resumed.is_none() {
            self.admission.check()?;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| limits::full())?;
        let claimed = resumed.is_some();
        let held = self.limits.take_place(&who.subject, resumed).await?;
        let guest = Guest::new(who, Arc::clone(self), guest::Stay { held, place, address: knock.address });
        if claimed && !guest.goes_on() {
            self.admission.check()?;
        }
        Ok(guest)
    }

    async fn recognise(&self, headers: &HeaderMap) -> Result<Principal, TurnedAway> {
        let ticket = match credentials::credential(headers)? {
            Credential::Bearer(token) => return Ok(self.verify(token).await?),
            Credential::Ticket(ticket) => ticket,
        };
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        let who = self.tickets.redeem(ticket, origin).await?;
        // Half a minute is long enough to sign out in.
        if let Some(people) = &self.people
            && people.revocations().is_revoked(&who).await?
        {
            return Err(Refused::Revoked.into());
        }
        self.metrics.count_ticket("used");
        Ok(who)
    }

    /// Whose Bearer token a request shows, that is no handshake.
    ///
    /// # Errors
    /// As [`Refused`]; `not_found` where nobody is asked to sign in.
    pub async fn bearer(&self, knock: Knock<'_>) -> Result<Principal, TurnedAway> {
        credentials::none_in_url(knock.uri)?;
        self.origins.check(knock.headers)?;
        let Some(people) = &self.people else {
            return Err(TurnedAway::new(ErrorCode::NotFound, "no_sign_in", "this server asks nobody to sign in"));
        };
        self.limits.request(knock.address).await?;
        Ok(people.verify(credentials::bearer(knock.headers)?).await?)
    }

    /// A ticket for the page that asks, good for one handshake within half a minute.
    ///
    /// # Errors
    /// As [`Door::bearer`]; `forbidden` when no page asks.
    pub async fn ticket(&self, knock: Knock<'_>) -> Result<String, TurnedAway> {
        let who = self.bearer(knock).await?;
        needs(&who, Scope::Stream)?;
        let origin = knock.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin else {
            let message = "tickets are for pages, which name their origin; programs send the token itself as a header";
            return Err(TurnedAway::new(ErrorCode::Forbidden, "origin", message));
        };
        let ticket = self.tickets.issue(who, origin.to_owned()).await?;
        self.metrics.count_ticket("issued");
        Ok(ticket)
    }
}

/// That a token allows something.
///
/// # Errors
/// `forbidden`.
pub(crate) fn needs(who: &Principal, scope: Scope) -> Result<(), TurnedAway> {
    if who.scopes.has(scope) {
        return Ok(());
    }
    let message = format!("this token does not allow that: it lacks the scope `{}`", scope.as_str());
    Err(TurnedAway::new(ErrorCode::Forbidden, "scope", message))
}
