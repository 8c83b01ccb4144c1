//! Where the primary is: at one address, or wherever the sentinels say.

use std::{fmt, pin::Pin, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult,
    TlsCertificates, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use secrecy::ExposeSecret as _;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    error::{redacted, shown_address},
    settings::RedisSettings,
};
use crate::bus::BusError;

/// Port of a sentinel whose address tells none.
const SENTINEL_PORT: u16 = 26379;
/// Longest search for the primary: a sentinel that hangs costs 1.5 s before the next one's answer counts.
const SEARCH: Duration = Duration::from_millis(2500);

/// A search for the primary.
type Search<'a> = Pin<Box<dyn Future<Output = RedisResult<Client>> + Send + 'a>>;

/// The way to the primary.
pub(super) enum Route {
    /// It has an address.
    One(Box<Client>),
    /// Sentinels know it.
    Sentinels(Mutex<Sentinels>),
}

/// Whom to ask, and what they said last and when.
pub(super) struct Sentinels {
    client: SentinelClient,
    last: Option<(Instant, Client)>,
}

impl Sentinels {
    /// The primary; who waited for somebody else's search has its outcome.
    async fn primary(&mut self, asked: Instant) -> RedisResult<Client> {
        if let Some((at, client)) = &self.last
            && *at >= asked
        {
            return Ok(client.clone());
        }
        let client = self.client.async_get_client().await?;
        self.last = Some((Instant::now(), client.clone()));
        Ok(client)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_move() { "Sentinels" } else { "One" })
    }
}

impl Route {
    /// The way, and the URL without its password.
    pub(super) fn new(settings: &RedisSettings) -> Result<(Self, String), BusError> {
        let url = settings.url.expose_secret();
        let certificates = settings.certificates.clone();
        let found = match url.split_once("://") {
            Some(("redis+sentinel", rest)) => by_sentinels("redis", rest, certificates),
            Some(("rediss+sentinel", rest)) => by_sentinels("rediss", rest, certificates),
            _ => at_one_address(url, certificates),
        };
        found.map_err(|reason| BusError::Url { url: redacted(url), reason })
    }

    /// Whether the primary may be elsewhere later.
    pub(super) fn may_move(&self) -> bool {
        matches!(self, Self::Sentinels(_))
    }

    /// The primary, as it is now. A server that a sentinel names is asked whether it is one.
    pub(super) async fn primary(&self) -> RedisResult<Client> {
        match self {
            Self::One(client) => Ok(Client::clone(client)),
            Self::Sentinels(sentinels) => {
                // Boxed: what the crate does here nests deeper than the compiler follows into the futures that wait for it.
                let asked = Instant::now();
                let search: Search<'_> = Box::pin(async move { sentinels.lock().await.primary(asked).await });
                timeout(SEARCH, search).await.unwrap_or_else(|_| {
                    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no sentinel answers in time").into())
                })
            }
        }
    }
}

/// The words of the redis crate for what is wrong with a URL.
fn words(error: RedisError) -> String {
    error.detail().unwrap_or_else(|| error.category()).to_owned()
}

/// Parses a URL of one server, without certificates.
fn parse(url: &str) -> Result<ConnectionInfo, String> {
    // The crate's own words may quote a part of the URL.
    let info = url.into_connection_info().map_err(|error| error.category().to_owned())?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        let reason = "`#insecure` is not supported: trust a private authority by REDIS_TLS_CA instead";
        return Err(reason.to_owned());
    }
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    Ok(info.set_redis_settings(settings))
}

fn at_one_address(url: &str, certificates: Option<TlsCertificates>) -> Result<(Route, String), String> {
    let info = parse(url)?;
    let client = match (info.addr(), certificates) {
        (ConnectionAddr::TcpTls { .. }, Some(certificates)) => Client::build_with_tls(info, certificates),
        (_, Some(_)) => return Err(NO_TLS.to_owned()),
        (_, None) => Client::open(info),
    };
    let client = client.map_err(words)?;
    let shown = shown_address(&client);
    Ok((Route::One(Box::new(client)), shown))
}

const NO_TLS: &str = "REDIS_TLS_CA, REDIS_TLS_CERT and REDIS_TLS_KEY are for rediss:// and rediss+sentinel://";

/// `[user:password@]host[:port],…/name[/database][?sentinel_username=…&sentinel_password=…]`, after the scheme.
fn by_sentinels(scheme: &str, rest: &str, certificates: Option<TlsCertificates>) -> Result<(Route, String), String> {
    let tls = scheme == "rediss";
    if !tls && certificates.is_some() {
        return Err(NO_TLS.to_owned());
    }
    let parts = Parts::of(rest)?;
    let mut sentinels = Vec::new();
    for host in &parts.hosts {
        sentinels.push(parse(&format!("{scheme}://{}{host}/", parts.sentinel_user))?);
    }
    let server = parse(&format!("{scheme}://{}server/{}", parts.user, parts.database))?;
    let addresses: Vec<_> = sentinels.iter().map(|info| info.addr().clone()).collect();
    let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let shown = format!("{scheme}+sentinel://{shown}/{}/{}", parts.name, server.redis_settings().db());
    let mut builder = SentinelClientBuilder::new(addresses, parts.name, SentinelServerType::Master).map_err(words)?;
    let of_sentinels = sentinels.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
    if let Some(user) = of_sentinels.username() {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = of_sentinels.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    let of_server = server.redis_settings();
    if let Some(user) = of_server.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = of_server.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    builder = builder.set_client_to_redis_db(of_server.db()).set_client_to_redis_protocol(ProtocolVersion::RESP2);
    if tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder.set_client_to_redis_certificates(certificates.clone());
        builder = builder.set_client_to_sentinel_certificates(certificates);
    }
    let client = builder.build().map_err(words)?;
    Ok((Route::Sentinels(Mutex::new(Sentinels { client, last: None })), shown))
}

/// The parts of a URL of sentinels, percent-encoded as they were.
struct Parts<'a> {
    /// `user:password@`, or nothing.
    user: &'a str,
    hosts: Vec<String>,
    name: &'a str,
    database: &'a str,
    /// `user:password@` for the sentinels themselves, or nothing.
    sentinel_user: String,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, String> {
        if rest.contains('#') {
            return Err("nothing may follow a `#`".to_owned());
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, hosts) = authority.split_at(at);
        let (name, database) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return Err("it lacks the name that the sentinels have for the primary: …/NAME".to_owned());
        }
        let hosts = hosts.split(',').map(with_port).collect();
        Ok(Self { user, hosts, name, database, sentinel_user: sentinel_user(query)? })
    }
}

/// A sentinel's address with its port.
fn with_port(host: &str) -> String {
    let last_colon = host.rfind(':');
    if last_colon > host.rfind(']') { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
}

fn sentinel_user(query: &str) -> Result<String, String> {
    let (mut user, mut password) = ("", "");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_username", value)) => user = value,
            Some(("sentinel_password", value)) => password = value,
            _ => return Err("after `?` only sentinel_username and sentinel_password are known".to_owned()),
        }
    }
    Ok(if password.is_empty() { String::new() } else { format!("{user}:{password}@") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        Route::new(&RedisSettings::of(url)).map(|(_, shown)| shown).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_of_sentinels_are_read_and_shown_without_passwords() {
        for (url, wanted) in [
            ("redis+sentinel://a:1,b:2,c:3/main", "redis+sentinel://a:1,b:2,c:3/main/0"),
            ("redis+sentinel://a,[::1],[::1]:7/main/4", "redis+sentinel://a:26379,::1:26379,::1:7/main/4"),
            ("redis+sentinel://gateway:hush@a/main", "redis+sentinel://a:26379/main/0"),
            ("redis+sentinel://:hush@a/main?sentinel_password=hush", "redis+sentinel://a:26379/main/0"),
            ("rediss+sentinel://a/main?sentinel_username=u&sentinel_password=hush", "rediss+sentinel://a:26379/main/0"),
        ] {
            assert_eq!(shown(url).unwrap(), wanted, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_passwords() {
        for (url, why) in [
            ("redis+sentinel://:hush@a:1,b:2", "name"),
            ("redis+sentinel://:hush@a:1,b:2/", "name"),
            ("redis+sentinel://:hush@a:port/main", ""),
            ("redis+sentinel://:hush@a:1,,b:2/main", ""),
            ("redis+sentinel://:hush@a/main/x", ""),
            ("redis+sentinel://:hush@a/main?sentinel_pass=hush", "sentinel_password"),
            ("rediss+sentinel://:hush@a/main#insecure", "#"),
            ("rediss://:hush@a/#insecure", "REDIS_TLS_CA"),
        ] {
            let said = shown(url).unwrap_err();
            assert!(said.contains(why) && !said.contains("hush"), "{url}: {said}");
        }
    }
}
