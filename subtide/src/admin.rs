//! `subtide admin`: what operators do about people, keys and tokens, on the database of the gateways.
//!
//! # Layout
//! - the commands, and what each asks of [`identity::People`]
//! - `answer`: rows as a table or as JSON

mod answer;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use identity::{
    Clock, IdentityConfig, People, Scopes,
    api_keys::NewApiKey,
    config::parse_duration,
    people::{MintError, MintRequest},
};
use serde_json::json;
use shared::{
    bus::{Bus, MemoryBus, RedisBus, RedisSettings},
    config::Env,
    telemetry::{self, LogConfig},
};

use self::answer::{Answer, say};

/// What an operator asks for.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
    /// JSON instead of a table; times are seconds since the Unix epoch
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum AdminCommand {
    /// People who signed in.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// API keys of machines.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Access tokens for a machine or a test.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// The keys that sign our tokens.
    Signing {
        #[command(subcommand)]
        command: SigningCommand,
    },
    /// Audio of a day by subject.
    Usage {
        /// YYYY-MM-DD, UTC; today when absent
        #[arg(long)]
        day: Option<String>,
    },
    /// Sign-ins and attempts, and what operators did; the newest first.
    Audit {
        /// How many
        #[arg(long, default_value_t = 50)]
        last: u32,
    },
    /// Ends one sign-in: its tokens and its live sessions.
    Revoke {
        /// Its id: the claim sid of its access tokens
        #[arg(long)]
        family: String,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum UsersCommand {
    /// Lists people in the order of their ids.
    List {
        /// Only those with greater ids: the last of the page before
        #[arg(long, default_value = "")]
        after: String,
        /// How many
        #[arg(long, default_value_t = 100)]
        count: u32,
    },
    /// Lets somebody in no more, and ends their sign-ins.
    Disable {
        /// Id or e-mail address
        who: String,
    },
    /// Lets somebody in again.
    Enable {
        /// Id or e-mail address
        who: String,
    },
    /// Ends all sign-ins of somebody.
    SignOut {
        /// Id or e-mail address
        who: String,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum KeysCommand {
    /// Makes a key, and shows it this once.
    Create {
        /// What it allows, separated by commas: stream, batch, admin
        #[arg(long, value_parser = scopes)]
        scopes: Scopes,
        /// What to call it
        #[arg(long)]
        label: String,
        /// Who answers for it
        #[arg(long, default_value = "")]
        owner: String,
        /// When it ends, from now: 90d, 12h; never when absent
        #[arg(long, value_parser = duration)]
        expires: Option<Duration>,
    },
    /// Lists keys, without their secrets.
    List,
    /// Takes a key back, and ends its live sessions.
    Revoke {
        /// Its id: what stands between stk_ and the next _
        id: String,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum TokenCommand {
    /// Mints an access token.
    Mint {
        /// Whose limits and usage count: letters, digits and : _ -
        #[arg(long)]
        subject: String,
        /// What it allows, separated by commas: stream, batch, admin
        #[arg(long, value_parser = scopes, default_value = "stream")]
        scopes: Scopes,
        /// How long it is good, at most 1h
        #[arg(long = "for", value_parser = duration, default_value = "10m")]
        life: Duration,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum SigningCommand {
    /// Makes the next key: published now, signing in five minutes.
    Rotate,
    /// Lists the keys, the newest first.
    List,
    /// Takes a key out of use in an emergency: no token signed with it is good, within a minute everywhere.
    Drop {
        /// Its name
        kid: String,
    },
}

fn scopes(text: &str) -> Result<Scopes, String> {
    let scopes: Scopes = text.replace(',', " ").parse()?;
    if scopes == Scopes::default() {
        Err("name at least one of stream, batch and admin".to_owned())
    } else {
        Ok(scopes)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a number and one of d, h, m, s, such as 90d or 10m".to_owned())
}

/// Where people are, and where gateways hear of what is revoked.
struct Desk {
    people: People,
    clock: Clock,
    /// Whether gateways on Redis hear of it.
    on_redis: bool,
}

/// Does what was asked, and prints the answer.
///
/// # Errors
/// When the configuration, the database or Redis cannot be used, or there is nothing of that name.
pub async fn run(args: AdminArgs) -> anyhow::Result<()> {
    let mut env = Env::process();
    let log = LogConfig::from_env(&mut env, "warn");
    let config = IdentityConfig::from_env(&mut env);
    let redis = RedisSettings::from_env(&mut env);
    env.finish()?;
    telemetry::init(&log);
    let desk = Desk::open(&config, redis).await?;
    desk.answer(args.command).await?.print(args.json)
}

impl Desk {
    async fn open(config: &IdentityConfig, redis: Option<RedisSettings>) -> anyhow::Result<Self> {
        let on_redis = redis.is_some();
        let bus: Arc<dyn Bus> = match redis {
            Some(redis) => Arc::new(RedisBus::open(&redis).await?),
            None => Arc::new(MemoryBus::default()),
        };
        let clock = Clock::default();
        let people = People::open(config, Vec::new(), bus, clock.clone()).await?;
        Ok(Self { people, clock, on_redis })
    }

    async fn answer(&self, command: AdminCommand) -> anyhow::Result<Answer> {
        match command {
            AdminCommand::Users { command } => self.users(command).await,
            AdminCommand::Keys { command } => self.keys(command).await,
            AdminCommand::Token { command: TokenCommand::Mint { subject, scopes, life } } => {
                self.mint(MintRequest { subject, scopes, life }).await
            }
            AdminCommand::Signing { command } => self.signing(command).await,
            AdminCommand::Usage { day } => {
                let mut answer = Answer::table(["subject", "day", "audio_ms"]);
                for row in self.people.usage_of(day.as_deref()).await.context(NO_ANSWER)? {
                    answer.row([json!(row.subject), json!(row.day), json!(row.audio_ms)]);
                }
                Ok(answer)
            }
            AdminCommand::Audit { last } => {
                let mut answer = Answer::table(["at", "what", "outcome", "person", "address", "request"]);
                for row in self.people.audit_log(last).await.context(NO_ANSWER)? {
                    let (person, address, request) = (json!(row.person), json!(row.address), json!(row.request));
                    answer.row([json!(row.at), json!(row.what), json!(row.outcome), person, address, request]);
                }
                Ok(answer)
            }
            AdminCommand::Revoke { family } => {
                let known = self.people.revoke_family(&family).await.context(HALF_DONE)?;
                self.say_who_hears();
                let what = if known { "ended" } else { "ended, if a token of it is about; no sign-in has this id" };
                Ok(Answer::done("family", &family, what))
            }
        }
    }

    async fn users(&self, command: UsersCommand) -> anyhow::Result<Answer> {
        match command {
            UsersCommand::List { after, count } => {
                let mut answer = Answer::table(["id", "email", "name", "disabled", "created", "last_seen"]);
                for row in self.people.list(&after, count).await.context(NO_ANSWER)? {
                    let times = [json!(row.created), json!(row.last_seen)];
                    let [created, last_seen] = times;
                    let (email, name) = (json!(row.email), json!(row.name));
                    answer.row([json!(row.id), email, name, json!(row.disabled), created, last_seen]);
                }
                Ok(answer)
            }
            UsersCommand::Disable { who } => {
                let id = self.one_person(&who).await?;
                self.people.disable(&id).await.context(HALF_DONE)?;
                self.say_who_hears();
                Ok(Answer::done("user", &id, "disabled"))
            }
            UsersCommand::Enable { who } => {
                let id = self.one_person(&who).await?;
                self.people.enable(&id).await.context(HALF_DONE)?;
                Ok(Answer::done("user", &id, "enabled"))
            }
            UsersCommand::SignOut { who } => {
                let id = self.one_person(&who).await?;
                self.people.sign_out_everywhere(&id).await.context(HALF_DONE)?;
                self.say_who_hears();
                Ok(Answer::done("user", &id, "signed out everywhere"))
            }
        }
    }

    /// The id of the one person with this id or e-mail address: one address may be that of several, at several providers.
    async fn one_person(&self, who: &str) -> anyhow::Result<String> {
        let mut found = self.people.find(who).await.context(NO_ANSWER)?;
        match found.len() {
            0 => bail!("there is nobody with this id or e-mail address; see `subtide admin users list`"),
            1 => Ok(found.remove(0).id),
            more => {
                let ids: Vec<_> = found.into_iter().map(|row| format!("{} ({})", row.id, row.issuer)).collect();
                bail!("there are {more} people with this e-mail address; name one by id: {}", ids.join(", "))
            }
        }
    }

    async fn keys(&self, command: KeysCommand) -> anyhow::Result<Answer> {
        match command {
            KeysCommand::Create { scopes, label, owner, expires } => {
                let expires = expires.map(|life| self.clock.now().saturating_add(life.as_secs()));
                let new = NewApiKey { label, owner, scopes, expires };
                let made = self.people.create_api_key(new).await.context(NO_ANSWER)?;
                say("keep the key now: it is shown only this once");
                let mut answer = Answer::table(["id", "key"]);
                answer.row([json!(made.id), json!(made.key)]);
                Ok(answer)
            }
            KeysCommand::List => {
                let columns = ["id", "label", "owner", "scopes", "created", "last_used", "expires", "revoked_at"];
                let mut answer = Answer::table(columns);
                for row in self.people.api_keys().await.context(NO_ANSWER)? {
                    let [created, used] = [json!(row.created), json!(row.last_used)];
                    let [expires, revoked] = [json!(row.expires), json!(row.revoked_at)];
                    let [label, owner, scopes] = [json!(row.label), json!(row.owner), json!(row.scopes)];
                    answer.row([json!(row.id), label, owner, scopes, created, used, expires, revoked]);
                }
                Ok(answer)
            }
            KeysCommand::Revoke { id } => {
                let known = self.people.revoke_api_key(&id).await.context(HALF_DONE)?;
                ensure!(known, "there is no API key with this id that is not revoked yet");
                self.say_who_hears();
                Ok(Answer::done("key", &id, "revoked"))
            }
        }
    }

    async fn mint(&self, request: MintRequest) -> anyhow::Result<Answer> {
        let minted = self.people.mint(&request).await;
        let token = minted.map_err(|error| match error {
            MintError::Refused(_) => anyhow::Error::from(error).context(NO_ANSWER),
            other => other.into(),
        })?;
        Ok(Answer::secret("token", token))
    }

    async fn signing(&self, command: SigningCommand) -> anyhow::Result<Answer> {
        match command {
            SigningCommand::Rotate => {
                let kid = self.people.rotate_signing_key().await.context(NO_ANSWER)?;
                Ok(Answer::done("kid", &kid, "published; it signs in five minutes"))
            }
            SigningCommand::List => {
                let mut answer = Answer::table(["kid", "state", "created", "active_from", "opens"]);
                for key in self.people.signing_keys().await.context(NO_ANSWER)? {
                    let [created, active_from] = [json!(key.created), json!(key.active_from)];
                    answer.row([json!(key.kid), json!(key.state), created, active_from, json!(key.opens)]);
                }
                Ok(answer)
            }
            SigningCommand::Drop { kid } => {
                let known = self.people.drop_signing_key(&kid).await.context(NO_ANSWER)?;
                ensure!(known, "there is no signing key of this name in use; see `subtide admin signing list`");
                Ok(Answer::done("kid", &kid, "dropped; out of use everywhere within a minute"))
            }
        }
    }

    fn say_who_hears(&self) {
        if !self.on_redis {
            say(
                "REDIS_URL is not set: a `subtide serve` on this database hears of it within a second, gateways on a Redis \
                 only when their tokens end, in ten minutes at most",
            );
        }
    }
}

const NO_ANSWER: &str = "the database did not answer; is DATABASE_URL right?";
const HALF_DONE: &str = "the database or Redis did not answer, and gateways may not have heard of it; ask again";
