//! Settings: what is refused before anything starts.

use super::*;
use crate::Scope;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn faults<const N: usize>(pairs: [(&str, &str); N]) -> String {
    let mut env = Env::of(pairs);
    let config = IdentityConfig::from_env(&mut env);
    let faults = env.finish().map_or_else(|error| error.to_string(), |()| String::new());
    assert!(!format!("{config:?}{faults}").contains(SECRET), "a secret is shown");
    faults
}

#[test]
fn nothing_has_to_be_set_for_a_file_and_a_secret_for_a_server() {
    assert_eq!(faults([]), "");
    assert!(faults([("DATABASE_URL", "postgres://u:p@h/d")]).contains("AUTH_SECRET"));
    assert_eq!(faults([("DATABASE_URL", "postgres://u:p@h/d"), ("AUTH_SECRET", SECRET)]), "");
    assert!(faults([("AUTH_SECRET", "short")]).contains("AUTH_SECRET: shorter"));
    assert!(faults([("JWT_SECRET", "short")]).contains("JWT_SECRET: shorter"));
    assert!(faults([("DATABASE_URL", "sqlite::memory:")]).contains("DATABASE_URL"));
    assert!(faults([("PUBLIC_URL", "captions")]).contains("PUBLIC_URL=captions"));
}

#[test]
fn the_file_lies_in_the_state_directory() {
    let url = |pairs: [(&str, &str); 1]| {
        IdentityConfig::from_env(&mut Env::of(pairs)).database_url.expose_secret().to_owned()
    };
    assert_eq!(url([("X", "")]), "sqlite:subtide.db");
    assert_eq!(url([("STATE_DIRECTORY", "/var/lib/subtide:/var/lib/more")]), "sqlite:/var/lib/subtide/subtide.db");
}

#[test]
fn trusted_issuers_are_pairs_or_json() {
    let pairs = parse_issuers("https://a.example|captions, https://b.example|x|stream admin").unwrap();
    assert_eq!((pairs[0].issuer.as_str(), pairs[0].audience.as_str()), ("https://a.example", "captions"));
    assert!(!pairs[0].scopes.has(Scope::Admin) && pairs[1].scopes.has(Scope::Admin));
    let json = parse_issuers(r#"[{"issuer": "https://a.example", "audience": "captions"}]"#).unwrap();
    assert_eq!(json[0], pairs[0]);
    for bad in ["https://a.example", "http://a.example|x", "https://a.example|", "https://a.example|x|root", "[{}]"] {
        assert!(parse_issuers(bad).is_err(), "{bad}");
    }
    assert!(parse_issuers("http://127.0.0.1:9000|x").is_ok());
}

#[test]
fn texts_are_kept_only_where_it_says_for_how_long() {
    let kept =
        |text: &str| IdentityConfig::from_env(&mut Env::of([("TRANSCRIPT_RETENTION", text)])).transcript_retention;
    assert_eq!(IdentityConfig::from_env(&mut Env::of([])).transcript_retention, None);
    assert_eq!((kept("0d"), kept("2d")), (None, Some(Duration::from_secs(172_800))));
    assert!(faults([("TRANSCRIPT_RETENTION", "forever")]).contains("TRANSCRIPT_RETENTION=forever"));
    assert_eq!(parse_duration("12h"), Some(Duration::from_secs(43_200)));
    for bad in ["", "d", "-1d", "1.5h", "5é", "99999999999999999999d"] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
}

#[test]
fn a_secret_of_its_own_is_made_once_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let config = IdentityConfig::at(&format!("sqlite:{}/people.db", directory.path().display()));
    let made = config.auth_secret().unwrap();
    assert_eq!(made.expose_secret().len(), 43);
    assert_eq!(config.auth_secret().unwrap().expose_secret(), made.expose_secret());
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(directory.path().join(AUTH_SECRET_FILE), "short").unwrap();
    assert!(config.auth_secret().is_err_and(|error| error.to_string().contains("auth-secret")));
}
