"""check.py, held by bad examples: python infra/k8s/check.py --self-test"""

import copy

import check


def missed():
    """Each line breaks one thing in what is rendered; a fault must say the word."""
    all_of_them = check.render("cpu", check.COMPONENTS)

    def one(docs, kind, name):
        return next(doc for doc in docs if (doc["kind"], doc["metadata"]["name"]) == (kind, name))

    def pod(docs, name):
        return one(docs, "Deployment", name)["spec"]["template"]["spec"]

    bad = [
        ("not by the schema", lambda d: one(d, "Deployment", "gateway")["spec"].update(replica=1)) if check.kubernetes_validate else None,
        ("runAsUser", lambda d: pod(d, "gateway")["securityContext"].update(runAsUser=0)),
        ("enableServiceLinks", lambda d: pod(d, "stt-worker").pop("enableServiceLinks")),
        ("without a version", lambda d: pod(d, "gateway")["containers"][0].update(image="host:5000/subtide")),
        ("without a version", lambda d: pod(d, "gateway")["containers"][0].update(image="subtide:latest")),
        ("securityContext is", lambda d: pod(d, "gateway")["containers"][0]["securityContext"].update(privileged=True)),
        ("has no readinessProbe", lambda d: pod(d, "cloudflared")["containers"][0].pop("readinessProbe")),
        ("s of drain", lambda d: pod(d, "gateway").update(terminationGracePeriodSeconds=15)),
        ("is not there", lambda d: d.remove(one(d, "ServiceAccount", "models"))),
        ("nobody makes", lambda d: pod(d, "gateway")["volumes"][1]["secret"].update(secretName="redis")),
        ("leads to port", lambda d: one(d, "Service", "gateway")["spec"]["ports"].append({"port": 8080})),
        ("in the open", lambda d: one(d, "ConfigMap", next(c["metadata"]["name"] for c in d if c["kind"] == "ConfigMap"))["data"].update(JWT_SECRET="x")),
        ("denies by default", lambda d: d.remove(one(d, "NetworkPolicy", "default-deny"))),
        ("may not come in", lambda d: d.remove(one(d, "NetworkPolicy", "bus-in"))),
        ("allowed", lambda d: one(d, "NetworkPolicy", "gateway-to-provider")["spec"].update(podSelector={"matchLabels": {"subtide/bus": "true"}})),
        ("selects nothing", lambda d: one(d, "PodDisruptionBudget", "gateway")["spec"]["selector"].update(matchLabels={"app": "x"})),
        ("counts them", lambda d: one(d, "Deployment", "stt-worker")["spec"].update(replicas=3)),
        ("no code has", lambda d: one(d, "ScaledObject", "stt-worker")["spec"]["triggers"][2]["metadata"].update(query='max(gateway_queue_age{stream="audio_jobs"})')),
        ("the queue is", lambda d: one(d, "ScaledObject", "stt-worker")["spec"]["triggers"][0]["metadata"].update(stream="jobs")),
        ("no other would come", lambda d: one(d, "ScaledObject", "stt-worker")["spec"]["triggers"][0]["metadata"].update(pendingEntriesCount="32")),
    ]
    silent = []
    for word, spoil in filter(None, bad):
        docs = copy.deepcopy(all_of_them)
        spoil(docs)
        if not any(word in fault for fault in check.faults(docs, check.COMPONENTS)):
            silent.append(f"no fault says `{word}`")
    docs = copy.deepcopy(all_of_them)
    volumes = pod(docs, "translation-worker")["volumes"]
    next(volume for volume in volumes if volume["name"] == "redis")["secret"]["secretName"] = "redis-gateway"
    if not any("redis-gateway" in fault for fault in check.user_faults(docs)):
        silent.append("no fault says that a worker has the gateway's user of Redis")
    monitor = {"jobLabel": "app.kubernetes.io/part-of", "selector": {"matchLabels": {"subtide/bus": "true"}}, "podMetricsEndpoints": [{"port": "health"}]}
    if not any("the rules ask" in fault for fault in check.monitor_faults(all_of_them, monitor)):
        silent.append("no fault says that all pods would be one job")
    return silent
