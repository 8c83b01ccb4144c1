"""Measures Subtide's engine beside its peers on the same checkpoints, the same input and the same number of threads.

    python benches/peers/run.py [--threads 2] [--only tiny,base,opus-mt] [--out results.json] [--ours target/release/subtide]

Installs the peers into an environment of its own, makes random-weight checkpoints in real shapes, converts them, then
measures case by case, all programs in turn within each round. Prints one JSON object per case (standard output) and a
table (standard error). Being behind is not an error: the exit code is 0. README.md says what each figure means.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import checkpoints
from cases import SPEECH_CASES, TRANSLATION_CASES, summary
from ours import COMPUTES, Ours

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPEECH = "Speech"
TRANSLATION = "Translation"
# (label, module, class); the label is also the variant that the module looks up.
PEERS = {
    SPEECH: (
        ("ctranslate2-f32", "ctranslate", "Speech"), ("ctranslate2-int8", "ctranslate", "Speech"),
        ("whisper.cpp-f16", "whispercpp", "Speech"), ("whisper.cpp-q8_0", "whispercpp", "Speech"),
        ("whisper.cpp-q5_0", "whispercpp", "Speech"),
        ("transformers-f32", "torch_peers", "Speech"), ("openai-whisper-f32", "torch_peers", "OpenaiSpeech"),
    ),
    TRANSLATION: (
        ("ctranslate2-f32", "ctranslate", "Translation"), ("ctranslate2-int8", "ctranslate", "Translation"),
        ("transformers-f32", "torch_peers", "Translation"),
    ),
}
REFERENCE = "transformers-f32"


def say(text):
    """Progress and tables go to standard error; standard output holds JSON only."""
    print(text, file=sys.stderr, flush=True)


def options():
    """The command line."""
    cache = Path(os.environ.get("SUBTIDE_CACHE") or Path.home() / ".cache" / "subtide") / "peers"
    parser = argparse.ArgumentParser(description="Subtide's engine beside its peers: same checkpoints, same threads.")
    parser.add_argument("--threads", default="2", help="number of threads, or several with commas (default 2)")
    parser.add_argument("--only", default=",".join(checkpoints.DEFAULT_NAMES), help=f"checkpoints, with commas: {', '.join(checkpoints.NAMES)}")
    parser.add_argument("--cases", default="", help="only cases whose name holds one of these words, with commas")
    parser.add_argument("--peers", default="", help="only peers whose name holds one of these words, with commas")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all programs (default 3)")
    parser.add_argument("--times", type=int, default=3, help="repetitions per program and round (default 3)")
    parser.add_argument("--out", type=Path, help="also write the JSON lines to this file")
    parser.add_argument("--ours", type=Path, default=ROOT / "target" / "release" / "subtide")
    parser.add_argument("--venv", type=Path, default=cache / "venv", help="environment with the peers, made if absent")
    parser.add_argument("--checkpoints", type=Path, default=cache / "checkpoints")
    arguments = parser.parse_args()
    unknown = set(arguments.only.split(",")) - set(checkpoints.NAMES)
    if unknown:
        parser.error(f"no such checkpoint: {', '.join(sorted(unknown))} (there are {', '.join(checkpoints.NAMES)})")
    return arguments


def enter_environment(folder):
    """Makes the environment if needed and goes on inside it."""
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    marker, wanted = folder / "installed.txt", (HERE / "requirements.txt").read_text()
    if not marker.exists() or marker.read_text() != wanted:
        say(f"installing the peers into {folder} (torch is large)")
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
        whisper_cpp = next(line for line in wanted.splitlines() if line.startswith("pywhispercpp"))
        say("building whisper.cpp for this processor")
        built = subprocess.run([*pip, "--force-reinstall", "--no-deps", "--no-binary", "pywhispercpp", whisper_cpp])
        if built.returncode != 0:
            say("building whisper.cpp FAILED (it needs a C++ compiler): its prebuilt package (AVX2) is measured instead")
            subprocess.run([*pip, "--force-reinstall", "--no-deps", whisper_cpp], check=True)
        marker.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])


class Peer:
    """A worker process with one peer (see worker.py)."""

    def __init__(self, label, module, kind, checkpoint, threads):
        self.label, self.errors = label, {}
        # whisper.cpp built from source leaves its libraries beside the Python modules.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1",
                       "LD_LIBRARY_PATH": sysconfig.get_path("platlib"), "HF_HUB_OFFLINE": "1"}
        self.log = checkpoint.parent / f"{checkpoint.name}-{label}.log"
        command = [sys.executable, str(HERE / "worker.py"), module, kind, label, str(checkpoint), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=self.log.open("w"), env=environment)

    def ask(self, **request):
        """The worker's reply; {"error": …} if it failed or died."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline() or '{"error": "the worker died"}')
        except OSError as error:
            return {"error": f"the worker died ({error})"}

    def close(self):
        """Ends the worker."""
        self.process.stdin.close()
        self.process.wait()


class Session:
    """All programs on one checkpoint with one number of threads."""

    def __init__(self, arguments, name, threads):
        self.arguments, self.name, self.threads = arguments, name, threads
        self.kind = SPEECH if checkpoints.is_speech(name) else TRANSLATION
        folder = checkpoints.make(name, arguments.checkpoints / name)
        self.ours = Ours(arguments.ours, folder, self.kind == SPEECH, threads)
        self.peers, self.offers, self.about, self.skipped = [], {}, {}, {}
        for label, module, kind in PEERS[self.kind]:
            if _chosen(label, arguments.peers):
                self._start(Peer(label, module, kind, folder, threads))

    def _start(self, peer):
        reply = peer.ask(do="offers")
        if "error" in reply:
            say(f"SKIPPED {peer.label} on {self.name}: {reply['error']} (see {peer.log})")
            self.skipped[peer.label] = reply["error"]
            peer.close()
            return
        self.peers.append(peer)
        self.offers[peer.label] = reply["offers"]
        self.about[peer.label] = reply["about"]

    def close(self):
        """Ends all workers."""
        for peer in self.peers:
            peer.close()

    def agreement(self):
        """How far everyone's greedy tokens equal the reference's: proof that all run the same model."""
        case = "speech/tokens" if self.kind == SPEECH else "translation/tokens"
        found, failed = {}, dict(self.skipped)
        for peer in self.peers:
            reply = peer.ask(do="tokens")
            if "error" in reply:
                failed[peer.label] = reply["error"]
            else:
                found[peer.label] = reply["tokens"]
        for compute in COMPUTES:
            for line in self.ours.lines(compute, case, 1):
                found[f"subtide-{compute}"] = line["tokens"]
        failed.update({f"subtide-{how}": why for (how, of), why in self.ours.skipped.items() if of == case})
        name = REFERENCE if REFERENCE in found else next(iter(found), None)  # The first one, if --peers leaves it out.
        reference = found.get(name, [])
        return {"case": case, "model": self.name, "threads": self.threads, "reference": name,
                "tokens": len(reference), "distinct": len(set(reference)), "skipped": failed,
                "agreement": {label: _agreement(reference, tokens) for label, tokens in found.items()}}

    def measure(self, case):
        """One case, everyone in turn in each round; the result object."""
        times, ours, skipped = {}, {}, dict(self.skipped)
        for _ in range(self.arguments.rounds):
            for compute in COMPUTES:
                for line in self.ours.lines(compute, case.name, self.arguments.times):
                    ours.setdefault(compute, []).append(line)
            for peer in self.peers:
                for name, how in self.offers[peer.label]:
                    key = f"{peer.label} ({how})" if how else peer.label
                    if name == case.name and key not in skipped:
                        time.sleep(0.25)  # The previous program's threads spin for up to 200 ms.
                        reply = peer.ask(do="time", case=name, how=how, times=self.arguments.times)
                        if "error" in reply:
                            skipped[key] = reply["error"]
                        else:
                            both = times.setdefault(key, {"wall": [], "cpu": []})
                            both["wall"] += reply["wall"]
                            both["cpu"] += reply["cpu"]
        skipped.update({f"subtide-{how}": why for (how, name), why in self.ours.skipped.items() if name == case.name})
        result = self._result(case, ours, times, skipped)
        for key, why in skipped.items():
            if key not in self.skipped:
                say(f"SKIPPED {key} at {case.name} on {self.name}: {why}")
        return result

    def _result(self, case, ours, times, skipped):
        best = min if case.better == "lower" else max
        mine = {compute: best(line["value"] for line in lines) for compute, lines in ours.items()}
        peers = {}
        for key, clocks in times.items():
            value, median = summary(case, clocks["wall"])
            if min(value, median) <= 0:  # Only a difference of two times can be.
                skipped[key] = "the noise was larger than the figure"
                continue
            peers[key] = {"value": _round(value), "median": _round(median), "cpu": _round(summary(case, clocks["cpu"])[0]),
                          "repetitions": len(clocks["wall"]), "about": self.about[key.split(" (")[0]]}
        compute = best(mine, key=mine.get) if mine else None
        peer = best(peers, key=lambda key: peers[key]["value"]) if peers else None
        ratio = mine[compute] / peers[peer]["value"] if compute and peer else None
        met = None if ratio is None or case.goal is None else (
            ratio <= case.goal if case.better == "lower" else ratio >= case.goal)
        for each in peers.values():
            each["ratio"] = _round(mine[compute] / each["value"]) if compute else None
        return {"case": case.name, "model": self.name, "threads": self.threads, "unit": case.unit, "better": case.better,
                "ours": _round(mine[compute]) if compute else None, "ours_compute": compute,
                "ours_all": {how: _round(value) for how, value in mine.items()},
                "peer": peer, "peer_value": peers[peer]["value"] if peer else None, "ratio": _round(ratio),
                "goal": case.goal, "met": met, "peers": peers, "skipped": skipped,
                "load": _round(os.getloadavg()[0])}


def _round(value):
    return None if value is None else float(f"{value:.4g}")


def _chosen(name, words):
    return not words or any(word in name for word in words.split(","))


def _agreement(reference, tokens):
    same = sum(a == b for a, b in zip(reference, tokens))
    first = next((i for i, (a, b) in enumerate(zip(reference, tokens)) if a != b), None)
    return {"same": same, "of": max(len(reference), len(tokens)), "first_difference": first}


def table(results):
    """The results for readers: one line per program and case, the fastest peer marked."""
    lines = [f"{'case':24}{'threads':>8} {'program':38}{'best':>10}{'median':>10} {'unit':9}{'ours/peer':>10}"]
    for result in results:
        if "agreement" in result:
            lines.append(f"{result['model']}: tokens equal to {result['reference']}'s: " + ", ".join(
                f"{label} {one['same']}/{one['of']}" for label, one in result["agreement"].items()))
            continue
        place = f"{result['model']} {result['case']}".replace("speech/", "").replace("translation/", "")
        for compute, value in result["ours_all"].items():
            lines.append(f"{place:24}{result['threads']:>8} {'subtide-' + compute:38}{value:>10}{'':>10} {result['unit']:9}")
        for key, peer in result["peers"].items():
            mark = " <- fastest peer" if key == result["peer"] else ""
            goal = {True: ", goal met", False: ", goal MISSED", None: ""}[result["met"]] if mark else ""
            lines.append(f"{place:24}{result['threads']:>8} {key:38}{peer['value']:>10}{peer['median']:>10} "
                         f"{result['unit']:9}{peer['ratio'] if peer['ratio'] is not None else '-':>10}{mark}{goal}")
    return "\n".join(lines)


def main():
    """Measures everything asked for."""
    arguments = options()
    enter_environment(arguments.venv)
    if not arguments.ours.exists():
        say(f"Subtide's binary is not at {arguments.ours}: only the peers are measured (cargo build --release -p subtide)")
    say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    results = []
    for name in arguments.only.split(","):
        for threads in map(int, arguments.threads.split(",")):
            session = Session(arguments, name, threads)
            cases = SPEECH_CASES if session.kind == SPEECH else TRANSLATION_CASES
            steps = [session.agreement, *(lambda case=case: session.measure(case)
                                          for case in cases if _chosen(case.name, arguments.cases))]
            for step in steps:
                results.append(step())
                print(json.dumps(results[-1]), flush=True)
                if arguments.out:
                    arguments.out.write_text("".join(json.dumps(result) + "\n" for result in results))
            session.close()
    say(table(results))


if __name__ == "__main__":
    main()
