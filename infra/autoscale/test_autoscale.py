"""python3 -m unittest discover -s infra/autoscale"""

import contextlib
import io
import json
import stat
import tempfile
import unittest
from pathlib import Path

import autoscale
from autoscale import Compose, Unusable, arguments, look_by_groups, look_by_status, step
from decide import Look, Memory, Policy, decide

POLICY = Policy(least=1, most=4, up_age=1.0, up_for=5.0, down_age=0.2, down_after=60.0, cooldown=10.0, stale=15.0)


class Story:
    """Looks one after the other, five seconds apart, with workers that do as they are told."""

    def __init__(self, workers, policy=POLICY):
        self.policy, self.workers, self.memory, self.now = policy, workers, Memory(), 1000.0

    def look(self, age, late_by=0.0):
        self.now += 5
        look = None if age is None else Look(at=self.now - late_by, age=age)
        decision = decide(self.policy, self.memory, look, self.workers, self.now)
        self.memory = decision.memory
        if decision.action in ("up", "down"):
            self.workers = decision.workers
        return decision.action

    def looks(self, *ages):
        return [self.look(age) for age in ages]


class Decides(unittest.TestCase):
    def test_up_only_when_jobs_wait_in_every_look_for_a_while(self):
        self.assertEqual(Story(1).looks(2, 2), ["keep", "up"])
        self.assertEqual(Story(1).looks(2, 0.5, 2, 0.5, 2), ["keep"] * 5)

    def test_between_the_two_ages_nothing_changes_for_ever(self):
        self.assertEqual(set(Story(2).looks(*[0.5] * 100)), {"keep"})

    def test_far_behind_goes_up_by_more_and_never_above_the_most(self):
        story = Story(2, Policy(least=1, most=8, cooldown=0))
        story.looks(9, 9)
        self.assertEqual(story.workers, 3)
        story = Story(6, Policy(least=1, most=8, cooldown=0))
        story.looks(9, 9)
        self.assertEqual(story.workers, 8)
        self.assertEqual(story.looks(9, 9, 9), ["keep"] * 3)

    def test_after_a_change_there_is_no_other_before_the_cooldown_is_over(self):
        story = Story(1)
        self.assertEqual(story.looks(2, 2, 2, 2), ["keep", "up", "keep", "up"])
        self.assertEqual(story.workers, 3)

    def test_down_by_one_at_a_time_after_a_long_quiet(self):
        story = Story(3)
        quiet = story.looks(*[0.0] * 30)
        self.assertEqual(quiet.index("down"), 12)
        self.assertEqual(quiet.count("down"), 2)
        self.assertEqual(story.workers, 1)
        self.assertEqual(set(story.looks(*[0.0] * 30)), {"keep"})

    def test_one_look_that_is_not_quiet_starts_the_wait_anew(self):
        story = Story(2)
        self.assertEqual(set(story.looks(*[0.0] * 11, 0.5, *[0.0] * 12)), {"keep"})
        self.assertEqual(story.look(0.0), "down")

    def test_without_fresh_figures_nothing_changes_and_no_time_counts(self):
        story = Story(2)
        self.assertEqual(set(story.looks(*[None] * 50)), {"blind"})
        self.assertEqual(story.look(9, late_by=16), "blind")
        # Late before and after: what was between is not known.
        self.assertEqual(story.looks(9, None, 9, None, 9), ["keep", "blind", "keep", "blind", "keep"])
        self.assertEqual(Story(2).looks(*[0.0] * 11, None, *[0.0] * 11).count("down"), 0)
        self.assertEqual(Story(2).look(float("nan")), "blind")
        self.assertEqual(Story(2).look(1.0, late_by=-60), "blind")

    def test_when_the_number_of_workers_is_unknown_nothing_changes(self):
        story = Story(None)
        self.assertEqual(set(story.looks(*[9] * 5)), {"blind"})

    def test_bounds_hold_whoever_scaled(self):
        story = Story(0)
        self.assertEqual((story.look(0.0), story.workers), ("up", 1))
        story = Story(9)
        self.assertEqual((story.look(9.0), story.workers), ("down", 4))
        # And without figures not even they: Redis may just be starting.
        self.assertEqual(Story(0).look(None), "blind")

    def test_policies_that_would_swing_are_refused(self):
        for least, most, more in ((0, 3, {}), (3, 2, {}), (1, 3, {"down_age": 1.0, "up_age": 1.0})):
            with self.assertRaises(ValueError):
                Policy(least=least, most=most, **more)


class Reads(unittest.TestCase):
    REPORT = {
        "at_unix_ms": 1_700_000_000_000,
        "queues": {"speech": {"source": "redis", "lag": 7, "oldest_seconds": 2.5}, "translation": {"source": "metrics", "oldest_seconds": 9.0}},
    }

    def test_status_tells_how_old_the_oldest_is_and_when_that_was(self):
        look = look_by_status(self.REPORT, "speech", 1_700_000_003.0, 50.0)
        self.assertEqual(look, Look(at=47.0, age=2.5))

    def test_what_is_only_remembered_of_a_queue_does_not_count(self):
        self.assertIsNone(look_by_status(self.REPORT, "translation", 1_700_000_000.0, 50.0))
        self.assertIsNone(look_by_status({"at_unix_ms": 0, "queues": {}}, "speech", 0, 0))
        for age in (None, "2", True):
            report = {"at_unix_ms": 0, "queues": {"speech": {"source": "redis", "oldest_seconds": age}}}
            self.assertIsNone(look_by_status(report, "speech", 0, 0))

    def test_redis_tells_it_by_the_oldest_of_what_nobody_has_read_and_what_is_in_hand(self):
        groups = [{"name": "other"}, {"name": "stt", "lag": 3, "last-delivered-id": "5-0"}]
        unread, clock = [["1700000000000-0", ["d", "x"]]], ["1700000002", "500000"]
        in_hand = [2, "1699999998500-3", "1700000000000-0", [["a", "2"]]]
        nothing = [0, None, None, None]
        for first, hand, age in ((unread, nothing, 2.5), (unread, in_hand, 4.0), ([], in_hand, 4.0), ([], nothing, 0.0), ([], [], 0.0)):
            self.assertEqual(look_by_groups(groups, "stt", first, hand, clock, 9.0), Look(9.0, age))
        self.assertIsNone(look_by_groups(groups, "mt", [], [], ["1", "0"], 9.0))

    def test_arguments_are_refused_with_a_reason(self):
        for words in ([], ["--service", "redis=1:2"], ["--service", "stt-worker=2:1"], ["--service", "stt-worker"], ["--service", "stt-worker=1:2", "--every", "0"]):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                arguments(words)


class Docker(unittest.TestCase):
    """The whole step, with programs named docker and compose that do what this test says."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()) if hasattr(self, "enterContext") else tempfile.mkdtemp())

    def program(self, body):
        path = self.folder / "compose"
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return Compose([str(path)])

    def stepped(self, compose, memories=None):
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            step(compose, {"stt-worker": POLICY}, memories or {"stt-worker": Memory()}, False)
        return [json.loads(line) for line in told.getvalue().splitlines()]

    def test_a_daemon_that_is_away_is_told_and_survived(self):
        lines = self.stepped(self.program("echo 'Cannot connect to the Docker daemon' >&2; exit 1\n"))
        self.assertEqual({line["action"] for line in lines}, {"blind"})
        self.assertIn("Cannot connect", lines[0]["reason"])
        lines = self.stepped(Compose([str(self.folder / "is-not-there")]))
        self.assertEqual({line["action"] for line in lines}, {"blind"})

    def test_a_scaling_that_fails_is_told_and_survived(self):
        compose = self.program('case $* in *status*) exit 2;; ps*) ;; *GROUPS*) echo \'[{"name":"stt"}]\';; *XRANGE*) echo "[]";; *TIME*) echo \'["1","0"]\';; *XPENDING*) echo "[0,null,null,null]";; up*) echo no space left >&2; exit 1;; esac\n')
        memories = {"stt-worker": Memory()}
        lines = self.stepped(compose, memories)
        self.assertEqual([line["action"] for line in lines], ["up", "failed"])
        self.assertIn("no space left", lines[1]["reason"])
        # And it is not tried again at once.
        self.assertEqual([line["action"] for line in self.stepped(compose, memories)], ["keep"])

    def test_status_is_asked_first_and_redis_where_there_is_none(self):
        status = '{"at_unix_ms": %d, "queues": {"speech": {"source": "redis", "oldest_seconds": 3}}}' % (autoscale.time.time() * 1000)
        looks = self.program(f"case $* in *status*) echo '{status}'; exit 1;; *) exit 9;; esac\n").looks(["stt-worker"])
        self.assertEqual(looks["stt-worker"].age, 3)
        with self.assertRaises(Unusable):
            self.program("case $* in *status*) echo usage >&2; exit 2;; *) echo NOAUTH; exit 0;; esac\n").looks(["stt-worker"])


if __name__ == "__main__":
    unittest.main()
