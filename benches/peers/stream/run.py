"""Plays a streaming corpus in real time to open streaming peers with the demo's checkpoint, and measures what they show.

    python3 benches/peers/stream/run.py --corpus models/demo-speech/stream [--peer NAME] [--groups clean] [--out FILE]

Installs the peer into an environment of its own, carries the checkpoint over (checkpoint.py), starts the peer's server on this machine,
plays each recording in frames of 50 ms and takes down every message with the time it came. Prints one JSON object per peer (standard output)
and a table (standard error). README.md says what each figure means.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FRAME_S, RATE = 0.05, 16_000
SILENCE_S = 2.0  # after the recording, before the end is said
START_TIMEOUT_S, END_TIMEOUT_S = 180, 60
# Name: (window in seconds, the server's own options). {model} is the checkpoint, {ct2} the same for CTranslate2. Its voice detection is off:
# with it, it cuts the first word off many sentences (README.md has the figures).
EVERY = ["--no-vac", "--min-chunk-size", "0.5"]
AGREEMENT = ["--backend-policy", "localagreement", "--backend", "faster-whisper", "--model_dir", "{ct2}", *EVERY]
ALIGNATT = ["--backend-policy", "simulstreaming", "--backend", "whisper", "--decoder-model-path", "{model}", "--max-context-tokens", "0", *EVERY]
PEERS = {
    "whisperlivekit-localagreement": (10, [*AGREEMENT, "--buffer_trimming_sec", "5"]),
    "whisperlivekit-alignatt": (10, [*ALIGNATT, "--audio-max-len", "9"]),
    "whisperlivekit-localagreement-8s": (10, [*AGREEMENT, "--buffer_trimming_sec", "8"]),
    "whisperlivekit-localagreement-30s": (30, [*AGREEMENT, "--buffer_trimming_sec", "8"]),
    "whisperlivekit-alignatt-30s": (30, [*ALIGNATT, "--audio-max-len", "9"]),
}
BEST = ("whisperlivekit-localagreement", "whisperlivekit-alignatt")


def say(text):
    """Progress and tables go to standard error; standard output holds JSON only."""
    print(text, file=sys.stderr, flush=True)


def options():
    """The command line."""
    cache = Path(os.environ.get("SUBTIDE_CACHE") or Path.home() / ".cache" / "subtide") / "peers-stream"
    parser = argparse.ArgumentParser(description="Open streaming peers on the same corpus and checkpoint.")
    parser.add_argument("--corpus", type=Path, default=ROOT / "models" / "demo-speech" / "stream", help="folder with corpus.json")
    parser.add_argument("--peer", nargs="+", default=list(BEST), choices=list(PEERS), metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--groups", nargs="+", default=["clean"], help="groups of the corpus (default clean)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the peer (default 2)")
    parser.add_argument("--out", type=Path, help="also write the JSON lines to this file")
    parser.add_argument("--messages", type=Path, help="also write every message to this folder")
    parser.add_argument("--options", default="", help="more options for the peer's server, in one string")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "demo-stt-en")
    parser.add_argument("--venv", type=Path, default=cache / "venv", help="environment with the peers, made if absent")
    parser.add_argument("--checkpoints", type=Path, default=cache / "checkpoints")
    return parser.parse_args()


def enter_environment(folder):
    """Makes the environment if needed and goes on inside it."""
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    marker, wanted = folder / "installed.txt", (HERE / "requirements.txt").read_text()
    if not marker.exists() or marker.read_text() != wanted:
        say(f"installing the peers into {folder} (torch is large)")
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements.txt")], check=True)
        marker.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])


def load(folder, groups):
    """[(recording, samples as s16 bytes at 16 kHz, one channel)]."""
    import numpy
    import soundfile
    from scipy.signal import resample_poly

    found = []
    for recording in json.loads((folder / "corpus.json").read_text())["recordings"]:
        if recording["group"] in groups:
            samples, rate = soundfile.read(folder / recording["file"], dtype="float32", always_2d=True)
            samples = samples.mean(1)
            if rate != RATE:
                samples = resample_poly(samples, RATE, rate)
            found.append((recording, (numpy.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()))
    if not found:
        raise SystemExit(f"no recording of {', '.join(groups)} in {folder}")
    return found


class Server:
    """A peer's server in a process of its own."""

    def __init__(self, name, arguments, port):
        window, how = PEERS[name]
        import checkpoint

        folder = checkpoint.make(arguments.model.resolve(), arguments.checkpoints / f"demo-{window}s", window * 50)
        self.log = arguments.checkpoints / f"{name}.log"
        paths = {"model": folder, "ct2": folder.parent / (folder.name + ".ct2")}
        command = [sys.executable, str(HERE / "serve.py"), str(folder), str(window), "--host", "127.0.0.1", "--port", str(port), "--pcm-input",
                   "--language", "en", "--warmup-file", str(ROOT / "models" / "demo-speech" / "demo.wav"), "-l", "WARNING",
                   *(part.format(**paths) for part in how), *arguments.options.split()]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
                       "PYTHONDONTWRITEBYTECODE": "1"}
        self.port, self.options = port, how
        self.process = subprocess.Popen(command, stdout=self.log.open("w"), stderr=subprocess.STDOUT, env=environment)

    def wait(self):
        """Until it serves; why not, where it does not."""
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as reply:
                    if json.load(reply).get("ready"):
                        return None
            except OSError:
                time.sleep(0.5)
        return f"did not serve: {' | '.join(self.log.read_text(errors='replace').strip().splitlines()[-3:])}"

    def cpu_s(self):
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """Ends it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _text(message):
    """(committed, tail) of one message of WhisperLiveKit's."""
    lines = " ".join(line["text"].strip() for line in message["lines"] if line.get("text") and line.get("speaker") != -2)
    return lines, message.get("buffer_transcription", "")


async def play(port, pcm):
    """Plays one recording -> ([Message], ms the player was late at worst)."""
    import websockets
    from figures import Message

    messages, size = [], int(FRAME_S * RATE) * 2
    pcm = pcm + bytes(int(SILENCE_S * RATE) * 2)
    async with websockets.connect(f"ws://127.0.0.1:{port}/asr", max_size=None, ping_interval=None) as peer:
        await peer.recv()  # Its configuration.
        first = time.monotonic()

        async def listen():
            async for raw in peer:
                message = json.loads(raw)
                if message.get("type") == "ready_to_stop":
                    return
                if "lines" in message:
                    messages.append(Message((time.monotonic() - first) * 1000, *_text(message)))

        heard, late = asyncio.create_task(listen()), 0.0
        for n, at in enumerate(range(0, len(pcm), size)):
            due = first + (n + 1) * FRAME_S  # A frame is there once its last sample is spoken.
            await asyncio.sleep(max(0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            await peer.send(pcm[at: at + size])
        await peer.send(b"")
        await asyncio.wait_for(heard, END_TIMEOUT_S)
    return messages, late * 1000


def free_port():
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(name, recordings, arguments):
    """One peer on all recordings; the result object."""
    import figures

    server = Server(name, arguments, free_port())
    try:
        why = server.wait()
        if why:
            return {"peer": name, "error": why}
        sums, each, late, begun = {}, [], 0.0, server.cpu_s()
        for recording, pcm in recordings:
            messages, worst = asyncio.run(play(server.port, pcm))
            late = max(late, worst)
            one = figures.measure(recording, messages)
            sums.setdefault(recording["group"], []).append(one)
            each.append({"name": recording["name"], "group": recording["group"], **figures.total([one])})
            say(f"  {name} {recording['name']}: {_line(each[-1])}")
            if arguments.messages:
                arguments.messages.mkdir(parents=True, exist_ok=True)
                lines = [json.dumps([round(m.at_ms), m.committed, m.tail]) + "\n" for before, m in zip([None, *messages], messages)
                         if not before or (before.committed, before.tail) != (m.committed, m.tail)]
                (arguments.messages / f"{name}-{recording['name']}.jsonl").write_text("".join(lines))
        cpu, audio = server.cpu_s() - begun, sum(recording["duration_ms"] for recording, _ in recordings) / 1000
        everything = [one for some in sums.values() for one in some]
        return {"peer": name, "options": server.options, "window_s": PEERS[name][0], "threads": arguments.threads, "corpus": arguments.corpus.name,
                "total": figures.total(everything), "groups": {group: figures.total(some) for group, some in sums.items()}, "recordings": each,
                "cpu_s_per_audio_s": round(cpu / audio, 3), "player_late_ms": round(late, 1), "load": round(os.getloadavg()[0], 1)}
    finally:
        server.close()


def _line(result):
    """Figures for readers, in seconds."""
    captions = result["captions"]

    def both(value):
        return f"{value['p50'] / 1000:.2f}/{value['p95'] / 1000:.2f}" if value else "-"

    erasure = captions["normalised_erasure"]
    return (f"WER {100 * captions['wer']:.1f} %, shown p50/p95 {both(captions['word_to_first_shown']['wall_ms'])} s, "
            f"committed {both(captions['word_to_committed']['wall_ms'])} s, end to final {both(captions['end_to_final_ms'])} s, "
            f"erasure {'-' if erasure is None else f'{erasure:.2f}'}, committed reworded {captions['committed_reworded']}x")


def main():
    """Measures every peer asked for."""
    arguments = options()
    enter_environment(arguments.venv)
    recordings = load(arguments.corpus, arguments.groups)
    seconds = sum(recording["duration_ms"] for recording, _ in recordings) / 1000
    say(f"{len(recordings)} recordings, {seconds:.0f} s each peer; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    results = []
    for name in arguments.peer:
        results.append(measure(name, recordings, arguments))
        print(json.dumps(results[-1]), flush=True)
        say(f"{name}: {results[-1]['error'] if 'error' in results[-1] else _line(results[-1]['total'])}")
        if arguments.out:
            arguments.out.write_text("".join(json.dumps(result) + "\n" for result in results))


if __name__ == "__main__":
    main()
