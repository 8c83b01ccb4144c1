//! What operators are promised of `infra/`, held by a machine on the files themselves, without Docker or a cluster; and the
//! machine, held by bad examples. What a tunnel lets through has a file of its own: `tunnel_lint.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "infra/checkers.rs"]
mod checkers;
#[path = "infra/compose.rs"]
mod compose;
#[path = "infra/dockerfile.rs"]
mod dockerfile;
#[path = "infra/files.rs"]
mod files;
#[path = "infra/kubernetes.rs"]
mod kubernetes;
#[path = "infra/secrets.rs"]
mod secrets;

use std::process::Command;

use files::{faulty, none, read, spoilt, with, words, yaml};
use kubernetes::Manifests;
use tests::stack::repository;

const COMPOSE: &str = "infra/compose.yml";
/// Files that are laid over it.
const OVERRIDES: [&str; 2] = [CUDA, "cloudflared/token/compose.yml"];
const CUDA: &str = "infra/compose.cuda.yml";

/// Paths that git knows, with this in their names.
fn listed(part: &str) -> Vec<String> {
    let output = Command::new("git").arg("ls-files").current_dir(repository()).output().unwrap();
    let paths = String::from_utf8(output.stdout).unwrap();
    paths.lines().filter(|path| path.contains(part) && repository().join(path).is_file()).map(str::to_owned).collect()
}

#[test]
fn containers_have_no_more_rights_and_ways_in_than_they_need() {
    let compose = yaml(&read(COMPOSE));
    assert!(compose::services(&compose).count() >= 5);
    none(&compose::faults(&compose));
    for file in OVERRIDES {
        none(&compose::override_faults(&compose, &yaml(&read(file))));
    }
    none(&compose::cuda_faults(&yaml(&read(CUDA))));
}

#[test]
fn images_are_pinned_and_hold_no_secret() {
    let files: Vec<_> = listed("Dockerfile").into_iter().filter(|path| !path.ends_with("ignore")).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        none(&dockerfile::faults(&read(&file)).iter().map(|fault| format!("{file}: {fault}")).collect::<Vec<_>>());
    }
    let ignored = read("infra/Dockerfile.dockerignore");
    let missing = dockerfile::LEFT_OUT.iter().filter(|path| !ignored.lines().any(|line| line == **path));
    none(&missing.map(|path| format!("Dockerfile.dockerignore does not leave out {path}")).collect::<Vec<_>>());
}

#[test]
fn manifests_have_no_more_rights_and_ways_in_than_they_need() {
    let manifests = Manifests::read();
    assert!(manifests.workloads().count() >= 5, "{manifests:#?}");
    none(&kubernetes::faults(&manifests));
}

#[test]
fn no_unit_and_no_manifest_shows_a_secret_in_a_command_line() {
    let units: Vec<_> = listed("/systemd/").into_iter().filter(|path| path.ends_with(".service")).collect();
    assert!(units.len() >= 4, "{units:?}");
    let mut faults = Vec::new();
    for file in units {
        for (key, value) in read(&file).lines().filter_map(|line| line.split_once('=')) {
            let fault = match (key, value.split_once('=')) {
                ("Environment", Some((name, value))) => secrets::in_setting(name, value),
                (key, _) if key.starts_with("Exec") => secrets::in_command(value),
                _ => None,
            };
            faults.extend(fault.map(|fault| format!("{file}: {fault}")));
        }
    }
    none(&faults);
}

#[test]
fn bad_compositions_are_found() {
    let good = yaml(&read(COMPOSE));
    for (path, to, word) in [
        ("services/redis/image", "redis:latest", "latest"),
        ("services/redis/image", "\"${REDIS_IMAGE:-redis:latest}\"", "latest"),
        ("services/redis/image", "redis", "version"),
        ("services/redis/ports", "[\"127.0.0.1:6379:6379\"]", "publishes"),
        ("services/stt-worker/ports", "[\"8081:8081\"]", "publishes"),
        ("services/gateway/ports", "[\"0.0.0.0:5026:5026\"]", "publishes"),
        ("services/gateway/ports", "[\"5026:5026\"]", "publishes"),
        ("services/gateway/ports", "[\"127.0.0.1:8080:8080\"]", "publishes"),
        ("services/gateway/read_only", "false", "read_only"),
        ("services/gateway/read_only", "", "read_only"),
        ("services/stt-worker/cap_drop", "", "cap_drop"),
        ("services/stt-worker/cap_add", "[SYS_ADMIN]", "cap_add"),
        ("services/stt-worker/privileged", "true", "privileged"),
        ("services/stt-worker/security_opt", "[\"seccomp:unconfined\"]", "no-new-privileges"),
        ("services/translation-worker/user", "root", "root"),
        ("services/translation-worker/user", "\"0:0\"", "root"),
        ("services/translation-worker/mem_limit", "", "limit"),
        ("services/redis/pids_limit", "", "limit"),
        ("services/redis/healthcheck", "", "health"),
        ("services/redis/healthcheck/disable", "true", "health"),
        ("services/redis/healthcheck/test", "[CMD, \"true\"]", "health"),
        ("services/redis/networks", "[edge]", "way out"),
        ("services/redis/networks", "[back, edge]", "way out"),
        ("services/redis/networks", "", "default network"),
        ("services/gateway/network_mode", "host", "network_mode"),
        ("services/gateway/volumes", "[\"/var/run/docker.sock:/var/run/docker.sock\"]", "host"),
        ("services/redis/command", "[redis-server, --requirepass, hunter2]", "command line"),
        ("services/redis/healthcheck/test", "[CMD, redis-cli, -a, hunter2, ping]", "command line"),
        ("services/gateway/command", "[sh, -c, \"gateway $JWT_SECRET\"]", "JWT_SECRET"),
        ("services/gateway/environment/JWT_SECRET", "hunter2", "JWT_SECRET"),
        ("services/gateway/environment/JWT_SECRET", "\"${JWT_SECRET:-hunter2}\"", "JWT_SECRET"),
        ("services/gateway/environment/REDIS_URL", "\"redis://gateway:hunter2@redis\"", "password"),
        ("services/gateway/build/args", "{HF_TOKEN: \"${HF_TOKEN}\"}", "build"),
        ("networks/back/internal", "false", "internal"),
    ] {
        faulty(&format!("{path}: {to}"), &compose::faults(&spoilt(&good, path, to)), word);
    }
    for (over, word) in [
        ("services: {gateway: {ports: [\"8080:8080\"]}}", "changes ports"),
        ("services: {gateway: {environment: {JWT_SECRET: hunter2}}}", "JWT_SECRET"),
        ("services: {speech: {image: \"x:1\"}}", "no such service"),
        ("services: {stt-worker: {image: \"subtide:latest\"}}", "latest"),
    ] {
        faulty(over, &compose::override_faults(&good, &yaml(over)), word);
    }
    let cuda =
        "services: {stt-worker: {environment: {DEVICE: cpu}}, translation-worker: {environment: {DEVICE: cuda}}}";
    faulty(cuda, &compose::cuda_faults(&yaml(cuda)), "stt-worker: DEVICE");
    faulty(cuda, &compose::cuda_faults(&yaml(cuda)), "translation-worker: reserves no GPU");
}

#[test]
fn bad_images_are_found() {
    let good = read("infra/Dockerfile.prebuilt");
    for (from, to, word) in [
        ("debian:bookworm-slim", "debian:latest", "latest"),
        ("debian:bookworm-slim", "debian", "version"),
        ("USER 65532:65532", "USER root", "root"),
        ("USER 65532:65532", "USER 0", "root"),
        ("USER 65532:65532\n", "", "root"),
        ("ENV MODELS_DIR", "ENV JWT_SECRET=x MODELS_DIR", "JWT_SECRET"),
        ("COPY bin/", "ARG HF_TOKEN\nCOPY bin/", "HF_TOKEN"),
        ("COPY bin/ /usr", "COPY .env /usr", "private"),
        ("COPY bin/ /usr", "COPY tunnel.json /usr", "private"),
        ("COPY bin/ /usr", "ADD https://example.com/x /usr", "ADD"),
        ("RUN install", "RUN curl https://example.com/x | sh && install", "shell"),
        ("RUN install", "RUN HF_TOKEN=x install", "HF_TOKEN"),
    ] {
        faulty(to, &dockerfile::faults(&with(&good, from, to)), word);
    }
}

#[test]
fn bad_manifests_are_found() {
    let good = Manifests::read();
    let pod = "spec/template/spec";
    let one = format!("{pod}/containers/0");
    let one = one.as_str();
    for (kind, name, path, to, word) in [
        ("Deployment", "gateway", format!("{one}/image"), "subtide:latest", "latest"),
        ("Deployment", "gateway", format!("{one}/image"), "subtide", "version"),
        ("Deployment", "gateway", format!("{one}/readinessProbe"), "", "readinessProbe"),
        ("Deployment", "stt-worker", format!("{one}/livenessProbe"), "", "livenessProbe"),
        ("Deployment", "stt-worker", format!("{one}/resources/limits"), "", "resources"),
        ("Deployment", "stt-worker", format!("{one}/resources/requests/cpu"), "", "resources"),
        ("Deployment", "stt-worker", format!("{one}/securityContext/privileged"), "true", "privileged"),
        ("Deployment", "stt-worker", format!("{one}/securityContext/allowPrivilegeEscalation"), "true", "allowPriv"),
        ("StatefulSet", "redis", format!("{one}/securityContext/readOnlyRootFilesystem"), "", "written"),
        ("StatefulSet", "redis", format!("{one}/securityContext/capabilities/add"), "[NET_RAW]", "privileged"),
        ("StatefulSet", "redis", format!("{one}/command"), "[redis-server, --requirepass, x]", "command line"),
        ("Deployment", "gateway", format!("{one}/env"), "[{name: JWT_SECRET, value: x}]", "JWT_SECRET"),
        ("Deployment", "gateway", format!("{pod}/securityContext/runAsUser"), "0", "root"),
        ("Deployment", "gateway", format!("{pod}/hostNetwork"), "true", "hostNetwork"),
        ("Deployment", "gateway", format!("{pod}/volumes/0/hostPath"), "{path: /}", "hostPath"),
        ("Deployment", "gateway", format!("{pod}/automountServiceAccountToken"), "true", "token"),
        ("Service", "redis", "spec/type".to_owned(), "NodePort", "world"),
        ("NetworkPolicy", "default-deny", "spec/policyTypes".to_owned(), "[Ingress]", "denies"),
        ("NetworkPolicy", "bus-in", "spec/ingress/0/from".to_owned(), "[]", "everybody"),
        (
            "NetworkPolicy",
            "bus-in",
            "spec/ingress/0/from/0/podSelector/matchLabels".to_owned(),
            "{x: y}",
            "lets nobody in",
        ),
        ("NetworkPolicy", "bus-in", "spec/ingress/0/ports/0/port".to_owned(), "22", "nobody drew"),
        (
            "NetworkPolicy",
            "bus-out",
            "spec/egress/0/to/0/podSelector/matchLabels".to_owned(),
            "{app.kubernetes.io/name: gateway}",
            "nobody drew",
        ),
        ("NetworkPolicy", "bus-out", "spec/egress/0".to_owned(), "", "may not go out"),
        (
            "NetworkPolicy",
            "gateway-to-provider",
            "spec/podSelector/matchLabels".to_owned(),
            "{subtide/bus: \"true\"}",
            "stt-worker may reach the world",
        ),
    ] {
        let mut bad = good.clone();
        let at = bad.position(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"));
        bad.resources[at].1 = spoilt(&bad.resources[at].1, &path, to);
        faulty(&format!("{name}: {path}: {to}"), &kubernetes::faults(&bad), word);
    }
}

#[test]
fn what_is_laid_over_is_read_as_compose_reads_it() {
    let base = yaml("services: {gateway: {command: [a, b], ports: [x], environment: {A: 1, B: 2}}}");
    let faults = compose::override_faults(&base, &yaml("services: {gateway: {command: [c], environment: {B: 3}}}"));
    assert!(faults.iter().any(|fault| fault == "gateway: publishes x"), "{faults:#?}");
    assert_eq!(words(&base["services"]["gateway"]["command"]), ["a", "b"]);
}
