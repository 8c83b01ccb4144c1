//! Units of systemd: what a service may do, and that no secret is shown.

/// Settings that have to stand there, as they are.
const WANTED: [(&str, &str); 20] = [
    ("DynamicUser", "yes"),
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("UMask", "0077"),
    ("Restart", "always"),
];

pub(super) fn faults(unit: &str) -> Vec<String> {
    let settings: Vec<(&str, &str)> = unit
        .lines()
        .filter(|line| !line.starts_with(['#', ';', '[']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let all = |key: &str| settings.iter().filter(|(name, _)| *name == key).map(|(_, value)| *value).collect::<Vec<_>>();
    let mut faults = Vec::new();
    for (key, value) in WANTED {
        if all(key).first() != Some(&value) {
            faults.push(format!("{key} is not `{value}`"));
        }
    }
    if all("LoadCredential").is_empty() {
        faults.push("no LoadCredential: who else can read the secret?".to_owned());
    }
    for value in all("Environment") {
        if value.starts_with("TUNNEL_TOKEN=") {
            faults.push("TUNNEL_TOKEN in the environment".to_owned());
        }
    }
    let commands = all("ExecStart");
    let [command] = commands[..] else { return vec!["not one ExecStart".to_owned()] };
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
    if words.iter().any(|word| word.starts_with("--token") && !word.starts_with("--token-file")) {
        faults.push("--token in the command line, where `ps` shows it".to_owned());
    }
    if !words.contains(&"--no-autoupdate") {
        faults.push("no --no-autoupdate".to_owned());
    }
    if !after("--metrics").is_some_and(|address| address.starts_with("127.0.0.1:")) {
        faults.push("metrics are not on 127.0.0.1".to_owned());
    }
    if after("--config").is_none() && after("--loglevel") != Some("info") {
        faults.push("loglevel is not info".to_owned());
    }
    faults
}
