"""Subtide's own side: runs `subtide bench engine --json` for one case and reads its lines.

A process per measurement: the model is loaded again each time, outside what the binary measures.
"""

import json
import subprocess

COMPUTES = ("f32", "bf16", "int8")


class Ours:
    """The binary, one checkpoint, one number of threads. Whatever it cannot do is kept as a reason, asked for once."""

    def __init__(self, binary, checkpoint, speech, threads):
        self.binary, self.threads, self.skipped = binary, threads, {}
        self.model = ["--speech" if speech else "--translation", str(checkpoint)]

    def lines(self, compute, case, repetitions):
        """The JSON lines of one case: a list, empty if the binary cannot (see `skipped`)."""
        if not self.binary.exists() or (compute, case) in self.skipped:
            return []
        command = [str(self.binary), "bench", "engine", "--json", *self.model, "--threads", str(self.threads),
                   "--compute", compute, "--rounds", str(repetitions), "--case", case]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.skipped[compute, case] = str(error)
            return []
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found = [line for line in found if line.get("case") == case]
        if done.returncode != 0 or not found:
            said = (done.stderr.strip().splitlines() or ["it printed no such case"])[-1]
            self.skipped[compute, case] = f"exit code {done.returncode}: {said}"
            return []
        return found
