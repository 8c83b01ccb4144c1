//! How the containers are run on one host: what they are made of, what they may do, whom they reach, what is published.

use std::collections::BTreeSet;

use yaml_serde::{Mapping, Value};

use super::{
    files::words,
    secrets::{in_command, in_setting},
};

/// Who may publish which port of its container, and to this machine alone: what people look at.
const PUBLISHED: [(&str, &str); 2] = [("gateway", "5026"), ("grafana", "3000")];
/// Who may be on a network that has a way out: whom people or the tunnel reach, who gets models, who tells of alerts. Nobody
/// who holds data, and no worker.
const OUTWARD: [&str; 5] = ["gateway", "cloudflared", "grafana", "models", "alertmanager"];
/// What a file that is laid over compose.yml may change of a service.
const OVERRIDDEN: [&str; 9] =
    ["image", "build", "command", "environment", "deploy", "mem_limit", "healthcheck", "volumes", "depends_on"];
/// Rights and ways in that no container has.
const NEVER: [&str; 11] = [
    "privileged",
    "cap_add",
    "devices",
    "network_mode",
    "pid",
    "ipc",
    "userns_mode",
    "cgroup_parent",
    "expose",
    "external_links",
    "credential_spec",
];

/// Of infra/compose.yml, alone or with another file laid over it.
pub(super) fn faults(compose: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let (once, inward) = (one_shots(compose), internal(compose));
    for (name, service) in services(compose) {
        let mut found = Vec::new();
        image(service, &mut found);
        confinement(service, &mut found);
        if !once.contains(name) {
            health(service, &mut found);
        }
        network(name, service, &inward, &mut found);
        found.extend(secrets(service));
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    if !inward.contains("back") {
        faults.push("the network back is not internal".to_owned());
    }
    faults
}

/// Of a file that is laid over `base`: that it only does what such a file is for.
pub(super) fn override_faults(base: &Value, over: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in services(over) {
        if base["services"].get(name).is_none() {
            faults.push(format!("{name}: compose.yml has no such service"));
        }
        let keys = service.as_mapping().into_iter().flatten().filter_map(|(key, _)| key.as_str());
        let strange = keys.filter(|key| !OVERRIDDEN.contains(key));
        faults.extend(strange.map(|key| format!("{name}: changes {key}")));
    }
    faults.extend(self::faults(&laid_over(base, over)));
    faults
}

/// Of compose.cuda.yml: that both kinds of workers get a GPU, and are told to use it.
pub(super) fn cuda_faults(over: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ["stt-worker", "translation-worker"] {
        let service = &over["services"][name];
        let device = &service["deploy"]["resources"]["reservations"]["devices"][0];
        if device["driver"] != "nvidia" || words(&device["capabilities"]) != ["gpu"] {
            faults.push(format!("{name}: reserves no GPU"));
        }
        if !service["environment"]["DEVICE"].as_str().is_some_and(|device| device.contains("cuda")) {
            faults.push(format!("{name}: DEVICE is not cuda"));
        }
    }
    faults
}

pub(super) fn services(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = compose["services"].as_mapping().into_iter().flatten();
    services.map(|(name, service)| (name.as_str().unwrap_or_default(), service))
}

/// Mappings become one, lists are joined, and of anything else that of `over` counts: what Compose does with two files, but
/// for commands and health checks, which it replaces.
fn laid_over(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            let mut whole: Mapping = base.clone();
            for (key, value) in over {
                let replaced = matches!(key.as_str(), Some("command" | "entrypoint" | "test"));
                let value = match base.get(key).filter(|_| !replaced) {
                    Some(under) => laid_over(under, value),
                    None => value.clone(),
                };
                whole.insert(key.clone(), value);
            }
            Value::Mapping(whole)
        }
        (Value::Sequence(base), Value::Sequence(over)) => base.iter().chain(over).cloned().collect::<Vec<_>>().into(),
        _ => over.clone(),
    }
}

/// Services that end by themselves, for others wait for that.
fn one_shots(compose: &Value) -> BTreeSet<&str> {
    let wants = services(compose).flat_map(|(_, service)| service["depends_on"].as_mapping().into_iter().flatten());
    wants
        .filter(|(_, how)| how["condition"] == "service_completed_successfully")
        .filter_map(|(name, _)| name.as_str())
        .collect()
}

/// Networks without a way out.
fn internal(compose: &Value) -> BTreeSet<&str> {
    let networks = compose["networks"].as_mapping().into_iter().flatten();
    networks.filter(|(_, network)| network["internal"] == true).filter_map(|(name, _)| name.as_str()).collect()
}

/// What `${NAME:-default}` comes to where nobody says otherwise.
fn default_of(value: &str) -> &str {
    let inner = value.strip_prefix("${").and_then(|rest| rest.split_once(":-"));
    inner.map_or(value, |(_, rest)| rest.trim_end_matches('}'))
}

/// An image says which one it is: by a version, or by a digest.
pub(super) fn version_fault(image: &str) -> Option<String> {
    if image.contains("@sha256:") {
        return None;
    }
    match image.rsplit('/').next().unwrap_or_default().split_once(':') {
        Some((_, "latest")) => Some(format!("{image} is the latest, whatever that is")),
        Some((_, version)) if !version.is_empty() => None,
        _ => Some(format!("{image} has no version")),
    }
}

fn image(service: &Value, faults: &mut Vec<String>) {
    faults.extend(version_fault(default_of(service["image"].as_str().unwrap_or_default())));
}

fn confinement(service: &Value, faults: &mut Vec<String>) {
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    want(service["read_only"] == true, "not read_only");
    want(words(&service["cap_drop"]) == ["ALL"], "cap_drop is not [ALL]");
    want(words(&service["security_opt"]) == ["no-new-privileges:true"], "security_opt is not no-new-privileges alone");
    let user = service["user"].as_str().unwrap_or_default();
    want(user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "runs as root");
    want(service["mem_limit"].is_string() && !service["pids_limit"].is_null(), "no limit on memory or processes");
    for key in NEVER {
        want(service.get(key).is_none(), &format!("has {key}: more rights than none"));
    }
    let sockets =
        words(&service["volumes"]).iter().any(|volume| volume.contains("docker.sock") || volume.starts_with("/:"));
    want(!sockets, "mounts what rules the host");
}

fn health(service: &Value, faults: &mut Vec<String>) {
    let test = words(&service["healthcheck"]["test"]);
    if test.len() < 2 || test[0] == "NONE" || test[1] == "true" || service["healthcheck"]["disable"] == true {
        faults.push("no health check".to_owned());
    }
}

fn network(name: &str, service: &Value, inward: &BTreeSet<&str>, faults: &mut Vec<String>) {
    for port in service["ports"].as_sequence().into_iter().flatten() {
        let port = port.as_str().unwrap_or_default();
        let within = port.rsplit(':').next().unwrap_or_default();
        if !port.starts_with("127.0.0.1:") || !PUBLISHED.contains(&(name, within)) {
            faults.push(format!("publishes {port}"));
        }
    }
    let networks: Vec<_> = match &service["networks"] {
        Value::Mapping(networks) => networks.keys().filter_map(Value::as_str).collect(),
        other => words(other),
    };
    if networks.is_empty() {
        faults.push("is on the default network".to_owned());
    }
    if !OUTWARD.contains(&name) {
        let out = networks.iter().filter(|network| !inward.contains(*network));
        faults.extend(out.map(|network| format!("is on {network}, which has a way out")));
    }
}

fn secrets(service: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for line in [&service["command"], &service["entrypoint"], &service["healthcheck"]["test"]] {
        let line = line.as_str().map_or_else(|| words(line).join(" "), str::to_owned);
        faults.extend(in_command(&line));
    }
    for (place, key) in [(service, "environment"), (&service["build"], "args"), (service, "labels")] {
        for (key, value) in place[key].as_mapping().into_iter().flatten() {
            let key = key.as_str().unwrap_or_default();
            faults.extend(in_setting(key, value.as_str().unwrap_or_default()));
        }
        // `KEY=value`, and not a mapping.
        for setting in words(&place[key]) {
            faults.extend(setting.split_once('=').and_then(|(key, value)| in_setting(key, value)));
        }
    }
    if service["build"]["args"]
        .as_mapping()
        .is_some_and(|args| args.keys().any(|key| super::secrets::is_secret(key.as_str().unwrap_or_default())))
    {
        faults.push("a secret is an argument of the build, which the image's history shows".to_owned());
    }
    faults
}
