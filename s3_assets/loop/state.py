"""What is live, stale or missing: every step's stored input fingerprint against what its inputs are now.

Belongs here: judging parts, finding a step's inputs, refusing to build on what is not live. Does not belong here:
the dependency table (``fingerprints.py``), waiting for other runs (``assets/guard.py``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from s3_assets.loop.fingerprints import GOLD, ROUND_ASSETS, TRAINED_MODEL, input_fingerprint, loop_key, upstream
from s3_assets.loop.reviews import read_reviews
from s3_assets.store.parts import INPUT_FINGERPRINT, Part, Warehouse
from s3_assets.tasks.load import Task

LIVE, STALE, MISSING = "live", "stale", "missing"

# A fingerprint does not tell which of the three it was.
_CHANGED = "its inputs, its declaration or the version of s3-assets changed"


class NotReady(RuntimeError):
    """A step's inputs are not there. The message names what, where and the command that makes them."""


@dataclass(frozen=True)
class StepState:
    """One asset of one round: live, stale (with the reason) or missing, and its newest part."""

    asset: str
    round: int
    state: str
    why: str
    part: Part | None


class Board:
    """The state of one task, read from the warehouse as it is now. Make a new one after anything was written."""

    def __init__(self, task: Task, warehouse: Warehouse) -> None:
        self._task, self._warehouse = task, warehouse
        # Read now: what is decided while a step is under way is not claimed to be in its part.
        self._reviews = read_reviews(task, warehouse)
        self._known: dict[tuple[str, int], StepState] = {}

    def step(self, asset: str, round_: int) -> StepState:
        """State of one asset of one round."""
        place = (asset, 0 if asset == GOLD else round_)
        if place not in self._known:
            self._known[place] = self._judge(*place)
        return self._known[place]

    def inputs(self, asset: str, round_: int) -> dict[str, Part]:
        """Live upstream parts of a step, by asset. ``NotReady`` when one is missing or stale."""
        found: dict[str, Part] = {}
        for name, upstream_round in upstream(self._task, asset, round_):
            state = self.step(name, upstream_round)
            if state.state != LIVE or state.part is None:
                raise NotReady(_not_ready(self._task, asset, round_, state))
            found[name] = state.part
        return found

    def is_live(self, asset: str, round_: int) -> bool:
        """Whether the asset is there and built from what its inputs are now."""
        return self.step(asset, round_).state == LIVE

    def fingerprint(self, asset: str, round_: int, inputs: Mapping[str, Part]) -> str:
        """Input fingerprint of a step that reads ``inputs``, with what a person had decided when the board was made."""
        return input_fingerprint(self._task, asset, round_, inputs, self._reviews.fingerprint(asset, round_))

    def rounds(self) -> list[int]:
        """Rounds of the task's loop that have any part."""
        found = set()
        for asset in ROUND_ASSETS:
            folder = self._warehouse.directory(asset, loop_key(self._task, 0).columns()).parent
            found |= {
                int(match[1])
                for path in folder.glob("round=*")
                if (match := re.fullmatch(r"round=round_(\d+)", path.name))
            }
        return sorted(found)

    def __iter__(self) -> Iterator[StepState]:
        yield self.step(GOLD, 0)
        for round_ in self.rounds():
            for asset in ROUND_ASSETS:
                yield self.step(asset, round_)

    def _judge(self, asset: str, round_: int) -> StepState:
        keys = {"task": self._task.name} if asset == GOLD else loop_key(self._task, round_).columns()
        part = self._warehouse.live(asset, keys)
        if part is None:
            return StepState(asset, round_, MISSING, "never made, or reset", None)
        inputs: dict[str, Part] = {}
        for name, upstream_round in upstream(self._task, asset, round_):
            above = self.step(name, upstream_round)
            if above.state != LIVE or above.part is None:
                return StepState(asset, round_, STALE, f"{_title(name, upstream_round)} is {above.state}", part)
            inputs[name] = above.part
        if part.metadata().get(INPUT_FINGERPRINT) != self.fingerprint(asset, round_, inputs):
            return StepState(asset, round_, STALE, _CHANGED, part)
        lost = self._lost_weights(part) if asset == TRAINED_MODEL else None
        return StepState(asset, round_, STALE if lost else LIVE, lost or "", part)

    def _lost_weights(self, part: Part) -> str | None:
        if not self._task.keeps_weights:
            return None
        path = part.read()["path"][0]
        if path is None:
            return "its weights were not kept"
        kept = (self._warehouse.root / str(path) / "model.safetensors").is_file()
        return None if kept else f"its weights are gone from {path}"


def _title(asset: str, round_: int) -> str:
    return asset if asset == GOLD else f"{asset} of round {round_}"


def _not_ready(task: Task, asset: str, round_: int, above: StepState) -> str:
    what = _title(above.asset, above.round)
    why = f" ({above.why})" if above.why else ""
    wanted = f"0-{round_}" if round_ else "0"
    return (
        f"{_title(asset, round_)} of task {task.name} needs {what}, which is {above.state}{why}. Materialize it first, "
        f"or run `s3-assets run {task.name} --rounds {wanted}`."
    )
