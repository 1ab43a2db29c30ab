"""One arm with one seed: a strategy carried out by the steps of the loop, and what it came to.

Belongs here: the order of an arm's steps, its row of ``experiment``, whether that row still holds. Does not belong
here: the steps (``loop/steps.py``), what strategies are (``tasks/strategy.py``), comparing arms (``leaderboard.py``).
"""

import json
import logging
from dataclasses import replace
from typing import Any

import polars as pl

from s3_assets.experiment.asked import Asked, asked
from s3_assets.experiment.leaderboard import experiment_rows
from s3_assets.experiment.plan import check_plan, over_budget
from s3_assets.loop.fingerprints import (
    EXPERIMENT,
    EXTRAPOLATED_SET,
    GOLD,
    SEED_SET,
    TRAINED_MODEL,
    last_round,
    loop_key,
)
from s3_assets.loop.publish import Numbers, StepResult
from s3_assets.loop.state import Board, NotReady
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_seed_set, make_trained_model
from s3_assets.store.identity import digest
from s3_assets.store.parts import INPUT_FINGERPRINT, INPUTS, Part, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.presets import WITHOUT
from s3_assets.tasks.spec import close_to

log = logging.getLogger(__name__)

# Raised when the row's figures are computed another way.
CODE_VERSION = 3

DEFAULT = "default"


def arm_task(task: Task, arm: str, seed: int) -> Task:
    """The task as the arm runs it. The arm of the task's own strategy and seed is the task's own loop.

    ``TaskError`` naming near and known arms for one that is not.
    """
    if arm not in task.spec.arms:
        raise TaskError(no_arm(task, arm))
    if (why := _unfit(task, arm)) is not None:
        raise TaskError(why)
    if (arm, seed) == (task.spec.strategy, task.spec.seed):
        return task
    return replace(task, spec=task.spec.model_copy(update={"strategy": arm, "seed": seed}), keeps_weights=False)


def run_arm(
    task: Task, warehouse: Warehouse, arm: str, seed: int, force: bool = False, run_id: str | None = None
) -> StepResult:
    """Carry out one arm with one seed and make its row of ``experiment`` live; what is live already is not done again.

    Every arm asks and trains as if it were alone. Requests that another arm asked too come from the ledger, trainings
    from the same rows are taken over; ``train_seconds`` and ``cost`` count them all the same. ``force`` computes the
    row anew. ``TaskError`` for an arm that would ask for more than its budget, ``NotReady`` without gold. ``run_id``:
    see ``make_seed_set``.
    """
    own = arm_task(task, arm, seed)
    check_plan(own)
    if not force and (live := live_row(task, warehouse, arm, seed)) is not None:
        log.info("arm %s, seed %d: there already", arm, seed)
        return StepResult(live, live.read(), json.loads(live.metadata()["numbers"]), reused=True, checks=())
    how, last = own.spec.how, last_round(own)
    for round_ in range(last + 1):
        log.info("arm %s, seed %d: round %d of %d", arm, seed, round_, last)
        if how.synthetic:
            make_seed_set(own, warehouse, round_, run_id=run_id)
        if round_ == last or how.extrapolates == "errors":
            make_trained_model(own, warehouse, round_)
            if how.judged or round_ < last:
                make_error_set(own, warehouse, round_)
        if round_ < last:
            make_extrapolated_set(own, warehouse, round_, run_id=run_id)
    inputs = _inputs(own, warehouse)
    row, numbers = _row(own, warehouse, inputs)
    notes = {
        INPUT_FINGERPRINT: _fingerprint(inputs),
        INPUTS: json.dumps({name: part.part_id for name, part in inputs.items()}),
        "numbers": json.dumps(numbers),
    }
    part = warehouse.write(EXPERIMENT, _keys(own), row, notes)
    return StepResult(part, row, numbers, reused=False, checks=())


def live_row(task: Task, warehouse: Warehouse, arm: str, seed: int) -> Part | None:
    """The live row of an arm and seed that was made from what its inputs are now; None when there is none."""
    own = arm_task(task, arm, seed)
    part = warehouse.live(EXPERIMENT, _keys(own))
    if part is None or not Board(own, warehouse).is_live(TRAINED_MODEL, last_round(own)):
        return None
    return part if part.metadata().get(INPUT_FINGERPRINT) == _fingerprint(_inputs(own, warehouse)) else None


def arms_of(task: Task) -> list[str]:
    """Shipped and own strategies that a task can be run with."""
    return [name for name in task.spec.arms if WITHOUT not in name and _unfit(task, name) is None]


def ablations_of(task: Task) -> list[str]:
    """``default`` and ``default`` without each of its options."""
    return [name for name in task.spec.arms if name == DEFAULT or name.startswith(f"{DEFAULT}{WITHOUT}")]


def no_arm(task: Task, name: str) -> str:
    """What is said of a name that no arm has: near ones, and those that are known."""
    arms = task.spec.arms
    known = ", ".join(one for one in arms if WITHOUT not in one)
    tried = ", ".join(dict.fromkeys(one.split(WITHOUT)[0] for one in arms if WITHOUT in one))
    without = f"{tried} without an option, as {ablations_of(task)[1]}"
    return f"no arm {name}.{close_to(name, arms)} Arms are {known}; and {without}"


def live_rows(task: Task, warehouse: Warehouse) -> tuple[pl.DataFrame, list[str]]:
    """Rows of ``experiment`` of a task that hold, and the arms with seeds whose rows are left out as stale."""
    found, stale = [pl.DataFrame(schema=table(EXPERIMENT).schema)], []
    order = {arm: place for place, arm in enumerate(task.spec.arms)}
    made = experiment_rows(warehouse, task.name).select("arm", "seed").filter(pl.col("arm").is_in(list(order))).rows()
    for arm, seed in sorted(made, key=lambda pair: (order[pair[0]], pair[1])):
        part = live_row(task, warehouse, arm, seed) if _unfit(task, arm) is None else None
        if part is None:
            stale.append(f"{arm} seed {seed}")
        else:
            found.append(part.read())
    return pl.concat(found), stale


def _unfit(task: Task, arm: str) -> str | None:
    """Why the task cannot be run with an arm; None where it can."""
    how = task.spec.arms[arm]
    if task.spec.seed_rows is not None and (how.grown or not how.rationales):
        return f"task {task.name} brings its seed set (seed_rows): arm {arm} would ask for another; leave it out"
    if task.spec.teaches_judges(how):
        return (
            f"task {task.name} has labels verified by students, who learn from all steering gold; arm {arm} keeps gold "
            "from its judges (cross_fit): leave it out, or verify by teacher"
        )
    return None


def _keys(own: Task) -> dict[str, str | int]:
    return {"task": own.name, "arm": own.spec.strategy, "seed": own.spec.seed}


def _inputs(own: Task, warehouse: Warehouse) -> dict[str, Part]:
    """Live parts the row's figures come from, by step and round. ``NotReady`` when the last model is missing."""
    how, last = own.spec.how, last_round(own)
    found: dict[str, Part] = {}
    for asset, rounds in (
        (SEED_SET, range(last + 1) if how.synthetic else ()),
        (EXTRAPOLATED_SET, range(last)),
        (TRAINED_MODEL, range(last + 1) if how.extrapolates == "errors" else (last,)),
    ):
        for round_ in rounds:
            part = warehouse.live(asset, loop_key(own, round_).columns())
            if part is None:
                raise NotReady(f"{asset} of round {round_} of arm {own.spec.strategy} is missing")
            found[f"{asset}[{round_}]"] = part
    gold = warehouse.live(GOLD, {"task": own.name})
    return found if gold is None else {GOLD: gold, **found}


def _fingerprint(inputs: dict[str, Part]) -> str:
    return digest([CODE_VERSION, {name: part.data_version for name, part in inputs.items()}])


def _row(own: Task, warehouse: Warehouse, inputs: dict[str, Part]) -> tuple[pl.DataFrame, Numbers]:
    """The arm's row of ``experiment`` and the numbers worth plotting."""
    how, last = own.spec.how, last_round(own)
    models = {name: part.read().row(0, named=True) for name, part in inputs.items() if name.startswith(TRAINED_MODEL)}
    final = models[f"{TRAINED_MODEL}[{last}]"]
    took = Asked()
    for asset, rounds in ((SEED_SET, (0,) if how.synthetic else ()), (EXTRAPOLATED_SET, range(last))):
        for round_ in rounds:
            took += asked(warehouse, loop_key(own, round_), asset, inputs[f"{asset}[{round_}]"])
    metric = "f1" if own.spec.kind == "qa" else "accuracy"
    gold = inputs[GOLD].read()
    row: dict[str, Any] = {
        **_keys(own),
        "last_round": last,
        "synthetic_rows": inputs[f"{SEED_SET}[{last}]"].read().height if how.synthetic else 0,
        "gold_rows": final["gold_rows"],
        "rows_requested": took.rows_requested,
        "label_questions": took.label_questions,
        "teacher_budget": took.rows_requested + took.label_questions,
        "over_budget": over_budget(own, took, gold),
        "calls": took.calls,
        "prompt_tokens": took.prompt_tokens,
        "completion_tokens": took.completion_tokens,
        "cost": took.cost,
        "paid_calls": took.paid_calls,
        "paid_cost": took.paid_cost,
        "train_seconds": sum(model["train_seconds"] for model in models.values()),
        "metric": metric,
        "test_rows": gold.filter(pl.col("split") == "test").height,
        "test_score": final[f"test_{metric}"],
        "test_exact_match": final["test_accuracy"] if metric == "f1" else None,
        "select_score": final[f"select_{metric}"],
        "model_id": final["model_id"],
    }
    shown = ("synthetic_rows", "gold_rows", "teacher_budget", "calls", "cost", "train_seconds", "test_score")
    numbers = {name: row[name] for name in (*shown, "select_score") if row[name] is not None}
    return pl.DataFrame([row], schema=table(EXPERIMENT).schema), numbers
