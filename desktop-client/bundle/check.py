#!/usr/bin/env python3
"""What can be known to be wrong before an hour of building: python3 desktop-client/bundle/check.py [TAG].

The files that the configuration names are there, the bundler fits the crate `tauri`, every language of the page has its
permission texts, and a tag, if given, is the version.
"""

import json
import pathlib
import plistlib
import re
import struct
import sys
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import build  # noqa: E402

ROOM = build.ROOM
LANGUAGES = {"ar", "en", "es", "hi", "zh-Hans"}


def named_files(bundle: dict) -> list[str]:
    linux, mac, windows = bundle["linux"], bundle["macOS"], bundle["windows"]
    maps = [bundle["resources"], {v: k for k, v in linux["deb"]["files"].items()}, {v: k for k, v in linux["appimage"]["files"].items()}]
    single = [linux["deb"]["desktopTemplate"], mac["entitlements"], mac["infoPlist"], windows["nsis"]["installerIcon"]]
    return bundle["icon"] + single + list(mac["files"].values()) + [path for each in maps for path in each]


def faults(tag: str | None) -> list[str]:
    conf = json.loads((ROOM / "tauri.bundle.conf.json").read_text(encoding="utf-8"))
    bundle = conf["bundle"]
    lock = {p["name"]: p["version"] for p in tomllib.loads((ROOM.parent / "Cargo.lock").read_text(encoding="utf-8"))["package"]}
    workspace = tomllib.loads((ROOM.parent / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]
    manifest = tomllib.loads((ROOM / "Cargo.toml").read_text(encoding="utf-8"))
    found = [f"tauri.bundle.conf.json names {path}, which is not there" for path in named_files(bundle) if not (ROOM / path).exists()]
    cli = build.CLI.rpartition("@")[2]
    if cli.split(".")[:2] != lock["tauri"].split(".")[:2]:
        found.append(f"the bundler is {cli}, and tauri in Cargo.lock {lock['tauri']}: their first two numbers have to be the same")
    if conf["mainBinaryName"] not in [each["name"] for each in manifest["bin"]]:
        found.append(f"there is no program {conf['mainBinaryName']} in Cargo.toml")
    wanted = {key for key in plistlib.loads((ROOM / bundle["macOS"]["infoPlist"]).read_bytes()) if key.endswith("UsageDescription")}
    if len(wanted) != 2:
        found.append(f"Info.plist explains {sorted(wanted)}, and should explain the microphone and what the machine plays")
    told = {pathlib.Path(path).parent.stem: path for path in bundle["macOS"]["files"].values()}
    if set(told) != LANGUAGES:
        found.append(f"permission texts for {sorted(told)}, and the page speaks {sorted(LANGUAGES)}")
    for path in told.values():
        keys = set(re.findall(r'^"(\w+)" = "[^"]+";$', (ROOM / path).read_text(encoding="utf-8"), re.MULTILINE))
        found += [f"{path} has {sorted(keys)}, and should have {sorted(wanted)}"] if keys != wanted else []
    for path in (path for path in bundle["icon"] if path.endswith(".png")):
        data = (ROOM / path).read_bytes()
        width, height, depth, colours = struct.unpack(">IIBB", data[16:26])
        if (width, depth, colours) != (height, 8, 6):
            found.append(f"{path}: tauri reads square PNG files of 8 bits with red, green, blue and alpha only")
    if tag and tag.removeprefix("v") != workspace["version"]:
        found.append(f"the tag is {tag}, and the version in Cargo.toml {workspace['version']}")
    return found


if __name__ == "__main__":
    wrong = faults(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else None)
    sys.exit("\n".join(wrong) if wrong else None)
