#!/usr/bin/env python3
"""Scales the workers of compose.yml by how old jobs get. Python 3.9 or newer, and nothing else; README.md tells more.

    python3 infra/autoscale/autoscale.py --service stt-worker=1:6 --service translation-worker=1:3
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone

from decide import Look, Memory, Policy, decide

#: By service: its queue as `subtide status` names it, its stream, its group.
QUEUES = {
    "stt-worker": ("speech", "audio_jobs", "stt"),
    "translation-worker": ("translation", "translation_jobs", "mt"),
}
#: Seconds a command of Docker may take; one that changes something may wait for a worker to finish what it has in hand.
LOOK_TIMEOUT = 20
CHANGE_TIMEOUT = 120


class Unusable(Exception):
    """A command failed, or what it said is not what it should be."""


def log(**fields):
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(json.dumps({"timestamp": stamp, **fields}), flush=True)


def run(command, timeout):
    """Standard output of a command, and its exit status."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{command[0]}: {error.__class__.__name__}") from error
    return done.returncode, done.stdout, done.stderr


def must(command, timeout):
    status, out, err = run(command, timeout)
    if status != 0:
        said = (err.strip().splitlines() or ["nothing said"])[-1]
        raise Unusable(f"exit status {status}: {said[:300]}")
    return out


def look_by_status(report, queue, now_unix, now):
    """The look at `queue` in what `subtide status --json` says; None where it does not know."""
    part = report["queues"].get(queue) or {}
    age = part.get("oldest_seconds")
    # What the roles tell of the queue may be of before Redis went away; what Redis itself says is of now.
    if part.get("source") != "redis" or not isinstance(age, (int, float)) or isinstance(age, bool):
        return None
    return Look(at=now - (now_unix - report["at_unix_ms"] / 1000), age=float(age))


def look_by_groups(groups, group, first_unread, in_hand, clock, now):
    """The look at a group as Redis tells it: rows of XINFO GROUPS, the next entry by XRANGE, XPENDING in short, and TIME."""
    if not any(row.get("name") == group for row in groups):
        return None
    oldest = [str(entry[0]) for entry in first_unread[:1]] + ([str(in_hand[1])] if in_hand and in_hand[0] else [])
    ages = [int(clock[0]) + int(clock[1]) / 1e6 - int(entry.split("-")[0]) / 1000 for entry in oldest]
    return Look(at=now, age=max([0.0, *ages]))


class Compose:
    """The containers, as docker compose and docker tell of them."""

    def __init__(self, command):
        self.command = command

    def report(self):
        """What `subtide status --json` says: None where this version does not have it."""
        status, out, _ = run([*self.command, "exec", "-T", "gateway", "subtide", "status", "--json"], LOOK_TIMEOUT)
        try:
            report = json.loads(out)
            return report if status in (0, 1) and isinstance(report["queues"], dict) else None
        except (ValueError, KeyError, TypeError):
            return None

    def redis(self, *words):
        return json.loads(must([*self.command, "exec", "-T", "redis", "redis-cli", "--json", *words], LOOK_TIMEOUT))

    def looks(self, services):
        """By service, what is seen of its queue, or None. Raises Unusable where nothing can be asked."""
        report = self.report()
        if report is not None:
            return {name: look_by_status(report, QUEUES[name][0], time.time(), time.monotonic()) for name in services}
        looks = {}
        for name in services:
            _, stream, group = QUEUES[name]
            try:
                now = time.monotonic()
                groups = self.redis("XINFO", "GROUPS", stream)
                row = next((row for row in groups if row.get("name") == group), {})
                unread = self.redis("XRANGE", stream, f"({row.get('last-delivered-id', '0-0')}", "+", "COUNT", "1")
                in_hand = self.redis("XPENDING", stream, group) if row else []
                looks[name] = look_by_groups(groups, group, unread, in_hand, self.redis("TIME"), now)
            except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
                raise Unusable(f"Redis does not say how deep {stream} is") from error
        return looks

    def workers(self, service):
        """How many containers of a service run."""
        ids = must([*self.command, "ps", "-q", service], LOOK_TIMEOUT).split()
        if not ids:
            return 0
        return must(["docker", "inspect", "--format", "{{.State.Status}}", *ids], LOOK_TIMEOUT).split().count("running")

    def scale(self, service, workers):
        """Only this service, and of it only how many: nothing is built, pulled in between or made anew."""
        up = ["up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", f"{service}={workers}", service]
        must([*self.command, *up], CHANGE_TIMEOUT)


def step(compose, policies, memories, dry_run):
    """One look at everything, and what follows from it. Changes `memories`."""
    try:
        looks = compose.looks(policies)
    except Unusable as error:
        looks = {}
        log(level="WARN", action="blind", reason=str(error))
    for service, policy in policies.items():
        look = looks.get(service)
        try:
            workers = compose.workers(service)
        except Unusable as error:
            workers = None
            log(level="WARN", service=service, action="blind", reason=str(error))
        decision = decide(policy, memories[service], look, workers, time.monotonic())
        memories[service] = decision.memory
        seen = {"workers": workers, "oldest_seconds": None if look is None else round(look.age, 3)}
        said = {"service": service, "action": decision.action, "to": decision.workers, **seen, "reason": decision.reason}
        if decision.action not in ("up", "down"):
            log(level="INFO", **said)
            continue
        log(level="INFO", dry_run=dry_run, **said)
        if dry_run:
            continue
        try:
            compose.scale(service, decision.workers)
        except Unusable as error:
            log(level="ERROR", service=service, action="failed", to=decision.workers, reason=str(error))


def service(text):
    """`stt-worker=1:6`"""
    name, _, bounds = text.partition("=")
    least, _, most = bounds.partition(":")
    if name not in QUEUES or not least.isdigit() or not most.isdigit():
        raise argparse.ArgumentTypeError(f"`{text}`: write SERVICE=LEAST:MOST, SERVICE being {' or '.join(QUEUES)}")
    return name, int(least), int(most)


def arguments(words):
    parser = argparse.ArgumentParser(description="Scales the workers of compose.yml by how old jobs get.")
    parser.add_argument("--service", type=service, action="append", required=True, metavar="SERVICE=LEAST:MOST")
    parser.add_argument("--compose", default="docker compose", help="the command, with its -f and --env-file (%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between looks (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    for name, what in (
        ("up-age", "seconds: up when the oldest job is older"),
        ("up-for", "for so many seconds"),
        ("down-age", "down when younger"),
        ("down-after", "for so many seconds"),
        ("cooldown", "seconds after a change without another"),
        ("stale", "seconds after which a figure says nothing"),
    ):
        default = getattr(Policy, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{what} (%(default)s)")
    given = parser.parse_args(words)
    times = {name: getattr(given, name) for name in ("up_age", "up_for", "down_age", "down_after", "cooldown", "stale")}
    try:
        policies = {name: Policy(least, most, **times) for name, least, most in given.service}
    except ValueError as error:
        parser.error(str(error))
    if given.every <= 0:
        parser.error("--every must be more than 0")
    return given, policies


def main(words):
    given, policies = arguments(words)
    compose = Compose(shlex.split(given.compose))
    memories = {name: Memory() for name in policies}
    # SIGTERM between two looks ends it at once; a change under way is finished by Docker itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        began = time.monotonic()
        step(compose, policies, memories, given.dry_run)
        time.sleep(max(0.0, given.every - (time.monotonic() - began)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
