//! People, sign-ins and keys: the same tests against SQLite and PostgreSQL, and with Redis what several gateways hear of
//! each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use identity::{
    Clock, IdentityConfig, People, Person, ProviderIdentity, Refused, Scopes, Tokens, api_keys::NewApiKey,
    database::Transcript,
};
use shared::bus::{Bus, MemoryBus};
use tempfile::TempDir;
use tests::postgres::PostgresServer;
use tokio::task::JoinSet;

#[path = "people/on_redis.rs"]
mod on_redis;

const ADDRESS: &str = "192.0.2.7";
/// Who does the same at the same time.
const CROWD: usize = 100;
const DAY: u64 = 24 * 3600;

/// One database, and the gateways on it.
struct Place {
    config: IdentityConfig,
    clock: Clock,
    bus: Arc<dyn Bus>,
    _directory: TempDir,
    _server: Option<PostgresServer>,
}

impl Place {
    fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = IdentityConfig::at(&format!("sqlite:{}", directory.path().join("people.db").display()));
        Self::of(config, directory, None)
    }

    /// `None`, said aloud, where there is no PostgreSQL.
    async fn on_postgres() -> Option<Self> {
        let server = PostgresServer::spawn().await?;
        let mut config = IdentityConfig::at(&server.url());
        config.auth_secret = Some("a secret of at least thirty-two bytes".into());
        Some(Self::of(config, tempfile::tempdir().unwrap(), Some(server)))
    }

    fn of(config: IdentityConfig, directory: TempDir, server: Option<PostgresServer>) -> Self {
        let bus = Arc::new(MemoryBus::default());
        Self { config, clock: Clock::default(), bus, _directory: directory, _server: server }
    }

    /// A gateway's.
    async fn people(&self) -> People {
        People::open(&self.config, Vec::new(), self.bus.clone(), self.clock.clone()).await.unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn somebody(n: usize) -> ProviderIdentity {
    ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: n.to_string(),
        verified_email: Some(format!("person{n}@example.com")),
        name: None,
    }
}

async fn sign_in(people: &People) -> Tokens {
    people.sign_in(&somebody(1), "laptop", ADDRESS).await.unwrap()
}

async fn refresh(people: &People, token: &str) -> Result<Tokens, Refused> {
    people.refresh(token, ADDRESS).await
}

async fn of_many_refreshes_of_one_token_all_get_the_same_successor(place: &Place) {
    let gateways = [place.people().await, place.people().await];
    let first = sign_in(&gateways[0]).await;
    for round in 0..3 {
        let mut token = first.refresh_token.clone();
        if round > 0 {
            token = sign_in(&gateways[0]).await.refresh_token;
        }
        let mut crowd = JoinSet::new();
        for n in 0..CROWD {
            let (people, token) = (gateways[n % 2].clone(), token.clone());
            crowd.spawn(async move { refresh(&people, &token).await.unwrap() });
        }
        let answers = crowd.join_all().await;
        let successors: BTreeSet<_> = answers.iter().map(|tokens| tokens.refresh_token.clone()).collect();
        assert_eq!((answers.len(), successors.len()), (CROWD, 1));
        for answer in &answers {
            gateways[1].verify(&answer.access_token).await.unwrap();
        }
        let next = refresh(&gateways[1], successors.first().unwrap()).await.unwrap();
        assert_ne!(&next.refresh_token, successors.first().unwrap());
    }
}

async fn the_token_before_leads_to_the_same_successor_for_a_short_while(place: &Place) {
    let people = place.people().await;
    let first = sign_in(&people).await;
    let second = refresh(&people, &first.refresh_token).await.unwrap();
    assert_eq!(refresh(&people, &first.refresh_token).await.unwrap().refresh_token, second.refresh_token);
    place.pass(11);
    assert_eq!(refresh(&people, &first.refresh_token).await.unwrap_err(), Refused::Revoked);
    assert_eq!(refresh(&people, &second.refresh_token).await.unwrap_err(), Refused::Revoked);
    assert_eq!(people.verify(&second.access_token).await, Err(Refused::Revoked));
    let audit = people.audit_log(10).await.unwrap();
    assert!(audit.iter().any(|row| (row.what.as_str(), row.outcome.as_str()) == ("refresh", "reused")), "{audit:?}");
    let ended = people.sign_ins_of(&first.person.id).await.unwrap();
    assert_eq!(ended[0].reason.as_deref(), Some("reuse"));
}

async fn an_older_token_revokes_its_family_even_within_the_grace(place: &Place) {
    let people = place.people().await;
    let other = sign_in(&people).await;
    let first = sign_in(&people).await;
    let second = refresh(&people, &first.refresh_token).await.unwrap();
    let third = refresh(&people, &second.refresh_token).await.unwrap();
    assert_eq!(refresh(&people, &first.refresh_token).await.unwrap_err(), Refused::Revoked);
    assert_eq!(refresh(&people, &third.refresh_token).await.unwrap_err(), Refused::Revoked);
    refresh(&people, &other.refresh_token).await.unwrap();
}

async fn when_many_show_an_old_token_the_family_is_revoked_once(place: &Place) {
    let people = place.people().await;
    let first = sign_in(&people).await;
    let second = refresh(&people, &first.refresh_token).await.unwrap();
    refresh(&people, &second.refresh_token).await.unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (people, token) = (people.clone(), first.refresh_token.clone());
        crowd.spawn(async move { refresh(&people, &token).await.unwrap_err() });
    }
    assert!(crowd.join_all().await.iter().all(|refused| *refused == Refused::Revoked));
    let reused = people.audit_log(1000).await.unwrap().into_iter().filter(|row| row.outcome == "reused");
    assert_eq!(reused.count(), 1);
}

async fn a_sign_in_ends_when_it_rests_or_is_old(place: &Place) {
    let people = place.people().await;
    let resting = sign_in(&people).await;
    place.pass(14 * DAY);
    assert_eq!(refresh(&people, &resting.refresh_token).await.unwrap_err(), Refused::Expired);
    let mut tokens = sign_in(&people).await;
    for _ in 0..2 {
        place.pass(13 * DAY);
        tokens = refresh(&people, &tokens.refresh_token).await.unwrap();
    }
    place.pass(4 * DAY);
    assert_eq!(refresh(&people, &tokens.refresh_token).await.unwrap_err(), Refused::Expired);
    people.forget_old().await.unwrap();
    assert!(matches!(refresh(&people, &tokens.refresh_token).await, Err(Refused::Invalid(_))));
    assert!(people.sign_ins_of(&tokens.person.id).await.unwrap().is_empty());
}

async fn what_is_no_refresh_token_is_refused(place: &Place) {
    let people = place.people().await;
    let tokens = sign_in(&people).await;
    let cut = tokens.refresh_token[..tokens.refresh_token.len() - 1].to_owned();
    let long = format!("{}{}", tokens.refresh_token, "A".repeat(1000));
    let bad = ["", "srt_", "srt_\u{0}", "srt_' OR '1'='1", &tokens.access_token, &cut, &long];
    for token in bad {
        assert!(matches!(refresh(&people, token).await, Err(Refused::Invalid(_))), "{token}");
    }
    refresh(&people, &tokens.refresh_token).await.unwrap();
}

async fn a_person_is_the_same_whatever_they_are_called(place: &Place) {
    let people = place.people().await;
    let first = sign_in(&people).await.person;
    let renamed = ProviderIdentity { verified_email: None, name: Some("Ana \u{1f600}".to_owned()), ..somebody(1) };
    let second = people.sign_in(&renamed, "dev\u{7}ice", ADDRESS).await.unwrap().person;
    assert_eq!(second, Person { id: first.id.clone(), email: None, name: renamed.name.clone() });
    let elsewhere = ProviderIdentity { issuer: "https://other.example".to_owned(), ..somebody(1) };
    let other = people.sign_in(&elsewhere, "laptop", ADDRESS).await.unwrap().person;
    assert_ne!(other.id, first.id);
    assert_eq!(people.person(&first.id).await.unwrap(), Some(second));
    assert_eq!(people.person("key:1").await.unwrap(), None);
    let mut found: Vec<_> = people.find("PERSON1@example.com").await.unwrap().into_iter().map(|row| row.id).collect();
    found.extend(people.find(&first.id).await.unwrap().into_iter().map(|row| row.id));
    assert_eq!(found, [other.id.clone(), first.id.clone()]);
    let page = people.list("", 1).await.unwrap();
    let rest = people.list(&page[0].id, 10).await.unwrap();
    let ids: BTreeSet<_> = page.iter().chain(&rest).map(|row| row.id.clone()).collect();
    assert_eq!((page.len(), rest.len(), ids), (1, 1, BTreeSet::from([first.id, other.id])));
    assert_eq!(people.sign_ins_of(&found[1]).await.unwrap().len(), 2);
}

async fn of_gateways_that_start_at_once_one_makes_the_key(place: &Place) {
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let (config, bus, clock) = (place.config.clone(), place.bus.clone(), place.clock.clone());
        crowd.spawn(async move { People::open(&config, Vec::new(), bus, clock).await.unwrap() });
    }
    let gateways = crowd.join_all().await;
    let tokens = sign_in(&gateways[0]).await;
    for people in &gateways {
        people.verify(&tokens.access_token).await.unwrap();
        assert_eq!(people.jwks().await.unwrap()["keys"].as_array().unwrap().len(), 1);
    }
    let kid = gateways[1].rotate_signing_key().await.unwrap();
    assert_eq!(gateways[2].rotate_signing_key().await.unwrap(), kid);
    assert!(gateways[3].drop_signing_key(&kid).await.unwrap());
}

async fn usage_of_many_adds_up(place: &Place) {
    let gateways = [place.people().await, place.people().await];
    let mut crowd = JoinSet::new();
    for n in 0..CROWD {
        let people = gateways[n % 2].clone();
        crowd.spawn(async move { people.used(if n % 4 == 0 { "a" } else { "b" }, 10).await });
    }
    crowd.join_all().await;
    let rows = gateways[0].usage_of(None).await.unwrap();
    let usage: Vec<_> = rows.iter().map(|row| (row.subject.as_str(), row.audio_ms)).collect();
    assert_eq!(usage, [("b", 750), ("a", 250)]);
    assert_eq!(gateways[1].used_today("a").await.unwrap(), 250);
}

async fn keys_of_machines_are_kept(place: &Place) {
    let people = place.people().await;
    let scopes: Scopes = "stream batch".parse().unwrap();
    let expires = Some(place.clock.now() + 1000);
    let new = NewApiKey { label: "archive".to_owned(), owner: "ana".to_owned(), scopes, expires };
    let made = people.create_api_key(new).await.unwrap();
    assert_eq!(people.verify(&made.key).await.unwrap().expires, expires);
    let row = people.api_keys().await.unwrap().remove(0);
    assert_eq!((row.label.as_str(), row.scopes.as_str()), ("archive", "stream batch"));
    assert!(row.last_used.is_some() && row.revoked_at.is_none());
    assert!(people.revoke_api_key(&made.id).await.unwrap());
    assert_eq!(people.verify(&made.key).await, Err(Refused::Revoked));
}

async fn what_is_old_is_forgotten(place: &Place) {
    let mut config = place.config.clone();
    config.transcript_retention = Some(Duration::from_secs(DAY));
    let people = People::open(&config, Vec::new(), place.bus.clone(), place.clock.clone()).await.unwrap();
    let said = Transcript {
        session: "s",
        subject: "a",
        utterance: u64::MAX,
        language: "en",
        target: None,
        text: "a\u{1f600}",
    };
    assert!(people.keep_transcript(said).await.unwrap());
    let tokens = sign_in(&people).await;
    people.sign_out(&tokens.refresh_token).await.unwrap();
    people.forget_old().await.unwrap();
    assert_eq!((people.transcripts().await.unwrap(), people.audit_log(10).await.unwrap().len()), (1, 2));
    place.pass(DAY + 1);
    people.forget_old().await.unwrap();
    assert_eq!((people.transcripts().await.unwrap(), people.audit_log(10).await.unwrap().len()), (0, 2));
    place.pass(90 * DAY);
    people.forget_old().await.unwrap();
    assert!(people.audit_log(10).await.unwrap().is_empty());
    people.ping().await.unwrap();
}

macro_rules! on_both_databases {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&super::Place::on_sqlite()).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(place) = super::Place::on_postgres().await {
                    super::$test(&place).await;
                }
            })*
        }
    };
}

on_both_databases! {
    of_many_refreshes_of_one_token_all_get_the_same_successor
    the_token_before_leads_to_the_same_successor_for_a_short_while
    an_older_token_revokes_its_family_even_within_the_grace
    when_many_show_an_old_token_the_family_is_revoked_once
    a_sign_in_ends_when_it_rests_or_is_old
    what_is_no_refresh_token_is_refused
    a_person_is_the_same_whatever_they_are_called
    of_gateways_that_start_at_once_one_makes_the_key
    usage_of_many_adds_up
    keys_of_machines_are_kept
    what_is_old_is_forgotten
}
