//! The manifests as they stand in the repository. What they come to with every overlay is looked at by `infra/k8s/check.py`,
//! which wants kubectl; this wants nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use tests::stack::repository;
use yaml_serde::Value;

use super::{
    compose::version_fault,
    files::{read, words, yaml},
    secrets::{in_command, in_setting, is_secret},
};

const ROOM: &str = "infra/k8s";
const NAME: &str = "app.kubernetes.io/name";
/// Arrows of what stands around the picture of ARCHITECTURE.md: who, whom, port. A name with a slash is a namespace.
const AROUND: [(&str, &str, &str); 12] = [
    ("cloudflared", "gateway", "5026"),
    ("cloudflared", "the world", "7844"),
    ("gateway", "the world", "443"),
    ("models", "the world", "443"),
    ("gateway", "postgres", "5432"),
    ("keda/", "redis", "6379"),
    ("monitoring/", "gateway", "health"),
    ("monitoring/", "stt-worker", "health"),
    ("monitoring/", "translation-worker", "health"),
    ("gateway", "monitoring/", "4318"),
    ("stt-worker", "monitoring/", "4318"),
    ("translation-worker", "monitoring/", "4318"),
];

type Arrow = (String, String, String);

/// Every document of the manifests, with the file it stands in; patches of overlays are apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifests {
    pub(super) resources: Vec<(String, Value)>,
    patches: Vec<(String, Value)>,
    kustomizations: Vec<(String, Value)>,
}

impl Manifests {
    /// Follows every kustomization.yaml below `infra/k8s`.
    pub(super) fn read() -> Self {
        let mut found = Self::default();
        for folder in folders() {
            let file = format!("{folder}/kustomization.yaml");
            if !repository().join(&file).is_file() {
                continue;
            }
            let kustomization = yaml(&read(&file));
            let files = |key: &str| words(&kustomization[key]).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let patches = kustomization["patches"].as_sequence().into_iter().flatten();
            let patches = patches.filter_map(|patch| patch["path"].as_str());
            for (names, into) in
                [(files("resources"), &mut found.resources), (patches.map(str::to_owned).collect(), &mut found.patches)]
            {
                for name in names.iter().filter(|name| name.ends_with(".yaml")) {
                    let path = format!("{folder}/{name}");
                    into.extend(documents(&read(&path)).into_iter().map(|document| (path.clone(), document)));
                }
            }
            found.kustomizations.push((file, kustomization));
        }
        found
    }

    fn of_kind<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a Value> {
        let documents = self.resources.iter().map(|(_, document)| document);
        documents.filter(|document| document["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)))
    }

    pub(super) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.of_kind(&["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
    }

    /// Position among the resources of one document.
    pub(super) fn position(&self, kind: &str, name: &str) -> Option<usize> {
        self.resources.iter().position(|(_, one)| one["kind"] == kind && one["metadata"]["name"] == name)
    }
}

fn folders() -> Vec<String> {
    let mut found = vec![ROOM.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let entries = std::fs::read_dir(repository().join(&folder)).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
        found.extend(inner.map(|name| format!("{folder}/{}", name.to_string_lossy())));
    }
    found
}

fn documents(text: &str) -> Vec<Value> {
    let documents = yaml_serde::Deserializer::from_str(text).map(Value::deserialize);
    documents.map(|document| document.unwrap_or_else(|error| panic!("{error} in\n{text}"))).collect()
}

pub(super) fn faults(manifests: &Manifests) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in manifests.workloads() {
        let name = workload["metadata"]["name"].as_str().unwrap_or_default();
        let mut found = Vec::new();
        pod(workload, &mut found);
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    for (path, patch) in &manifests.patches {
        let mut found = Vec::new();
        for one in containers(patch) {
            secrets(one, &mut found);
            if let Some(image) = one["image"].as_str() {
                found.extend(version_fault(image));
            }
        }
        faults.extend(found.into_iter().map(|fault| format!("{path}: {fault}")));
    }
    for (path, kustomization) in &manifests.kustomizations {
        for image in kustomization["images"].as_sequence().into_iter().flatten() {
            if image["newTag"] == "latest" || (image.get("newTag").is_none() && image.get("digest").is_none()) {
                faults.push(format!("{path}: an image without a version, or the latest"));
            }
        }
        for map in kustomization["configMapGenerator"].as_sequence().into_iter().flatten() {
            let literals = words(&map["literals"]).into_iter().filter_map(|literal| literal.split_once('='));
            faults.extend(
                literals.filter_map(|(key, value)| in_setting(key, value)).map(|fault| format!("{path}: {fault}")),
            );
        }
    }
    for service in manifests.of_kind(&["Service"]) {
        if service["spec"].get("type").is_some_and(|kind| kind != "ClusterIP") {
            faults.push(format!("Service {:?} is open to the world", service["metadata"]["name"]));
        }
    }
    for kind in ["Secret", "Ingress", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"] {
        if manifests.of_kind(&[kind]).next().is_some() {
            faults.push(format!("a {kind} is not for the repository"));
        }
    }
    faults.extend(arrow_faults(manifests));
    faults
}

fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    let pod = &workload["spec"]["template"]["spec"];
    let all = [&pod["initContainers"], &pod["containers"]];
    all.into_iter().flat_map(|list| list.as_sequence().into_iter().flatten())
}

fn pod(workload: &Value, faults: &mut Vec<String>) {
    let pod = &workload["spec"]["template"]["spec"];
    let security = &pod["securityContext"];
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    want(security["runAsNonRoot"] == true, "runAsNonRoot is not set");
    want(security["runAsUser"].as_u64().is_some_and(|id| id > 0), "runs as root");
    want(security["seccompProfile"]["type"] == "RuntimeDefault", "no seccompProfile");
    want(pod["automountServiceAccountToken"] == false, "is given a token of the cluster");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        want(pod.get(key).is_none(), key);
    }
    let volumes = pod["volumes"].as_sequence().into_iter().flatten();
    want(!volumes.into_iter().any(|volume| volume.get("hostPath").is_some()), "hostPath");
    for one in containers(workload) {
        container(one, faults);
    }
    if workload["kind"] != "Job" {
        for one in pod["containers"].as_sequence().into_iter().flatten() {
            let probes = ["livenessProbe", "readinessProbe"].into_iter().filter(|probe| one.get(probe).is_none());
            faults.extend(probes.map(|probe| format!("no {probe}")));
        }
    }
}

fn container(one: &Value, faults: &mut Vec<String>) {
    let security = &one["securityContext"];
    let mut want = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    want(security["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
    want(security["readOnlyRootFilesystem"] == true, "its file system can be written");
    want(words(&security["capabilities"]["drop"]) == ["ALL"], "capabilities are not dropped");
    want(security["capabilities"].get("add").is_none() && security.get("privileged").is_none(), "privileged");
    let resources = &one["resources"];
    let set = [&resources["requests"]["cpu"], &resources["requests"]["memory"], &resources["limits"]["memory"]];
    want(set.iter().all(|value| !value.is_null()), "resources are not all set");
    faults.extend(version_fault(one["image"].as_str().unwrap_or_default()));
    secrets(one, faults);
}

fn secrets(one: &Value, faults: &mut Vec<String>) {
    for setting in one["env"].as_sequence().into_iter().flatten() {
        let name = setting["name"].as_str().unwrap_or_default();
        if is_secret(name) {
            faults.push(format!("{name} in the environment; it has a …_FILE"));
        }
    }
    for line in [&one["command"], &one["args"]] {
        faults.extend(in_command(&words(line).join(" ")));
    }
}

/// Roles that the picture at the head of ARCHITECTURE.md joins by Redis.
fn drawn(architecture: &str) -> BTreeSet<String> {
    let line = architecture.lines().find(|line| line.contains("Redis Streams")).unwrap_or_default();
    let names = line.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    names.filter(|name| *name == "gateway" || name.ends_with("-worker")).map(str::to_owned).collect()
}

/// Who may reach whom, in all manifests together, is what ARCHITECTURE.md draws: roles reach Redis and never each other.
fn arrow_faults(manifests: &Manifests) -> Vec<String> {
    let roles = drawn(&read("ARCHITECTURE.md"));
    assert!(roles.len() >= 3, "the picture of ARCHITECTURE.md is drawn otherwise: {roles:?}");
    let mut faults = Vec::new();
    let (out, into) = arrows(manifests, &mut faults);
    let on_redis = roles.iter().map(|role| (role.clone(), "redis".to_owned(), "6379".to_owned()));
    let around = AROUND.iter().map(|(who, whom, port)| ((*who).to_owned(), (*whom).to_owned(), (*port).to_owned()));
    let wanted: BTreeSet<Arrow> = on_redis.chain(around).collect();
    let denied = manifests.of_kind(&["NetworkPolicy"]).any(|policy| {
        policy["spec"]["podSelector"].as_mapping().is_some_and(yaml_serde::Mapping::is_empty)
            && words(&policy["spec"]["policyTypes"]) == ["Ingress", "Egress"]
            && policy["spec"].get("ingress").is_none()
            && policy["spec"].get("egress").is_none()
    });
    if !denied {
        faults.push("no NetworkPolicy denies by default".to_owned());
    }
    let allowed: BTreeSet<&Arrow> = out.union(&into).collect();
    let undrawn = allowed.iter().filter(|arrow| !wanted.contains(**arrow));
    faults.extend(undrawn.map(|(who, whom, port)| format!("{who} may reach {whom} at {port}, which nobody drew")));
    for arrow in &wanted {
        let (who, whom, port) = arrow;
        if !who.ends_with('/') && !out.contains(arrow) {
            faults.push(format!("{who} may not go out to {whom} at {port}"));
        }
        let elsewhere = whom.ends_with('/') || ["the world", "postgres"].contains(&whom.as_str());
        if !elsewhere && !into.contains(arrow) {
            faults.push(format!("{whom} lets nobody in from {who} at {port}"));
        }
    }
    faults
}

/// What policies let out, and what they let in; names are asked of the cluster's own, which is left out.
fn arrows(manifests: &Manifests, faults: &mut Vec<String>) -> (BTreeSet<Arrow>, BTreeSet<Arrow>) {
    let mut roles: BTreeMap<&str, &Value> = BTreeMap::new();
    for workload in manifests.workloads() {
        roles.insert(
            workload["metadata"]["name"].as_str().unwrap_or_default(),
            &workload["spec"]["template"]["metadata"]["labels"],
        );
    }
    let (mut out, mut into) = (BTreeSet::new(), BTreeSet::new());
    for policy in manifests.of_kind(&["NetworkPolicy"]) {
        let chosen = chosen(&policy["spec"]["podSelector"], &roles);
        for (way, side, outward) in [("egress", "to", true), ("ingress", "from", false)] {
            for rule in policy["spec"][way].as_sequence().into_iter().flatten() {
                let peers: Vec<_> = rule[side].as_sequence().into_iter().flatten().collect();
                let ports: Vec<_> =
                    rule["ports"].as_sequence().into_iter().flatten().map(|port| text(&port["port"])).collect();
                if peers.is_empty() || ports.is_empty() {
                    faults.push(format!("{:?}: a rule for everybody, or for every port", policy["metadata"]["name"]));
                }
                for (role, peer, port) in product(&chosen, &peers, &ports) {
                    for other in named(peer, &roles).into_iter().filter(|other| other != "kube-system/") {
                        let arrow = if outward { (role.clone(), other) } else { (other, role.clone()) };
                        let side = if outward { &mut out } else { &mut into };
                        side.insert((arrow.0, arrow.1, port.clone()));
                    }
                }
            }
        }
    }
    (out, into)
}

fn product<'a>(
    roles: &'a [String],
    peers: &'a [&'a Value],
    ports: &'a [String],
) -> impl Iterator<Item = (&'a String, &'a Value, &'a String)> {
    roles
        .iter()
        .flat_map(move |role| peers.iter().flat_map(move |peer| ports.iter().map(move |port| (role, *peer, port))))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.as_u64().unwrap_or_default().to_string(), str::to_owned)
}

fn chosen(selector: &Value, roles: &BTreeMap<&str, &Value>) -> Vec<String> {
    let wanted: Vec<_> = selector["matchLabels"].as_mapping().into_iter().flatten().collect();
    let fits = |labels: &Value| wanted.iter().all(|(key, value)| labels.get(*key) == Some(*value));
    let found = roles.iter().filter(|(_, labels)| !wanted.is_empty() && fits(labels));
    found.map(|(name, _)| (*name).to_owned()).collect()
}

fn named(peer: &Value, roles: &BTreeMap<&str, &Value>) -> Vec<String> {
    if peer.get("ipBlock").is_some() {
        return vec!["the world".to_owned()];
    }
    if let Some(namespace) = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].as_str() {
        return vec![format!("{namespace}/")];
    }
    let found = chosen(&peer["podSelector"], roles);
    if found.is_empty() { vec![text(&peer["podSelector"]["matchLabels"][NAME])] } else { found }
}

#[test]
fn roles_are_read_from_the_picture() {
    let picture = "  desktop ──WebSocket──▶ gateway ──Redis Streams──▶ stt-worker × N ──▶ translation-worker × M\n";
    assert_eq!(drawn(picture).into_iter().collect::<Vec<_>>(), ["gateway", "stt-worker", "translation-worker"]);
}
