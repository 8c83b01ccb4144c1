#!/usr/bin/env python3
"""Writes what installed clients ask for updates: python3 latest.py FOLDER VERSION ADDRESS > latest.json

FOLDER holds the bundles and their .sig files; ADDRESS is where each will be found, without its name. A client asks for its
own kind first (`linux-x86_64-deb`), and for its system (`linux-x86_64`) where there is none.
"""

import datetime
import json
import pathlib
import re
import sys

# What a name ends in: system, kind, and whether it stands for its system as well.
KINDS = [
    (r"\.deb$", "linux", "deb", False),
    (r"\.AppImage$", "linux", "appimage", True),
    (r"\.msi$", "windows", "msi", False),
    (r"-setup\.exe$", "windows", "nsis", True),
    (r"\.app\.tar\.gz$", "darwin", "app", True),
]
MACHINES = {"amd64": "x86_64", "x64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


def platforms(folder: pathlib.Path, address: str) -> dict[str, dict[str, str]]:
    found = {}
    for signature in sorted(folder.glob("*.sig")):
        name = signature.name.removesuffix(".sig")
        if not (folder / name).is_file():
            sys.exit(f"{signature.name} signs {name}, which is not there")
        kind = next((kind for kind in KINDS if re.search(kind[0], name)), None)
        machine = next((MACHINES[word] for word in re.split(r"[_.-]", name.replace("x86_64", "x64")) if word in MACHINES), None)
        if not kind or not machine:
            sys.exit(f"{name}: neither its kind nor its machine can be told from its name")
        _, system, installer, default = kind
        entry = {"url": f"{address.rstrip('/')}/{name}", "signature": signature.read_text(encoding="utf-8").strip()}
        for key in [f"{system}-{machine}-{installer}"] + ([f"{system}-{machine}"] if default else []):
            if key in found:
                sys.exit(f"{name}: there are two bundles for {key}")
            found[key] = entry
    return found


def main(folder: str, version: str, address: str) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = platforms(pathlib.Path(folder), address)
    if not found:
        sys.exit(f"no .sig file in {folder}: were the bundles built without TAURI_SIGNING_PRIVATE_KEY?")
    print(json.dumps({"version": version.removeprefix("v"), "pub_date": now, "platforms": found}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
