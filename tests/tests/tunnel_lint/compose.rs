//! How the containers are run: which ports leave the host, who is on which network, what a container may do.

use yaml_serde::Value;

/// The one port that is published, and to this machine alone.
const PUBLISHED: &str = "127.0.0.1:${GATEWAY_PORT:-5026}:5026";
/// Who may be on `edge`.
const EDGE: [&str; 2] = ["gateway", "cloudflared"];

fn words(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Of infra/compose.yml.
pub(super) fn faults(compose: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in compose["services"].as_mapping().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        let mut found = Vec::new();
        image(service, &mut found);
        confinement(service, &mut found);
        network(name, service, &mut found);
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    let networks = &compose["networks"];
    if networks["back"]["internal"] != true {
        faults.push("the network back is not internal".to_owned());
    }
    let edge = &networks["edge"]["ipam"]["config"][0];
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
    for key in ["ports", "networks", "network_mode", "user", "privileged", "cap_add"] {
        if service.get(key).is_some() {
            faults.push(format!("changes {key}"));
        }
    }
    faults
}

fn image(service: &Value, faults: &mut Vec<String>) {
    let image = service["image"].as_str().unwrap_or_default();
    // `${NAME:-default}`: what counts is the default.
    let image = image
        .strip_prefix("${")
        .and_then(|rest| rest.split_once(":-"))
        .map_or(image, |(_, rest)| rest.trim_end_matches('}'));
    match image.rsplit('/').next().unwrap_or_default().split_once(':') {
        Some((_, "latest")) => faults.push(format!("{image} is the latest, whatever that is")),
        Some((_, version)) if !version.is_empty() => {}
        _ => faults.push(format!("{image} has no version")),
    }
}

fn confinement(service: &Value, faults: &mut Vec<String>) {
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    want(service["read_only"] == true, "not read_only");
    want(words(&service["cap_drop"]) == ["ALL"], "cap_drop is not [ALL]");
    want(words(&service["security_opt"]).contains(&"no-new-privileges:true"), "no-new-privileges is not set");
    want(service.get("cap_add").is_none() && service.get("privileged").is_none(), "more rights than none");
    let user = service["user"].as_str().unwrap_or_default();
    want(user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "runs as root");
    want(service["mem_limit"].is_string() && !service["pids_limit"].is_null(), "no limit on memory or processes");
}

fn network(name: &str, service: &Value, faults: &mut Vec<String>) {
    for port in service["ports"].as_sequence().into_iter().flatten() {
        if name != "gateway" || *port != PUBLISHED {
            faults.push(format!("publishes {port:?}"));
        }
    }
    for key in ["network_mode", "expose"] {
        if service.get(key).is_some() {
            faults.push(format!("has {key}"));
        }
    }
    let networks = words(&service["networks"]);
    if networks.is_empty() {
        faults.push("is on the default network".to_owned());
    }
    if networks.contains(&"edge") && !EDGE.contains(&name) {
        faults.push("is on edge".to_owned());
    }
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
