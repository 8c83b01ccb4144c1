//! The rules of a tunnel: which paths reach the gateway, and that nothing else does.

use regex::Regex;
use yaml_serde::Value;

/// Where the gateway listens for clients, and where nothing else does.
const GATEWAY: &str = "http://gateway:5026";
const CATCH_ALL: &str = "http_status:404";

/// Beside the files of the page.
const OPEN: [&str; 14] = [
    "/",
    "/index.html",
    "/main.js",
    "/overlay",
    "/overlay/",
    "/icon.svg",
    "/v1/stream",
    "/v1/ticket",
    "/v1/me",
    "/v1/openapi.json",
    "/auth/login",
    "/auth/callback",
    "/auth/refresh",
    "/.well-known/jwks.json",
];
const CLOSED: [&str; 22] = [
    "/admin",
    "/admin/",
    "/admin/sessions",
    "/v1/admin",
    "/v1/admin/sessions",
    "/metrics",
    "/v1/metrics",
    "/livez",
    "/readyz",
    "/health",
    "/ready",
    "/v1/streams",
    "/x/v1/stream",
    "/v1/stream/x",
    "/auth/",
    "/auth/admin/x",
    "/x/auth/login",
    "/.well-known/openid-configuration",
    "/.env",
    "/../admin",
    "/x/main.js",
    "/main.js/admin",
];

/// Of a whole config.yml.
pub(super) fn faults(config: &Value) -> Vec<String> {
    let mut faults = rule_faults(config);
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    want(config["loglevel"] == "info", "loglevel is not info: at debug, headers with tokens are logged");
    want(config["no-autoupdate"] == true, "no-autoupdate is not true: a replica would replace itself");
    want(config["metrics"] == "0.0.0.0:2000", "metrics is not at 0.0.0.0:2000, where `ready` looks");
    want(config["credentials-file"].is_string(), "no credentials-file");
    for secret in ["token", "credentials-contents"] {
        want(config.get(secret).is_none(), &format!("a {secret} in the configuration"));
    }
    faults
}

/// What the gateway serves of `web-ui/page`, as a browser asks for it.
fn page_files() -> Vec<String> {
    let (root, mut found) = (tests::stack::repository().join("web-ui/page"), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.strip_prefix(&root) {
                Ok(_) if path.is_dir() => folders.push(path),
                // Types, which only checks read.
                Ok(file) if !file.to_string_lossy().ends_with(".d.ts") => found.push(format!("/{}", file.display())),
                _ => {}
            }
        }
    }
    assert!(found.len() > 50, "the page lies elsewhere: {found:?}");
    found
}

/// Of the rules alone, as both kinds of tunnel have them.
pub(super) fn rule_faults(config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    no_tls_verify(config, &mut faults);
    let rules: Vec<&Value> = config["ingress"].as_sequence().into_iter().flatten().collect();
    let Some((last, rules)) = rules.split_last() else { return vec!["there are no rules".to_owned()] };
    if last["service"] != CATCH_ALL || last.get("path").is_some() || last.get("hostname").is_some() {
        faults.push(format!("the last rule is not the catch-all {CATCH_ALL}"));
    }
    let mut patterns = Vec::new();
    for rule in rules {
        let service = rule["service"].as_str().unwrap_or_default();
        if service != GATEWAY {
            faults.push(format!("a rule leads to {service}"));
        }
        match rule["hostname"].as_str() {
            Some(name) if !name.contains('*') => {}
            name => faults.push(format!("a rule for any hostname: {name:?}")),
        }
        // cloudflared is written in Go; its regular expressions and these have one syntax and one meaning (RE2).
        match rule["path"].as_str().map(Regex::new) {
            Some(Ok(pattern)) => patterns.push(pattern),
            other => faults.push(format!("a rule for any path, or with none that can be read: {other:?}")),
        }
    }
    let passes = |path: &str| patterns.iter().any(|pattern| pattern.is_match(path));
    faults.extend(OPEN.iter().filter(|path| !passes(path)).map(|path| format!("{path} does not get through")));
    faults.extend(page_files().iter().filter(|path| !passes(path)).map(|path| format!("{path} does not get through")));
    faults.extend(CLOSED.iter().filter(|path| passes(path)).map(|path| format!("{path} gets through")));
    faults
}

fn no_tls_verify(value: &Value, faults: &mut Vec<String>) {
    match value {
        Value::Mapping(fields) => {
            for (key, value) in fields {
                if key == "noTLSVerify" {
                    faults.push("noTLSVerify: whoever gets in between reads everything".to_owned());
                }
                no_tls_verify(value, faults);
            }
        }
        Value::Sequence(values) => values.iter().for_each(|value| no_tls_verify(value, faults)),
        _ => {}
    }
}
