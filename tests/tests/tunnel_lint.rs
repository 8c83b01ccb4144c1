//! What a tunnel lets through, and how it is run: the rules of `cloudflared/` and of `infra/compose.yml`, held by a machine;
//! and the machine itself, held by bad examples.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "tunnel_lint/compose.rs"]
mod compose;
#[path = "tunnel_lint/ingress.rs"]
mod ingress;
#[path = "tunnel_lint/unit.rs"]
mod unit;

use tests::stack::repository;
use yaml_serde::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Merges within merges in compose.yml, and one more.
const MERGES: usize = 3;

/// YAML, or JSON, which is YAML too; with its merges made.
fn yaml(text: &str) -> Value {
    let mut value: Value = yaml_serde::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    for _ in 0..MERGES {
        value.apply_merge().unwrap();
    }
    value
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}

/// That `broken`, made from what is in the repository, has a fault that says `word`.
#[track_caller]
fn faulty(what: &str, faults: &[String], word: &str) {
    assert!(faults.iter().any(|fault| fault.contains(word)), "{what}: no fault says `{word}`: {faults:#?}");
}

/// `text` with `from` made `to`; `from` has to be there.
#[track_caller]
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not there any more");
    text.replacen(from, to, 1)
}

#[test]
fn the_named_tunnel_lets_through_what_it_should() {
    none(&ingress::faults(&yaml(&read("cloudflared/config.yml"))));
}

#[test]
fn the_tunnel_managed_from_cloudflare_has_the_same_rules() {
    let rules = yaml(&read("cloudflared/token/rules.json"));
    none(&ingress::rule_faults(&rules["config"]));
    assert_eq!(rules["config"]["ingress"], yaml(&read("cloudflared/config.yml"))["ingress"]);
}

#[test]
fn compose_publishes_one_port_and_pins_its_images() {
    none(&compose::faults(&yaml(&read("infra/compose.yml"))));
    none(&compose::override_faults(&yaml(&read("cloudflared/token/compose.yml"))));
}

#[test]
fn the_units_are_hardened_and_show_no_secret() {
    for file in ["cloudflared/systemd/cloudflared@.service", "cloudflared/systemd/cloudflared-token@.service"] {
        none(&unit::faults(&read(file)));
    }
}

#[test]
fn nothing_of_a_tunnel_that_is_secret_is_in_the_repository() {
    let mut git = std::process::Command::new("git");
    let listed = git.args(["ls-files", "cloudflared", "infra"]).current_dir(repository()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("cloudflared/config.yml"), "git lists the files: {listed}");
    let secret = |path: &&str| {
        path.ends_with("tunnel.json") || path.ends_with("/token") || path.ends_with(".pem") || path.ends_with("/.env")
    };
    assert_eq!(listed.lines().filter(secret).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn bad_rules_are_found() {
    let good = read("cloudflared/config.yml");
    let folders = "captions|history|history/export|host|link|overlay|people|privacy|sound|view|words|words/catalogues";
    let page = format!(r"path: ^/(overlay|(({folders})/)?([a-z-]+\.(html|js|css|svg))?)$");
    let page = page.as_str();
    for (from, to, word) in [
        ("  - service: http_status:404\n", "", "404"),
        ("  - service: http_status:404\n", "  - service: http://gateway:5026\n", "404"),
        ("originRequest:\n", "originRequest:\n  noTLSVerify: true\n", "noTLSVerify"),
        (
            "    service: http://gateway:5026\n",
            "    service: https://gateway:5026\n    originRequest: {noTLSVerify: true}\n",
            "noTLSVerify",
        ),
        ("service: http://gateway:5026", "service: http://redis:6379", "redis:6379"),
        ("service: http://gateway:5026", "service: http://gateway:8080", "gateway:8080"),
        ("loglevel: info", "loglevel: debug", "loglevel"),
        ("no-autoupdate: true", "no-autoupdate: false", "no-autoupdate"),
        ("metrics: 0.0.0.0:2000\n", "", "metrics"),
        ("credentials-file:", "token: eyJh\ncredentials-file:", "token"),
        (page, "path: ^/", "/metrics"),
        (page, r"path: ^/([a-z-]+)?$", "/metrics"),
        (page, r"path: /([a-z-]+\.(html|js|css|svg))?$", "/admin"),
        ("^/(auth/[a-z]+|", "^/(auth/[a-z]+|admin/[a-z]+|", "/admin/sessions"),
        ("(stream|ticket|me|", "(stream|me|", "/v1/ticket"),
        ("hostname: captions.example.com", "hostname: '*.example.com'", "hostname"),
    ] {
        faulty(to, &ingress::faults(&yaml(&with(&good, from, to))), word);
    }
}

#[test]
fn bad_compositions_are_found() {
    let good = read("infra/compose.yml");
    for (from, to, word) in [
        ("cloudflare/cloudflared:2025.6.1", "cloudflare/cloudflared:latest", "latest"),
        ("cloudflare/cloudflared:2025.6.1", "cloudflare/cloudflared", "version"),
        ("redis:7.2}", "redis:latest}", "latest"),
        ("ports: [\"127.0.0.1:", "ports: [\"0.0.0.0:", "publishes"),
        ("ports: [\"127.0.0.1:${GATEWAY_PORT:-5026}:5026\"]", "ports: [\"127.0.0.1:8080:8080\"]", "publishes"),
        ("    profiles: [tunnel]\n", "    profiles: [tunnel]\n    ports: [\"2000:2000\"]\n", "publishes"),
        ("    networks: [edge]\n", "    networks: [edge, back]\n", "back"),
        ("    networks: [edge]\n", "    network_mode: host\n", "network_mode"),
        ("    internal: true\n", "    internal: false\n", "internal"),
        ("        - subnet: ${EDGE_SUBNET:-172.30.0.0/24}\n", "        - driver_opts: {}\n", "subnet"),
        (
            "      TRUSTED_PROXIES: ${EDGE_CONTAINERS:-172.30.0.128/25}",
            "      TRUSTED_PROXIES: 0.0.0.0/0",
            "TRUSTED_PROXIES",
        ),
        ("      ADMIN_BIND: 127.0.0.1", "      ADMIN_BIND: 0.0.0.0", "ADMIN_BIND"),
        ("  cap_drop: [ALL]\n", "", "cap_drop"),
        ("  read_only: true\n", "", "read_only"),
        ("no-new-privileges:true", "apparmor:unconfined", "no-new-privileges"),
        (
            "    user: \"65532:65532\"\n    volumes: [\"../cloudflared",
            "    user: root\n    volumes: [\"../cloudflared",
            "root",
        ),
        ("cloudflared:/etc/cloudflared:ro\"", "cloudflared:/etc/cloudflared\"", "ro"),
        ("\"run\"]\n    user", "\"run\", \"--token\", \"x\"]\n    user", "--token"),
        ("cloudflared\", \"tunnel\", \"--metrics\", \"127.0.0.1:2000\", \"ready\"]", "true\"]", "ready"),
    ] {
        faulty(to, &compose::faults(&yaml(&with(&good, from, to))), word);
    }
    let token = read("cloudflared/token/compose.yml");
    for (from, to, word) in [
        ("TUNNEL_TOKEN_FILE: /etc/cloudflared/token/token", "TUNNEL_TOKEN: eyJh", "TUNNEL_TOKEN"),
        ("\"run\"]", "\"run\", \"--token\", \"eyJh\"]", "--token"),
        ("\"--loglevel\", \"info\", ", "\"--loglevel\", \"debug\", ", "loglevel"),
    ] {
        faulty(to, &compose::override_faults(&yaml(&with(&token, from, to))), word);
    }
}

#[test]
fn bad_units_are_found() {
    let good = read("cloudflared/systemd/cloudflared-token@.service");
    for (from, to, word) in [
        ("DynamicUser=yes\n", "User=root\n", "DynamicUser"),
        ("NoNewPrivileges=yes", "NoNewPrivileges=no", "NoNewPrivileges"),
        ("ProtectSystem=strict", "ProtectSystem=full", "ProtectSystem"),
        ("CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_NET_ADMIN\n", "CapabilityBoundingSet"),
        ("Restart=always", "Restart=no", "Restart"),
        ("LoadCredential=token:/etc/cloudflared/token\n", "", "LoadCredential"),
        ("TUNNEL_TOKEN_FILE=%d/token", "TUNNEL_TOKEN=eyJh", "TUNNEL_TOKEN"),
        (" run\n", " run --token eyJh\n", "--token"),
        ("--metrics 127.0.0.1:200%i", "--metrics 0.0.0.0:200%i", "metrics"),
        ("--no-autoupdate ", "", "no-autoupdate"),
        ("--loglevel info", "--loglevel debug", "loglevel"),
        ("SystemCallFilter=@system-service\n", "", "SystemCallFilter"),
    ] {
        faulty(to, &unit::faults(&with(&good, from, to)), word);
    }
}
