"""How many workers there should be: pure, and without a clock of its own."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Policy:
    """Fast up, slowly down. Times are seconds."""

    least: int
    most: int
    #: Up when the oldest job that is not done is older than this ...
    up_age: float = 2.0
    #: ... in every look for so long.
    up_for: float = 5.0
    #: Down by one when it is younger than this ...
    down_age: float = 0.5
    #: ... in every look for so long.
    down_after: float = 300.0
    #: After any change, for so long, no further one: what was started has to load its model first.
    cooldown: float = 30.0
    #: A look older than this says nothing.
    stale: float = 15.0

    def __post_init__(self):
        if not 0 < self.least <= self.most:
            raise ValueError(f"{self.least}:{self.most}: the least is 1 or more, and the most no less")
        if not 0 <= self.down_age < self.up_age:
            raise ValueError("down-age must be below up-age: between the two nothing changes")


@dataclass(frozen=True)
class Look:
    """What was seen of a queue."""

    #: Seconds on the clock of `decide` at which it was seen.
    at: float
    #: Age of the oldest job that is not done, be it that nobody has taken it or that a worker has it; 0 where there is none.
    age: float


@dataclass(frozen=True)
class Memory:
    """What `decide` knows from before."""

    #: Since when every look said: late; quiet.
    late_since: Optional[float] = None
    quiet_since: Optional[float] = None
    #: When the number of workers was changed last, or that was tried.
    changed_at: Optional[float] = None


@dataclass(frozen=True)
class Decision:
    #: up, down, keep, or blind: without figures nothing is changed.
    action: str
    #: How many workers there should be.
    workers: int
    reason: str
    memory: Memory


def decide(policy: Policy, memory: Memory, look: Optional[Look], workers: Optional[int], now: float) -> Decision:
    """`look`: what was seen of the queue; `workers`: how many run. Either may be unknown."""
    if workers is None:
        return Decision("blind", 0, "the number of workers is not known", Memory(changed_at=memory.changed_at))
    if look is None or not 0 <= now - look.at <= policy.stale or not look.age >= 0:
        # What was true before may not be true any more: both clocks start anew.
        return Decision("blind", workers, "no fresh figures of the queue", Memory(changed_at=memory.changed_at))

    late_since = quiet_since = None
    if look.age > policy.up_age:
        late_since = now if memory.late_since is None else memory.late_since
    elif look.age < policy.down_age:
        quiet_since = now if memory.quiet_since is None else memory.quiet_since
    seen = Memory(late_since, quiet_since, memory.changed_at)
    cooling = memory.changed_at is not None and now - memory.changed_at < policy.cooldown

    def change(action: str, to: int, reason: str) -> Decision:
        return Decision(action, to, reason, Memory(changed_at=now))

    if cooling:
        return Decision("keep", workers, "changed a moment ago", seen)
    if workers < policy.least:
        return change("up", policy.least, "fewer than the least")
    if workers > policy.most:
        return change("down", policy.most, "more than the most")
    if late_since is not None and now - late_since >= policy.up_for:
        if workers == policy.most:
            return Decision("keep", workers, "late, and the most workers there may be", seen)
        # Far behind: half as many again, and one at least.
        more = max(1, workers // 2) if look.age > 4 * policy.up_age else 1
        return change("up", min(policy.most, workers + more), f"the oldest job is {look.age:.1f} s old")
    if quiet_since is not None and now - quiet_since >= policy.down_after and workers > policy.least:
        return change("down", workers - 1, f"no job was old for {now - quiet_since:.0f} s")
    return Decision("keep", workers, "late, but not for long" if late_since is not None else "in order", seen)
