//! How a tunnel's connector is run, and whom it reaches. The rules for every container are those of `infra.rs`.

use yaml_serde::Value;

use super::files::words;

/// Of infra/compose.yml.
pub(super) fn faults(compose: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let edge = &compose["networks"]["edge"]["ipam"]["config"][0];
    let subnet = [&edge["subnet"], &edge["ip_range"]].iter().all(|value| value.is_string());
    if !subnet {
        faults.push("the network edge has no fixed subnet with a range for containers".to_owned());
    }
    let gateway = &compose["services"]["gateway"]["environment"];
    if gateway["TRUSTED_PROXIES"] != edge["ip_range"] {
        faults.push("TRUSTED_PROXIES is not the containers' part of edge".to_owned());
    }
    if gateway["ADMIN_BIND"] != "127.0.0.1" {
        faults.push("ADMIN_BIND is not 127.0.0.1: others on the network would reach it".to_owned());
    }
    for (name, service) in compose["services"].as_mapping().into_iter().flatten() {
        if words(&service["networks"]).contains(&"edge") && name != "gateway" && name != "cloudflared" {
            faults.push(format!("{name:?} is on edge, where the gateway believes what is said of addresses"));
        }
    }
    faults.extend(tunnel(&compose["services"]["cloudflared"]));
    faults
}

/// Of cloudflared/token/compose.yml, which is laid over the other.
pub(super) fn override_faults(compose: &Value) -> Vec<String> {
    let service = &compose["services"]["cloudflared"];
    let mut faults = arguments(service);
    if service["environment"]["TUNNEL_TOKEN_FILE"].as_str().is_none_or(|file| !file.starts_with('/')) {
        faults.push("no TUNNEL_TOKEN_FILE".to_owned());
    }
    if service["environment"].get("TUNNEL_TOKEN").is_some() {
        faults.push("TUNNEL_TOKEN in the environment, where `docker inspect` shows it".to_owned());
    }
    let level = words(&service["command"]).windows(2).any(|two| two == ["--loglevel", "info"]);
    if !level {
        faults.push("loglevel is not info".to_owned());
    }
    faults
}

fn tunnel(service: &Value) -> Vec<String> {
    let mut faults = arguments(service);
    if words(&service["networks"]) != ["edge"] {
        faults.push("cloudflared reaches more than edge: back, or nothing that it should".to_owned());
    }
    if !words(&service["volumes"]).iter().all(|volume| volume.ends_with(":ro")) {
        faults.push("cloudflared's configuration is not mounted :ro".to_owned());
    }
    if words(&service["healthcheck"]["test"]).last() != Some(&"ready") {
        faults.push("no health check by `ready`".to_owned());
    }
    if words(&service["profiles"]) != ["tunnel"] {
        faults.push("the tunnel is started without being asked for".to_owned());
    }
    faults
}

fn arguments(service: &Value) -> Vec<String> {
    let arguments = words(&service["command"]);
    let mut faults = Vec::new();
    if arguments.iter().any(|word| word.starts_with("--token") && !word.starts_with("--token-file")) {
        faults.push("--token in the command line, where `ps` shows it".to_owned());
    }
    if !arguments.contains(&"--no-autoupdate") {
        faults.push("no --no-autoupdate".to_owned());
    }
    faults
}
