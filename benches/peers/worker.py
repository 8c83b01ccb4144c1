"""One program under measurement, in a process of its own: reads one JSON request per line, answers with one line.

Started by run.py as `worker.py MODULE CLASS VARIANT CHECKPOINT THREADS`. A process each, because the thread pools of
different libraries spin for a while after work and would steal the cores from whoever is measured next.
Requests: {"do": "offers"}, {"do": "tokens"}, {"do": "time", "case": NAME, "how": HOW, "times": N}.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import cases

PATIENCE_SECONDS = 20.0  # On a busy machine fewer repetitions, rather than hours.


class Worker:
    """Holds the program's side and the prepared calls of each case."""

    def __init__(self, module, kind, variant, checkpoint, threads):
        self.side = getattr(importlib.import_module(module), kind)(variant, Path(checkpoint), int(threads))

    def answer(self, request):
        """The reply to one request."""
        if request["do"] == "offers":
            about = self.side.built_for() if hasattr(self.side, "built_for") else ""
            return {"offers": [[case.name, how] for case, how in self.side.offers()], "about": about}
        if request["do"] == "tokens":
            return {"tokens": self.side.tokens()}
        calls = self.side.calls(cases.case(request["case"]), request["how"])
        for call in calls:
            call()
        rounds, start = [], time.perf_counter()
        while not rounds or len(rounds) < request["times"] and time.perf_counter() - start < PATIENCE_SECONDS:
            rounds.append([_seconds(call) for call in calls])
        return {clock: [[part[clock] for part in parts] for parts in rounds] for clock in ("wall", "cpu")}


def _seconds(call):
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main():
    """Answers until the input ends. Only replies go to standard output: libraries that print there are sent to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = None
    for line in sys.stdin:
        try:
            worker = worker or Worker(*sys.argv[1:])
            reply = worker.answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - any failure of a peer is a reply, said aloud by run.py.
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
