#!/usr/bin/env python3
"""Renders every overlay with every component, and says what is wrong with it.

    python3 -m venv .venv && .venv/bin/pip install PyYAML kubernetes-validate
    .venv/bin/python infra/k8s/check.py                # --self-test: that each rule finds a bad example

Wants kubectl (`kubectl kustomize`; tried with 1.32), and no cluster. Without kubernetes-validate the schemas of Kubernetes are
not checked, and it says so.
"""

import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

try:
    import kubernetes_validate
except ImportError:
    kubernetes_validate = None

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMPONENTS = sorted(p.name for p in (HERE / "components").iterdir())
NEEDS = {"keda-age": ["metrics", "keda"]}
WORKLOADS = ("Deployment", "StatefulSet", "Job")
# Versions whose schemas everything must keep to: the oldest and the newest that are tried.
VERSIONS = ("1.29", "1.33")
# Secrets that are made by hand, beside those of secrets.sh.
BY_HAND = {"cloudflared", "hub"}
# Keys whose values are secrets: only KEY_FILE may stand in a ConfigMap.
SECRET_KEYS = {"REDIS_URL", "JWT_SECRET", "OIDC_CLIENT_SECRET", "OIDC_NATIVE_CLIENT_SECRET", "DATABASE_URL", "AUTH_SECRET", "HF_TOKEN",
               "OTEL_EXPORTER_OTLP_HEADERS", "SENTRY_DSN"}
# Of the `subtide` program at a person's desk.
NOT_HERE = {"SUBTIDE_TOKEN", "STATUS_TARGETS"}
# Who may reach whom, by component; everything else is refused. `world` is what is not private.
ARROWS = {
    "": {("gateway", "redis", 6379), ("stt-worker", "redis", 6379), ("translation-worker", "redis", 6379)},
    "cloudflared": {("cloudflared", "gateway", 5026), ("cloudflared", "world", 7844)},
    "sign-in": {("gateway", "world", 443)},
    "several-gateways": {("gateway", "postgres", 5432)},
    "models": {("models", "world", 443)},
    "metrics": {("monitoring/", role, "health") for role in ("gateway", "stt-worker", "translation-worker")},
    "traces": {(role, "monitoring/", 4318) for role in ("gateway", "stt-worker", "translation-worker")},
    "keda": {("keda/", "redis", 6379)},
    "keda-age": set(),
}


def render(overlay, components, top=None):
    """The documents of an overlay with components on top; `top` is what else the kustomization says."""
    with tempfile.TemporaryDirectory() as directory:
        def here(path):
            return os.path.relpath(HERE / path, os.path.realpath(directory))
        top = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "subtide",
            **(top or {}),
            "resources": [here(f"overlays/{overlay}")],
            "components": [here(f"components/{name}") for name in components],
        }
        pathlib.Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(top))
        done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"overlays/{overlay} with {components}: {done.stderr}")
    return list(yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def name_of(doc):
    return f"{doc['kind']}/{doc['metadata']['name']}"


def of_kind(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def containers(doc):
    pod = doc["spec"]["template"]["spec"]
    return pod.get("initContainers", []) + pod["containers"]


def labels(doc):
    return doc["spec"]["template"]["metadata"]["labels"]


def selects(selector, of):
    return all(of.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def schema_faults(docs):
    for doc in docs:
        if doc["apiVersion"].startswith("keda.sh/"):
            yield from keda_faults(doc)
            continue
        yield from schema_faults_of(json.dumps(doc))


@functools.cache
def schema_faults_of(text):
    """Of one document; most are the same in every rendering, and schemas take long."""
    doc, found = json.loads(text), []
    for version in VERSIONS if kubernetes_validate else ():
        try:
            kubernetes_validate.validate(doc, version, strict=True)
        except Exception as error:  # its several kinds have nothing in common
            found.append(f"{name_of(doc)}: not by the schema of {version}: {getattr(error, 'message', error)}")
    return found


def keda_faults(doc):
    """What a ScaledObject may have: KEDA's schema comes with no Python package."""
    if doc["kind"] == "TriggerAuthentication":
        for ref in doc["spec"]["secretTargetRef"]:
            if set(ref) != {"parameter", "name", "key"}:
                yield f"{name_of(doc)}: a secretTargetRef with {sorted(ref)}"
        return
    spec = doc["spec"]
    known = {"scaleTargetRef", "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount", "advanced", "triggers"}
    for key in set(spec) - known:
        yield f"{name_of(doc)}: unknown key {key}"
    if not 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]:
        yield f"{name_of(doc)}: from {spec['minReplicaCount']} to {spec['maxReplicaCount']} workers"
    names = [trigger["name"] for trigger in spec["triggers"]]
    if len(set(names)) < len(names):
        yield f"{name_of(doc)}: two triggers of one name: {names}"
    for trigger in spec["triggers"]:
        wanted = {
            "redis-streams": [{"address", "stream", "consumerGroup", "pendingEntriesCount"},
                              {"address", "stream", "consumerGroup", "lagCount", "activationLagCount"}],
            "prometheus": [{"serverAddress", "query", "threshold"}],
        }.get(trigger["type"], [])
        if set(trigger["metadata"]) not in wanted:
            yield f"{name_of(doc)}: trigger {trigger['name']} of type {trigger['type']} with {sorted(trigger['metadata'])}"
        if not all(isinstance(value, str) for value in trigger["metadata"].values()):
            yield f"{name_of(doc)}: trigger {trigger['name']} has a value that is no text"


def pod_faults(doc):
    pod, who = doc["spec"]["template"]["spec"], name_of(doc)
    security = pod.get("securityContext", {})
    wanted = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    for key, value in wanted.items():
        if security.get(key) != value:
            yield f"{who}: securityContext.{key} is {security.get(key)}"
    for key, value in {"automountServiceAccountToken": False, "enableServiceLinks": False}.items():
        if pod.get(key) != value:
            yield f"{who}: {key} is {pod.get(key)}"
    if not pod.get("serviceAccountName"):
        yield f"{who}: no service account of its own"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{who}: {key}"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"{who}: hostPath"
    for one in containers(doc):
        yield from container_faults(f"{who}: {one['name']}", one)
    if doc["kind"] == "Job":
        return
    for one in pod["containers"]:
        for probe in ("livenessProbe", "readinessProbe"):
            if probe not in one:
                yield f"{who}: {one['name']} has no {probe}"


def container_faults(who, one):
    security = one.get("securityContext", {})
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    if security != wanted:
        yield f"{who}: securityContext is {security}"
    tag = one["image"].rpartition(":")[2] if ":" in one["image"].rpartition("/")[2] else ""
    if tag in ("", "latest"):
        yield f"{who}: image {one['image']} without a version"
    resources = one.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield f"{who}: resources are {resources}"
    if any("hostPort" in port for port in one.get("ports", [])):
        yield f"{who}: hostPort"
    for setting in one.get("env", []):
        if "value" in setting and setting["name"] in SECRET_KEYS:
            yield f"{who}: {setting['name']} in the open"


def drain_faults(docs):
    """The grace of a pod against the drain times of the code."""
    def seconds(file, constant):
        return int(re.search(rf"{constant}: Duration = Duration::from_secs\((\d+)\)", (ROOT / file).read_text())[1])
    worker = seconds("shared/src/consumer.rs", "DEFAULT_DRAIN")
    drains = {"gateway": seconds("gateway/src/http/serve.rs", "DRAIN_DEADLINE") + 3, "stt-worker": worker, "translation-worker": worker}
    for doc in of_kind(docs, "Deployment"):
        drain = drains.get(doc["metadata"]["name"], 0)
        grace = doc["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        if grace < drain + 5:
            yield f"{name_of(doc)}: {grace} s of grace for {drain} s of drain"


def reference_faults(docs):
    there = {name_of(doc) for doc in docs}
    made = set(re.findall(r"^metadata: \{name: ([a-z-]+)\}", (HERE / "secrets.sh").read_text(), re.M))
    for doc in of_kind(docs, *WORKLOADS):
        pod = doc["spec"]["template"]["spec"]
        wants = [f"ServiceAccount/{pod['serviceAccountName']}"] if pod.get("serviceAccountName") else []
        wants += [f"ConfigMap/{ref['configMapRef']['name']}" for one in containers(doc) for ref in one.get("envFrom", [])]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        claimed = {claim["metadata"]["name"] for claim in doc["spec"].get("volumeClaimTemplates", [])}
        for volume in volumes.values():
            for source in volume.get("projected", {}).get("sources", []) + [volume]:
                if "configMap" in source:
                    wants.append(f"ConfigMap/{source['configMap']['name']}")
                if "persistentVolumeClaim" in source:
                    wants.append(f"PersistentVolumeClaim/{source['persistentVolumeClaim']['claimName']}")
                secret = source.get("secret", {}).get("secretName") or source.get("secret", {}).get("name")
                if secret and secret not in made | BY_HAND:
                    yield f"{name_of(doc)}: nobody makes the Secret {secret}"
        for one in containers(doc):
            for mount in one.get("volumeMounts", []):
                if mount["name"] not in set(volumes) | claimed:
                    yield f"{name_of(doc)}: {one['name']} mounts {mount['name']}, which is no volume"
        for want in wants:
            if want not in there:
                yield f"{name_of(doc)}: {want} is not there"
    for doc in of_kind(docs, "PodDisruptionBudget"):
        if not any(selects(doc["spec"]["selector"], labels(pod)) for pod in of_kind(docs, *WORKLOADS)):
            yield f"{name_of(doc)}: selects nothing"
    for doc in of_kind(docs, "ScaledObject"):
        target = f"Deployment/{doc['spec']['scaleTargetRef']['name']}"
        if target not in there:
            yield f"{name_of(doc)}: {target} is not there"
        if any(name_of(pod) == target and "replicas" in pod["spec"] for pod in docs):
            yield f"{target}: has replicas, and {name_of(doc)} counts them"


def exposure_faults(docs):
    for doc in of_kind(docs, "Secret", "Ingress", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
        yield f"{name_of(doc)}: is not for the repository"
    for doc in of_kind(docs, "Service"):
        if doc["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{name_of(doc)}: of type {doc['spec']['type']}"
        for port in doc["spec"]["ports"]:
            if port["port"] not in (5026, 6379):
                yield f"{name_of(doc)}: leads to port {port['port']}"
    for doc in of_kind(docs, "ConfigMap"):
        for key in SECRET_KEYS & set(doc.get("data", {})):
            yield f"{name_of(doc)}: {key} in the open"
    for doc in docs:
        if doc["kind"] != "Namespace" and doc["metadata"].get("namespace") != "subtide":
            yield f"{name_of(doc)}: in namespace {doc['metadata'].get('namespace')}"


def peers(peer, roles):
    if "ipBlock" in peer:
        return ["world"]
    if "namespaceSelector" in peer:
        return [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] + "/"]
    named = [role for role, has in roles.items() if selects(peer["podSelector"], has)]
    return named or [peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]]


def arrow_faults(docs, components):
    roles = {doc["metadata"]["name"]: labels(doc) for doc in of_kind(docs, *WORKLOADS)}
    out, into = set(), set()
    policies = of_kind(docs, "NetworkPolicy")
    if not any(p["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for p in policies):
        yield "NetworkPolicy: nothing denies by default"
    for policy in policies:
        chosen = [role for role, has in roles.items() if selects(policy["spec"]["podSelector"], has)]
        if not chosen:
            yield f"{name_of(policy)}: selects nothing"
        for way, key, side in (("egress", "to", out), ("ingress", "from", into)):
            for rule in policy["spec"].get(way, []):
                if not rule.get(key) or not rule.get("ports"):
                    yield f"{name_of(policy)}: an {way} rule without {key} or ports"
                    continue
                for role in chosen:
                    for other in {name for peer in rule[key] for name in peers(peer, roles)}:
                        for port in {port["port"] for port in rule["ports"]}:
                            side.add((role, other, port) if way == "egress" else (other, role, port))
    out -= {arrow for arrow in out if arrow[1:] == ("kube-system/", 53)}
    wanted = set().union(*(ARROWS[name] for name in ["", *components]))
    outside = ("world", "postgres")
    for arrow in sorted(map(str, (out | into) ^ wanted)):
        yield f"NetworkPolicy: {arrow} is {'not ' if arrow in map(str, wanted) else ''}allowed"
    for arrow in wanted:
        if not arrow[0].endswith("/") and arrow not in out:
            yield f"NetworkPolicy: {arrow} may not go out"
        if arrow[1] not in outside and not arrow[1].endswith("/") and arrow not in into:
            yield f"NetworkPolicy: {arrow} may not come in"


def key_faults():
    """The keys of infra/env.example are those of base/*.env, but for those that only compose or a desk knows."""
    example = (HERE.parent / "env.example").read_text().split("# --- Only compose reads these")[0]
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.M)) - NOT_HERE
    lines = "\n".join(file.read_text() for file in sorted((HERE / "base").glob("*.env")))
    here = set(re.findall(r"^([A-Z][A-Z0-9_]+)=", lines, re.M)) - {"PULL"}
    plain = {key.removesuffix("_FILE") if key.removesuffix("_FILE") in SECRET_KEYS else key for key in here}
    for key in sorted(known - plain):
        yield f"base/*.env: {key} of env.example is missing"
    for key in sorted(plain - known):
        yield f"base/*.env: {key} is not in env.example"


def scaling_faults(docs):
    """Streams, groups, batches and metrics of the triggers against the code."""
    jobs = (ROOT / "shared/src/jobs.rs").read_text()
    said = dict(re.findall(r'pub const ([A-Z_]+): &str = "([a-z_]+)";', jobs))
    queues = {"stt-worker": (said["AUDIO_JOBS"], said["STT_GROUP"]), "translation-worker": (said["TRANSLATION_JOBS"], said["MT_GROUP"])}
    code = "\n".join(file.read_text() for room in ("gateway", "shared") for file in (ROOT / room / "src").rglob("*.rs"))
    for doc in of_kind(docs, "ScaledObject"):
        role = doc["metadata"]["name"]
        batch = int(re.search(r"DEFAULT_MAX_BATCH: usize = (\d+)", (ROOT / role / "src/config.rs").read_text())[1])
        for trigger in doc["spec"]["triggers"]:
            of = trigger["metadata"]
            if trigger["type"] == "redis-streams":
                if (of["stream"], of["consumerGroup"]) != queues[role]:
                    yield f"{name_of(doc)}: the queue is {queues[role]}"
                if int(of.get("pendingEntriesCount", 1)) >= 2 * batch:
                    yield f"{name_of(doc)}: a worker never has {of['pendingEntriesCount']} jobs in hand, and no other would come"
                continue
            for metric in re.findall(r"\b((?:gateway|subtide)_[a-z_]+)\{", of["query"]):
                if f'"{metric}"' not in code:
                    yield f"{name_of(doc)}: no code has the metric {metric}"
            if f'stream="{queues[role][0]}"' not in of["query"]:
                yield f"{name_of(doc)}: the query is not about {queues[role][0]}"


def faults(docs, components):
    found = list(schema_faults(docs))
    for doc in of_kind(docs, *WORKLOADS):
        found += pod_faults(doc)
    for rule in (drain_faults, reference_faults, exposure_faults, scaling_faults):
        found += rule(docs)
    return found + list(arrow_faults(docs, components))


def monitor_faults(docs, monitor):
    """Whether what Prometheus is told finds every role, under the names that its rules ask for."""
    rules = (ROOT / "infra/prometheus/rules.yml").read_text()
    scrape = yaml.safe_load((ROOT / "infra/prometheus/scrape-kubernetes.yml").read_text())["scrape_configs"][0]
    label = next(one["source_labels"][0] for one in scrape["relabel_configs"] if one.get("target_label") == "job")
    if label != "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", monitor["jobLabel"]):
        yield f"scrape-kubernetes.yml makes `job` of {label}, the PodMonitor of {monitor['jobLabel']}"
    seen = {labels(doc).get(monitor["jobLabel"]): doc for doc in of_kind(docs, *WORKLOADS) if selects(monitor["selector"], labels(doc))}
    for job in sorted(set(re.findall(r'absent\(up\{job="([a-z-]+)"\}', rules)) ^ set(seen)):
        yield f"PodMonitor: the rules ask for the jobs of the roles, and {job} is not one of both"
    for endpoint in monitor["podMetricsEndpoints"]:
        for job, doc in seen.items():
            if endpoint["port"] not in [port.get("name") for one in containers(doc) for port in one.get("ports", [])]:
                yield f"PodMonitor: {job} has no port {endpoint['port']}"


def user_faults(docs):
    """Each role is handed its own user of Redis, and no other's: the Secrets of secrets.sh as it prints them."""
    done = subprocess.run(["sh", str(HERE / "secrets.sh")], capture_output=True, text=True)
    if done.returncode:
        yield f"secrets.sh: {done.stderr}"
        return
    made = {doc["metadata"]["name"]: doc["stringData"] for doc in yaml.safe_load_all(done.stdout)}
    allowed = dict(re.findall(r"^user (\S+) on #([0-9a-f]{64}) ", made["redis-acl"]["users.acl"], re.M))
    for doc in of_kind(docs, "Deployment"):
        role = doc["metadata"]["name"]
        secrets = {volume["secret"]["secretName"] for volume in doc["spec"]["template"]["spec"].get("volumes", []) if "secret" in volume}
        wanted = {f"redis-{role}"} if labels(doc).get("subtide/bus") else set()
        if {name for name in secrets if name.startswith("redis-")} != wanted:
            yield f"{name_of(doc)}: has the Secrets {sorted(secrets)} of Redis, not {sorted(wanted)}"
        for name in wanted & set(made):
            user, password = re.match(r"redis://([^:]+):([^@]+)@redis:6379$", made[name]["url"]).groups()
            if user != role or allowed.get(user) != hashlib.sha256(password.encode()).hexdigest():
                yield f"secrets.sh: {name} is not the user {role} of users.acl"


def example_faults():
    """The overlay that README.md shows, and the patch of ScaledObjects that it shows, on top of everything."""
    text = (HERE / "README.md").read_text()
    blocks = [yaml.safe_load(re.sub(rf"^{indent}", "", block, flags=re.M))
              for indent, block in re.findall(r"^( *)```yaml\n(.*?)^ *```", text, re.M | re.S)]
    of = {block.get("kind"): block for block in blocks}
    mine, patches = of["Kustomization"], of[None]
    yield from (f"README.md: {fault}" for fault in monitor_faults(render("cpu", ["metrics"]), of["PodMonitor"]["spec"]))
    docs = render("cpu", [], mine)
    images = {one["image"] for doc in of_kind(docs, *WORKLOADS) for one in containers(doc)}
    wanted = {f"{image['newName']}:{image['newTag']}" for image in mine["images"]} | {"redis:7.2"}
    if images != wanted:
        yield f"README.md: its overlay has the images {sorted(images)}"
    yield from (f"README.md: {fault}" for fault in faults(docs, []))
    mine = {key: value for key, value in mine.items() if key != "replicas"}
    docs = render("cpu", COMPONENTS, {**mine, **patches})
    images = {one["image"] for doc in of_kind(docs, *WORKLOADS) for one in containers(doc)}
    if any(image.startswith("subtide:") for image in images):
        yield f"README.md: its overlay with all components has the images {sorted(images)}"
    yield from (f"README.md: {fault}" for fault in faults(docs, COMPONENTS))


def main():
    found = set(key_faults())
    rendered = 0
    for overlay in sorted(path.name for path in (HERE / "overlays").iterdir()):
        own = ["models"] if overlay == "cuda" else []
        for chosen in [[], *([name] for name in COMPONENTS), COMPONENTS]:
            chosen = [name for name in COMPONENTS if any(name in (want, *NEEDS.get(want, [])) for want in chosen) and name not in own]
            docs = render(overlay, chosen)
            rendered += 1
            found |= {f"overlays/{overlay} with {' '.join(chosen) or 'nothing'}: {fault}" for fault in faults(docs, chosen + own)}
    found |= set(example_faults())
    found |= set(user_faults(render("cpu", COMPONENTS)))
    rendered += 2
    if "--self-test" in sys.argv:
        import bad_examples

        found |= set(bad_examples.missed())
    if not kubernetes_validate:
        print("not checked against the schemas of Kubernetes: pip install kubernetes-validate")
    print("\n".join(sorted(found)) or f"{rendered} renderings, nothing wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
