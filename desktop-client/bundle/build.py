#!/usr/bin/env python3
"""Builds and bundles the desktop client for the system it runs on: python3 desktop-client/bundle/build.py [--bundles deb].

What is signed depends on what the environment holds (README.md beside this file names it all). A variable that is empty
counts as absent, because that is how a secret that nobody set arrives in a workflow. What is not signed is said aloud.
The bundles end up in desktop-client/gen/dist, under names that say system and machine.
"""

import argparse
import base64
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

ROOM = pathlib.Path(__file__).resolve().parent.parent
GEN = ROOM / "gen"
# The version that the crate `tauri` has in Cargo.lock: the two have to fit.
CLI = "@tauri-apps/cli@2.12.5"
BUNDLES = {"Linux": "deb,appimage", "Darwin": "app,dmg", "Windows": "msi,nsis"}
KINDS = (".deb", ".AppImage", ".dmg", ".msi", "-setup.exe", ".app.tar.gz")


def secret(name: str) -> str | None:
    """The variable; one that is empty is taken out of the environment, so that the bundler does not believe it either."""
    value = os.environ.get(name, "").strip()
    if not value:
        os.environ.pop(name, None)
    return value or None


def missing_of(names: list[str]) -> list[str]:
    return [name for name in names if not secret(name)]


class Signing:
    """What to add to the configuration, and what stays unsigned."""

    def __init__(self) -> None:
        self.config: dict = {"bundle": {}}
        self.unsigned: list[str] = []

    def skip(self, text: str) -> None:
        self.unsigned.append(text)
        print(f"::warning title=Not signed::{text}" if os.environ.get("GITHUB_ACTIONS") else f"NOT SIGNED: {text}", flush=True)

    def apple(self) -> None:
        missing = missing_of(["APPLE_CERTIFICATE", "APPLE_CERTIFICATE_PASSWORD"])
        if missing:
            # Half a certificate would be imported and fail; an ad-hoc signature at least seals the bundle.
            for name in ("APPLE_CERTIFICATE", "APPLE_CERTIFICATE_PASSWORD", "APPLE_SIGNING_IDENTITY"):
                os.environ.pop(name, None)
            self.config["bundle"]["macOS"] = {"signingIdentity": "-"}
            self.skip(f"macOS: ad-hoc signature only, without {' and '.join(missing)}; people must allow it in Privacy & Security")
        by_key, by_id = ["APPLE_API_KEY", "APPLE_API_ISSUER", "APPLE_API_KEY_CONTENT"], ["APPLE_ID", "APPLE_PASSWORD", "APPLE_TEAM_ID"]
        without_key, without_id = missing_of(by_key), missing_of(by_id)
        if missing or (without_key and without_id):
            for name in by_key + by_id:
                os.environ.pop(name, None)
            self.skip("macOS: not notarised; it wants a certificate, and either " f"{', '.join(by_key)} or {', '.join(by_id)}")
        elif not without_key:
            path = pathlib.Path(tempfile.mkdtemp()) / f"AuthKey_{os.environ['APPLE_API_KEY']}.p8"
            path.touch(mode=0o600)
            path.write_text(os.environ.pop("APPLE_API_KEY_CONTENT") + "\n", encoding="utf-8")
            os.environ["APPLE_API_KEY_PATH"] = str(path)

    def windows(self) -> None:
        command = secret("WINDOWS_SIGN_COMMAND")
        missing = missing_of(["WINDOWS_CERTIFICATE", "WINDOWS_CERTIFICATE_PASSWORD"])
        if command:
            if "%1" not in command.split():
                sys.exit("WINDOWS_SIGN_COMMAND must have %1, a word of its own, where the file to sign goes")
            self.config["bundle"]["windows"] = {"signCommand": command}
        elif not missing:
            url = secret("WINDOWS_TIMESTAMP_URL")
            if not url:
                sys.exit("WINDOWS_TIMESTAMP_URL is missing: without a time stamp the signature ends with the certificate")
            thumbprint = import_certificate()
            self.config["bundle"]["windows"] = {"certificateThumbprint": thumbprint, "timestampUrl": url, "tsp": True}
        else:
            self.skip(f"Windows: no signature, without WINDOWS_SIGN_COMMAND or {' and '.join(missing)}; SmartScreen will warn people")

    def updater(self) -> None:
        if not secret("TAURI_SIGNING_PRIVATE_KEY"):
            # A client that asks for updates nobody can sign would only ever be disappointed.
            for name in ("TAURI_SIGNING_PRIVATE_KEY_PASSWORD", "SUBTIDE_UPDATE_URL", "SUBTIDE_UPDATE_KEY"):
                os.environ.pop(name, None)
            self.skip("updates: no TAURI_SIGNING_PRIVATE_KEY, so this build never looks for updates")
            return
        missing = missing_of(["SUBTIDE_UPDATE_URL", "SUBTIDE_UPDATE_KEY"])
        if missing:
            sys.exit(f"TAURI_SIGNING_PRIVATE_KEY is there, but not {' and '.join(missing)}: updates would be signed for nobody")
        # Asked for at a prompt where it is absent, and an empty one is right for a key without a password.
        os.environ.setdefault("TAURI_SIGNING_PRIVATE_KEY_PASSWORD", "")
        self.config["bundle"]["createUpdaterArtifacts"] = True
        self.config["plugins"] = {"updater": {"pubkey": os.environ["SUBTIDE_UPDATE_KEY"], "endpoints": [os.environ["SUBTIDE_UPDATE_URL"]]}}


def import_certificate() -> str:
    """Puts the certificate into the store of this user, and tells its thumbprint."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "certificate.pfx"
        path.write_bytes(base64.b64decode(os.environ["WINDOWS_CERTIFICATE"]))
        script = (
            "$password = ConvertTo-SecureString $env:WINDOWS_CERTIFICATE_PASSWORD -AsPlainText -Force;"
            f"(Import-PfxCertificate -FilePath '{path}' -CertStoreLocation Cert:\\CurrentUser\\My -Password $password).Thumbprint"
        )
        found = subprocess.run(["powershell", "-NoProfile", "-Command", script], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return found.stdout.strip().splitlines()[-1]


def signing_for(system: str) -> Signing:
    signing = Signing()
    {"Darwin": signing.apple, "Windows": signing.windows}.get(system, lambda: None)()
    signing.updater()
    return signing


def version() -> str:
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--offline"], cwd=ROOM, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return next(p["version"] for p in json.loads(metadata.stdout)["packages"] if p["name"] == "desktop-client")


def collect(folder: pathlib.Path, machine: str) -> list[pathlib.Path]:
    """Copies what is to be given away, and its signatures; `Subtide.app.tar.gz` gets version and machine into its name."""
    out = GEN / "dist"
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for path in sorted(p for p in folder.glob("*/*") if p.is_file() and p.name.removesuffix(".sig").endswith(KINDS)):
        name = path.name
        if ".app.tar.gz" in name and version() not in name:
            name = name.replace(".app.tar.gz", f"_{version()}_{machine}.app.tar.gz")
        files.append(pathlib.Path(shutil.copy2(path, out / name)))
    return files


def main() -> None:
    arguments = argparse.ArgumentParser(description="Builds and bundles the desktop client.")
    arguments.add_argument("--bundles", default=BUNDLES.get(platform.system()), help="kinds, separated by commas")
    arguments.add_argument("--target", help="a Rust target; default: this machine")
    arguments.add_argument("--bundle-only", action="store_true", help="bundle the release that was built before")
    arguments.add_argument("--debug", action="store_true", help="a development build")
    arguments.add_argument("--dry-run", action="store_true", help="say what would be run, and with what configuration")
    chosen = arguments.parse_args()

    GEN.mkdir(exist_ok=True)
    signing = signing_for(platform.system())
    (GEN / "signing.conf.json").write_text(json.dumps(signing.config, indent=2) + "\n", encoding="utf-8")
    (GEN / "unsigned.txt").write_text("".join(f"- {line}\n" for line in signing.unsigned), encoding="utf-8")

    contents = [sys.executable, str(ROOM / "bundle/contents.py")] + (["--target", chosen.target] if chosen.target else [])
    tauri = [shutil.which("npx") or "npx", "--yes", CLI, "bundle" if chosen.bundle_only else "build"]
    tauri += ["--bundles", chosen.bundles] + (["--target", chosen.target] if chosen.target else [])
    for config in ("tauri.bundle.conf.json", "gen/contents.conf.json", "gen/signing.conf.json"):
        tauri += ["--config", config]
    tauri += ["--debug"] if chosen.debug else []
    tauri += [] if chosen.bundle_only else ["--", "--locked"]
    if chosen.dry_run:
        print(" ".join(contents), " ".join(tauri), json.dumps(signing.config), sep="\n")
        return
    # What was bundled before must not be taken for what is bundled now.
    shutil.rmtree(GEN / "dist", ignore_errors=True)
    # Symbols would be nine tenths of the download.
    os.environ.setdefault("CARGO_PROFILE_RELEASE_STRIP", "symbols")
    for command in (contents, tauri):
        # It has said itself what is wrong.
        if subprocess.run(command, cwd=ROOM).returncode:
            sys.exit(f"{pathlib.Path(command[1]).name if command is contents else CLI} failed")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOM.parent / "target")) / (chosen.target or "")
    machine = (chosen.target or platform.machine()).split("-")[0].replace("x86_64", "x64").replace("arm64", "aarch64")
    files = collect(target / ("debug" if chosen.debug else "release") / "bundle", machine)
    if not files:
        sys.exit(f"nothing was bundled below {target}")
    for path in files:
        print(f"{path.stat().st_size / 1e6:8.1f} MB  {path}")


if __name__ == "__main__":
    main()
