"""The frame around every step: find live inputs, reuse what is current, check, write, note where it came from.

Belongs here: the rule that a step built from the same inputs is not done again, and that a part becomes live only
after its checks passed. Does not belong here: what a step does (``steps.py``), what is live (``state.py``).
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from s3_assets.loop.checks import Check, ChecksFailed, note, read_note
from s3_assets.loop.fingerprints import GOLD, loop_key
from s3_assets.loop.state import Board
from s3_assets.store.parts import DATA_VERSION, INPUT_FINGERPRINT, INPUTS, Part, Warehouse
from s3_assets.tasks.load import Task

# When the step began, in UTC milliseconds: what the teacher was asked from then on, the part was made of.
BEGAN = "began"

# The blocking checks that passed when the part was made, and those that warned or not, as JSON.
PASSED, WARNINGS = "passed", "warnings"

log = logging.getLogger(__name__)

Inputs = Mapping[str, Part]
Numbers = dict[str, int | float]
Made = tuple[pl.DataFrame, Numbers]
Judge = Callable[[pl.DataFrame, Inputs], Sequence[Check]]


@dataclass(frozen=True)
class StepResult:
    """A step's part, its rows, and numbers worth plotting across rounds.

    ``reused`` is True when the live part was already built from the same inputs and nothing was done.
    """

    part: Part
    rows: pl.DataFrame
    numbers: Numbers
    reused: bool
    checks: Sequence[Check]


def publish(
    task: Task,
    warehouse: Warehouse,
    asset: str,
    round_: int,
    make: Callable[[Inputs], Made],
    check: Judge | None = None,
    version: Callable[[pl.DataFrame], str] | None = None,
    *,
    warn: Judge | None = None,
    force: bool = False,
) -> StepResult:
    """Make one asset of one round live, or find it live already.

    ``check`` gives the blocking checks, ``warn`` the others: they may take long, so what they found when the part was
    made is noted in it. Raises ``NotReady`` when an input is missing or stale, ``ChecksFailed`` when a blocking check
    fails; then what was live stays live. ``version`` replaces the content hash as data version where rows hold times.
    ``force`` makes it anyway.
    """
    board = Board(task, warehouse)
    inputs = board.inputs(asset, round_)
    live = board.step(asset, round_).part
    if live is not None and board.is_live(asset, round_) and not force:
        log.info("%s of round %d is there already, built from the same inputs", asset, round_)
        rows, noted = live.read(), live.metadata()
        # Parts of before checks were noted have none.
        blocking = read_note(noted[PASSED]) if PASSED in noted else check(rows, inputs) if check else ()
        warnings = read_note(noted[WARNINGS]) if WARNINGS in noted else warn(rows, inputs) if warn else ()
        numbers = json.loads(noted.get("numbers", "{}"))
        return StepResult(live, rows, numbers, reused=True, checks=[*blocking, *warnings])
    began = time.time_ns() // 1_000_000
    rows, numbers = make(inputs)
    warnings = warn(rows, inputs) if warn else ()
    for done in warnings:
        if not done.passed:
            log.warning("%s of round %d: %s: %s", asset, round_, done.name, done.detail)
    blocking = check(rows, inputs) if check else ()
    checks = [*blocking, *warnings]
    if any(done.blocking and not done.passed for done in checks):
        raise ChecksFailed(f"{asset} of round {round_} of task {task.name}", checks)
    notes = {
        INPUT_FINGERPRINT: board.fingerprint(asset, round_, inputs),
        INPUTS: json.dumps({name: part.part_id for name, part in sorted(inputs.items())}),
        "numbers": json.dumps(numbers),
        BEGAN: str(began),
        PASSED: note(blocking),
        WARNINGS: note(warnings),
    }
    if version is not None:
        notes[DATA_VERSION] = version(rows)
    where = {"task": task.name} if asset == GOLD else loop_key(task, round_).columns()
    return StepResult(warehouse.write(asset, where, rows, notes), rows, numbers, reused=False, checks=checks)
