#!/usr/bin/env python3
"""What is in the desktop client: gen/sbom.cdx.json (CycloneDX 1.5), gen/THIRD-PARTY.txt (the notices of every crate that is
linked in, which their licences want to travel along), and gen/contents.conf.json, which puts the notices into the bundle.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOM = pathlib.Path(__file__).resolve().parent.parent
ROOT = ROOM.parent
GEN = ROOM / "gen"
MODELS = ["demo-stt-en", "demo-mt-en-es"]
NOTICES = ("licen", "copying", "notice", "copyright", "unlicense")


def metadata(target: str | None) -> dict:
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", target or host()]
    return json.loads(subprocess.run(command, cwd=ROOM, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)


def host() -> str:
    told = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return next(line.removeprefix("host: ") for line in told.splitlines() if line.startswith("host: "))


def linked(graph: dict) -> tuple[dict, list[dict]]:
    """The desktop client itself, and every crate that ends up in it: what only builds or tests it does not."""
    packages = {package["id"]: package for package in graph["packages"]}
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    root = next(package for package in graph["packages"] if package["name"] == "desktop-client")
    seen, open_ = {root["id"]}, [root["id"]]
    while open_:
        for dependency in nodes[open_.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if normal and not macro and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                open_.append(dependency["pkg"])
    rest = [packages[i] for i in seen - {root["id"]}]
    return root, sorted(rest, key=lambda package: (package["name"], package["version"]))


def checksums() -> dict[tuple[str, str], str]:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def component(package: dict, sums: dict) -> dict:
    name, version = package["name"], package["version"]
    ours = package["source"] is None
    made = {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "licenses": [{"expression": (package["license"] or "NOASSERTION").replace("/", " OR ")}],
    }
    if not ours:
        made["purl"] = f"pkg:cargo/{name}@{version}"
    if (name, version) in sums:
        made["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    return made


def model(name: str) -> dict:
    digest = hashlib.sha256((ROOT / "models" / name / "model.safetensors").read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "description": f"Its card is models/{name}/README.md",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def sbom(root: dict, packages: list[dict], graph: dict) -> dict:
    sums = checksums()
    refs = {package["id"]: f"{package['name']}@{package['version']}" for package in packages + [root]}
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    edges = [
        {"ref": ref, "dependsOn": sorted({refs[d["pkg"]] for d in nodes[i]["deps"] if d["pkg"] in refs} - {ref})}
        for i, ref in refs.items()
    ]
    components = [component(package, sums) for package in packages] + [model(name) for name in MODELS]
    # The same contents give the same number.
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(components, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": component(root, sums) | {"type": "application", "name": "Subtide"}},
        "components": components,
        "dependencies": sorted(edges, key=lambda edge: edge["ref"]),
    }


def notices(packages: list[dict]) -> str:
    """Each text once, under the names of all crates that have it."""
    owners: dict[str, list[str]] = {}
    silent = []
    for package in (p for p in packages if p["source"] is not None):
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().startswith(NOTICES))
        label = f"{package['name']} {package['version']} ({package['license'] or 'see its text'}) {package['repository'] or ''}".strip()
        for path in files:
            text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()).strip()
            owners.setdefault(text, []).append(label)
        if not files:
            silent.append(f"{label}: {', '.join(package['authors']) or 'no author named'}")
    parts = [f"{chr(10).join(sorted(set(names)))}\n\n{text}\n" for text, names in owners.items()]
    if silent:
        parts.append("These come without a text of their own; their licence and authors, as they name them:\n\n" + "\n".join(silent) + "\n")
    rule = "\n" + "-" * 100 + "\n\n"
    return "Subtide is built with the work of these people.\n" + rule + rule.join(parts)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Says what is in the desktop client.")
    arguments.add_argument("--target", help="a Rust target; default: this machine")
    target = arguments.parse_args().target
    graph = metadata(target)
    root, packages = linked(graph)
    if len(packages) < 100:
        sys.exit(f"only {len(packages)} crates found: has the dependency graph been read wrongly?")
    GEN.mkdir(exist_ok=True)
    (GEN / "sbom.cdx.json").write_text(json.dumps(sbom(root, packages, graph), indent=1) + "\n", encoding="utf-8")
    (GEN / "THIRD-PARTY.txt").write_text(notices(packages), encoding="utf-8")
    resources = {"gen/THIRD-PARTY.txt": "licences/THIRD-PARTY.txt"}
    (GEN / "contents.conf.json").write_text(json.dumps({"bundle": {"resources": resources}}, indent=2) + "\n", encoding="utf-8")
    print(f"{len(packages)} crates and {len(MODELS)} models in {GEN / 'sbom.cdx.json'}")


if __name__ == "__main__":
    main()
