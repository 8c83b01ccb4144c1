#!/usr/bin/env python3
"""Whether what is watched exists: metrics of the code, docs/OPERATIONS.md, rules, their tests and dashboards, compared.

    python3 infra/prometheus/check.py                         the files, with promtool's judgement where it is installed
    python3 infra/prometheus/check.py http://HOST:8080/metrics ...   and what these ports or files really tell

Prints every disagreement and ends with 1 if there is one. Needs nothing but Python 3.9.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "infra/prometheus"
DASHBOARDS = ROOT / "infra/grafana/dashboards"
SOURCE_UID = "subtide-prometheus"
OURS = r"\b(?:gateway|subtide|process)_[a-z_]+\b"
# Those of the library's own collector, which the code registers by this name.
COLLECTOR = "ProcessCollector"
OF_PROCESS = {"process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_virtual_memory_bytes",
              "process_resident_memory_bytes", "process_start_time_seconds", "process_threads"}
# Alerts that are never quiet, by design.
ALWAYS = {"Watchdog"}
# What Prometheus itself adds.
ITS_OWN = {"up", "ALERTS"}
ROOMS = ["shared", "gateway", "identity", "stt-worker", "translation-worker", "subtide"]

faults = []


def fault(text):
    faults.append(text)


def in_code():
    """Names in those files that register metrics."""
    names = set()
    for room in ROOMS:
        for path in (ROOT / room / "src").rglob("*.rs"):
            text = path.read_text().split("\n#[cfg(test)]\nmod ")[0]
            if COLLECTOR in text:
                names.update(OF_PROCESS)
            if re.search(r"^use prometheus::\{?[^;]*(Counter|Gauge|Histogram)", text, re.M):
                names.update(re.findall(r'"((?:gateway|subtide)_[a-z_]+)"', text))
    return names


def in_document():
    """name -> (type, labels) of the tables in docs/OPERATIONS.md."""
    text = (ROOT / "docs/OPERATIONS.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|([^|]*)\|([^|]*)\|$", text, re.M)
    found = {}
    for name, kind, labels, _unit, _meaning in rows:
        if name in found:
            fault(f"docs/OPERATIONS.md: {name} stands there twice")
        found[name] = (kind, set(re.findall(r"`([a-z]+)`", labels)))
    return found


def check_reasons():
    """The door counts every reason for which its code turns somebody away."""
    door = ROOT / "gateway/src/door"
    text = (door / "metrics.rs").read_text()
    listed = set(re.findall(r'"([a-z_]+)"', re.search(r"const REASONS[^;]*;[^;]*;", text).group(0)))
    row = re.search(r"^\| `gateway_refused_total` .*$", (ROOT / "docs/OPERATIONS.md").read_text(), re.M)
    for word in sorted(listed | {"other"}):
        if not row or f"`{word}`" not in row.group(0):
            fault(f"docs/OPERATIONS.md: gateway_refused_total does not name the reason {word}")
    for path in [*door.glob("*.rs"), ROOT / "gateway/src/http/stream.rs"]:
        code = path.read_text().split("#[cfg(test)]")[0]
        used = re.findall(r'TurnedAway::new\(\s*ErrorCode::\w+,\s*"([a-z_]+)"|Self::new\(ErrorCode::\w+, "([a-z_]+)"', code)
        for word in {first or second for first, second in used} - listed:
            fault(f"{path.relative_to(ROOT)}: the reason {word} is not counted by the door")


def base(name, documented):
    """A histogram's series without its suffix."""
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if documented.get(stem, ("",))[0] == "histogram" else name


def exists(expression, where, documented, recorded):
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    for name in re.findall(r"\bsubtide:[a-z_0-9:]+", bare):
        if name not in recorded:
            fault(f"{where}: {name} is recorded by no rule")
    for name in set(re.findall(OURS, re.sub(r"\bsubtide:[a-z_0-9:]+", "", bare))):
        if base(name, documented) not in documented:
            fault(f"{where}: {name} is no metric of the code")


def check_rules(documented):
    text = (HERE / "rules.yml").read_text()
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    recorded = set(re.findall(r"- record: (\S+)", code))
    alerts = re.findall(r"- alert: (\S+)", code)
    exists(re.sub(r"(runbook|- record|- alert|- name): .*", "", code), "rules.yml", documented, recorded)
    manual = (ROOT / "docs/OPERATIONS.md").read_text()
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", manual, re.M):
        anchors.add(re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-"))
    for anchor in re.findall(r"runbook: docs/OPERATIONS\.md#(\S+)", code):
        if anchor not in anchors:
            fault(f"rules.yml: docs/OPERATIONS.md has no heading for #{anchor}")
    if len(re.findall(r"runbook: ", code)) != len(alerts):
        fault("rules.yml: an alert has no runbook")
    tests = (HERE / "rules_test.yml").read_text() + (HERE / "rules_days_test.yml").read_text()
    for alert in alerts:
        if not re.search(rf"alertname: {alert}\n\s+exp_alerts:(?: &\w+)?\n", tests):
            fault(f"rules_test.yml: nothing makes {alert} fire")
        if alert not in ALWAYS and not re.search(rf"alertname: {alert}\n\s+exp_alerts: \[\]", tests):
            fault(f"rules_test.yml: nothing shows when {alert} stays quiet")
    return recorded, alerts


def check_dashboards(documented, recorded):
    expressions = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        if board["uid"] != path.stem:
            fault(f"{path.name}: its uid is {board['uid']}")
        ids = [panel["id"] for panel in board["panels"]]
        if len(set(ids)) != len(ids):
            fault(f"{path.name}: two panels have one id")
        for panel in board["panels"]:
            place = panel["gridPos"]
            if place["x"] + place["w"] > 24:
                fault(f"{path.name}: {panel['title']} stands out of the page")
            for target in panel.get("targets", []):
                if target["datasource"]["uid"] != SOURCE_UID:
                    fault(f"{path.name}: {panel['title']} asks another data source")
                exists(target["expr"], f"{path.name}: {panel['title']}", documented, recorded)
                expressions.append(target["expr"])
    if f"uid: {SOURCE_UID}" not in (ROOT / "infra/grafana/provisioning/datasources/prometheus.yml").read_text():
        fault(f"provisioning: no data source has the uid {SOURCE_UID}")
    return expressions


def promtool(expressions):
    """The syntax of everything, and the unit tests of the rules."""
    if not shutil.which("promtool"):
        print("promtool is not installed: syntax and unit tests are not looked at (Debian: apt-get install prometheus)")
        return
    with tempfile.TemporaryDirectory() as folder:
        panels = Path(folder) / "panels.yml"
        rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(expressions)]
        panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
        runs = [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml", str(panels)],
                ["test", "rules", "rules_test.yml", "rules_days_test.yml"]]
        for run in runs:
            done = subprocess.run(["promtool", *run], cwd=HERE, capture_output=True, text=True, check=False)
            if done.returncode:
                fault(f"promtool {' '.join(run)}:\n{done.stdout}{done.stderr}")


def check_scrape(where, documented):
    """What a live port tells must be what the document says, and no more."""
    if where.startswith("http"):
        with urllib.request.urlopen(where, timeout=5) as answer:
            text = answer.read().decode()
    else:
        text = Path(where).read_text()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        if name not in documented:
            fault(f"{where}: {name} is not documented")
            continue
        if documented[name][0] != kind:
            fault(f"{where}: {name} is a {kind}, not a {documented[name][0]}")
        labels = set()
        for series in re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{([^}}]*)\}}", text, re.M):
            labels.update(re.findall(r'([a-z_]+)="', series))
        labels.discard("le")
        if labels != documented[name][1]:
            fault(f"{where}: {name} has the labels {sorted(labels)}, not {sorted(documented[name][1])}")


def main():
    code, documented = in_code(), in_document()
    for name in sorted(code - set(documented)):
        fault(f"docs/OPERATIONS.md: {name} is missing")
    for name in sorted(set(documented) - code):
        fault(f"docs/OPERATIONS.md: {name} is in no code")
    check_reasons()
    recorded, alerts = check_rules(documented)
    expressions = check_dashboards(documented, recorded)
    promtool(expressions)
    for where in sys.argv[1:]:
        check_scrape(where, documented)
    for text in faults:
        print(text)
    counts = f"{len(code)} metrics, {len(recorded)} recorded series, {len(alerts)} alerts, {len(expressions)} queries of panels"
    print(f"{counts}: {f'{len(faults)} faults' if faults else 'all agree'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
