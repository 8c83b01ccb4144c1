//! Where no secret may be: in an image, in a command line, in a file of the repository.

use regex::Regex;

/// Values of options for secrets that are none: a user who may ask for PING and nothing else.
const PUBLIC: [&str; 1] = ["health"];

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the value of a setting with this name is a secret. `…_FILE` only says where one is.
pub(super) fn is_secret(key: &str) -> bool {
    let secret = pattern(r"(?i)SECRET|PASSWORD|PASSWD|TOKEN|SENTRY_DSN|HEADERS|DATABASE_URL|API_?KEY|CREDENTIAL");
    secret.is_match(key) && !key.ends_with("_FILE") && !key.ends_with("_DIR")
}

/// What is wrong with a command line: `ps` and `docker inspect` show all of it.
pub(super) fn in_command(line: &str) -> Option<String> {
    let option = pattern(r"(?:^|\s)(--?(?:token|requirepass|pass|password|masterauth|auth|a))(?:\s+|=)(\S+)");
    let given = option.captures_iter(line).find(|found| !PUBLIC.contains(&&found[2]) && !names_a_file(&found[2]));
    if let Some(found) = given {
        return Some(format!("a secret in the command line, behind {}", &found[1]));
    }
    let named = pattern(r"\$+\{?([A-Za-z_][A-Za-z0-9_]*)");
    let named = named.captures_iter(line).find(|found| is_secret(&found[1]) || &found[1] == "REDIS_URL");
    named.map(|found| format!("{} in the command line", &found[1]))
}

fn names_a_file(word: &str) -> bool {
    word.starts_with('/')
}

/// What is wrong with a setting as it stands in a file: a secret has to come from outside.
pub(super) fn in_setting(key: &str, value: &str) -> Option<String> {
    let from_outside = pattern(r"^(\$\{[A-Z0-9_]+(:?[-?][^}]*)?\}|\$[A-Z0-9_]+|%d/.*)?$");
    let with_default = pattern(r":?-[^}?]+\}$");
    if is_secret(key) && (!from_outside.is_match(value) || with_default.is_match(value)) {
        return Some(format!("{key} in the open"));
    }
    pattern(r"://[^/@\s$]*:[^/@\s$]+@").is_match(value).then(|| format!("{key} holds a password"))
}

#[test]
fn secrets_are_told_from_what_only_says_where_they_are() {
    for key in ["JWT_SECRET", "TUNNEL_TOKEN", "POSTGRES_PASSWORD", "OTEL_EXPORTER_OTLP_HEADERS", "DATABASE_URL"] {
        assert!(is_secret(key) && !is_secret(&format!("{key}_FILE")), "{key}");
    }
    assert!(!is_secret("MODEL_SIZE") && !is_secret("SECRETS_DIR"));
    for line in ["x --token eyJh", "redis-cli -a hunter2 ping", "redis-server --requirepass=x", "sh -c 'f $JWT_SECRET'"]
    {
        assert!(in_command(line).is_some(), "{line}");
    }
    for line in
        ["x --token-file /run/t", "redis-cli --user health --pass health ping", "x --auth-per-minute 3", "x $PORT"]
    {
        assert_eq!(in_command(line), None, "{line}");
    }
    for (key, value) in [("JWT_SECRET", "abc"), ("JWT_SECRET", "${JWT_SECRET:-abc}"), ("X", "redis://me:pw@redis")] {
        assert!(in_setting(key, value).is_some(), "{key}={value}");
    }
    for (key, value) in
        [("JWT_SECRET", "${JWT_SECRET:-}"), ("JWT_SECRET", ""), ("X", "redis://redis:6379"), ("X", "a:b@c")]
    {
        assert_eq!(in_setting(key, value), None, "{key}={value}");
    }
}
