//! What a tunnel lets through, and how it is run: the rules of `cloudflared/` and of `infra/compose.yml`, held by a machine;
//! and the machine itself, held by bad examples.

#[path = "tunnel_lint/compose.rs"]
mod compose;
#[path = "infra/files.rs"]
mod files;
#[path = "tunnel_lint/ingress.rs"]
mod ingress;
#[path = "tunnel_lint/unit.rs"]
mod unit;

use files::{faulty, none, read, spoilt, with, yaml};
use tests::stack::repository;

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
fn the_connector_reaches_the_gateway_and_nothing_else() {
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
    let good = yaml(&read("infra/compose.yml"));
    for (path, to, word) in [
        ("services/cloudflared/networks", "[edge, back]", "back"),
        ("services/cloudflared/networks", "[back]", "back"),
        ("services/redis/networks", "[edge]", "is on edge"),
        ("networks/edge/ipam/config/0/subnet", "", "subnet"),
        ("services/gateway/environment/TRUSTED_PROXIES", "0.0.0.0/0", "TRUSTED_PROXIES"),
        ("services/gateway/environment/ADMIN_BIND", "0.0.0.0", "ADMIN_BIND"),
        ("services/cloudflared/volumes", "[\"../cloudflared:/etc/cloudflared\"]", "ro"),
        ("services/cloudflared/command", "[tunnel, --no-autoupdate, run, --token, x]", "--token"),
        ("services/cloudflared/command", "[tunnel, run]", "no-autoupdate"),
        ("services/cloudflared/healthcheck/test", "[CMD, \"true\"]", "ready"),
        ("services/cloudflared/profiles", "", "asked for"),
    ] {
        faulty(&format!("{path}: {to}"), &compose::faults(&spoilt(&good, path, to)), word);
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
