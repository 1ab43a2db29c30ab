"""What each step reads: its upstream parts and the part of the declaration it depends on.

Belongs here: the dependency table of the loop, across rounds too, and the fingerprint of a step's inputs. Does not
belong here: doing the step (``steps.py``) or judging what is live (``state.py``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from s3_assets.generation.contexts import contexts_digest
from s3_assets.generation.schedule import round_size, rounds_of, seed_size
from s3_assets.prompting.templates import wording, wording_shown
from s3_assets.store.identity import digest
from s3_assets.store.parts import Part, RoundKey
from s3_assets.tasks.files import named_file
from s3_assets.tasks.gold import gold_digest
from s3_assets.tasks.load import Task
from s3_assets.tasks.strategy import Strategy
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.request import sampling, teacher_id

GOLD, SEED_SET, TRAINED_MODEL = "gold", "seed_set", "trained_model"
ERROR_SET, EXTRAPOLATED_SET, DRIFT = "error_set", "extrapolated_set", "drift"
EXPERIMENT, LEADERBOARD, REPORT = "experiment", "leaderboard", "report"

# Order within a round: each step reads only what stands before it, or the round before.
ROUND_ASSETS = (SEED_SET, TRAINED_MODEL, ERROR_SET, DRIFT, EXTRAPOLATED_SET)

# Raised when a step's code changes what it writes for the same inputs.
CODE_VERSIONS = {GOLD: 3, SEED_SET: 6, TRAINED_MODEL: 7, ERROR_SET: 3, EXTRAPOLATED_SET: 6, DRIFT: 3}


def loop_key(task: Task, round_: int) -> RoundKey:
    """Partition of the task's own loop: its strategy and seed."""
    return RoundKey(task.name, task.spec.strategy, task.spec.seed, round_)


def last_round(task: Task) -> int:
    """Round of an arm's last student when its strategy is compared with others; 0 for strategies without rounds."""
    return rounds_of(task)


def gold_learned(task: Task, round_: int) -> tuple[str, ...]:
    """Splits of gold that the student of a round is trained on. Selecting gold is only of an arm's last one."""
    how = task.spec.how
    if how.gold == "crossed":
        return ("steer",)
    return ("steer", "select") if how.gold != "none" and round_ == last_round(task) else ()


def upstream(task: Task, asset: str, round_: int) -> list[tuple[str, int]]:
    """Assets and rounds a step reads. ``gold`` has no round and is listed with round 0."""
    if asset == GOLD:
        return []
    if asset == SEED_SET and round_ > 0:
        # The edge across rounds that Dagster cannot draw: the paper's D_seed plus every D_add so far.
        return [(GOLD, 0), (SEED_SET, round_ - 1), (EXTRAPOLATED_SET, round_ - 1)]
    how = task.spec.how
    within = {
        SEED_SET: [],
        TRAINED_MODEL: [SEED_SET] if how.synthetic else [],
        ERROR_SET: [TRAINED_MODEL],
        DRIFT: [SEED_SET],
        # Doubt is of the student's predictions, which follow from it.
        EXTRAPOLATED_SET: [
            SEED_SET,
            *([ERROR_SET] if how.extrapolates == "errors" else []),
            *([TRAINED_MODEL] if how.by == "doubt" else []),
        ],
    }[asset]
    return [(GOLD, 0), *((name, round_) for name in within)]


def input_fingerprint(
    task: Task, asset: str, round_: int, inputs: Mapping[str, Part], reviewed: str | None = None
) -> str:
    """Hash of all a step's result follows from: code version, declaration, data versions of its inputs.

    ``reviewed`` is the hash of the decisions of a person that the step follows (``reviews.py``), None without any.
    """
    versions = {name: part.data_version for name, part in inputs.items()}
    decided = [] if reviewed is None else [reviewed]
    return digest([asset, CODE_VERSIONS[asset], _declared(task, asset, round_), versions, *decided])


def _declared(task: Task, asset: str, round_: int) -> Any:
    spec = task.spec
    if asset == GOLD:
        labels = {label: sorted(declared.sublabels) for label, declared in spec.labels.items()}
        return [spec.fields.model_dump(), labels, spec.kind, spec.gold.model_dump(), gold_digest(task)]
    if asset == SEED_SET:
        # Later rounds put together what is written; shortcuts are those that steering gold lacks.
        return _declared_seed(task) if round_ == 0 else _changed(task, _OF_USES) or None
    if asset == TRAINED_MODEL:
        judged = spec.qa.model_dump() if spec.kind == "qa" else None
        options = spec.how.model_dump(include={"steers", "cross_fit", "ensemble", "distil", "weights"})
        learned = gold_learned(task, round_)
        # As it was written when all of gold was learned or none.
        gold: Any = "select" in learned if learned != ("steer",) else learned
        return [spec.student.options(), list(spec.labels), spec.seed, judged, gold, options]
    if asset == DRIFT:
        return [spec.drift.model_dump(), list(spec.fields_written), spec.seed, *_changed(task, _OF_USES)]
    if asset == EXTRAPOLATED_SET:
        how = [spec.how.extrapolates, spec.how.one_each, spec.how.shows_prediction]
        rows: list[Any] = [spec.rows.per_error, round_size(task, round_), spec.rows.per_call, spec.rows.refill]
        return [*_asked(task), *rows, how, *_judged(task), *_chosen(task)]
    return None


def _declared_seed(task: Task) -> list[Any]:
    spec = task.spec
    own = named_file(task, "seed_rows", spec.seed_rows, ()).digest() if spec.seed_rows else None
    rationales = spec.rationales.model_dump() if spec.how.rationales else None
    if own is not None:
        gated = [spec.kind, list(spec.labels), spec.pair.model_dump(), spec.fields.model_dump()]
        return [own, gated, spec.gates.model_dump(), spec.shortcuts.model_dump(), *_changed(task, _OF_USES)]
    asked = [seed_size(task), spec.rows.per_call, spec.rows.refill]
    return [*_asked(task), *asked, rationales, contexts_digest(task), *_judged(task), *_changed(task, _OF_SEEDS)]


# Options that decide about rows, beside those that were there first.
_OF_USES = ("steers",)
_OF_SEEDS = ("prior", *_OF_USES)
_OF_ROUNDS = (*_OF_SEEDS, "by", "keep", "skips", "explore")


def _changed(task: Task, options: tuple[str, ...]) -> list[Any]:
    """Options that are not as in the paper's loop; nothing where all are, so that older parts stay what they are."""
    paper, how = Strategy(), task.spec.how
    found = {name: getattr(how, name) for name in options if getattr(how, name) != getattr(paper, name)}
    return [found] if found else []


def _chosen(task: Task) -> list[Any]:
    """What decides which gold rows are written from and what is shown of them."""
    spec, how = task.spec, task.spec.how
    # A prediction alone is told by the declaration already, and worded by the template of every request.
    more = set(how.shows) - {"prediction"}
    found = _changed(task, (*_OF_ROUNDS, *(("shows",) if more else ())))
    if more:
        found.append(wording_shown(task))
    if "mislabelled" in how.skips:
        found.append([spec.student.weights, spec.student.max_length])
    if {"contrast", "diagnosis"} & set(how.shows) and how.cross_fit:
        found.append(how.cross_fit)
    return found


def _asked(task: Task) -> list[Any]:
    spec = task.spec
    teacher = [teacher_id(task, base_url(task)), spec.teacher.model, sampling(spec.teacher)]
    labels = {name: declared.model_dump() for name, declared in spec.labels.items()}
    kept = spec.qa.keep_answer if spec.kind == "qa" else spec.pair.model_dump()
    return [teacher, spec.kind, spec.description, labels, wording(task), kept, spec.seed]


def _judged(task: Task) -> list[Any]:
    """What decides which rows of an answer are kept."""
    spec = task.spec
    by = spec.verifying.model_dump(exclude={"teacher"})
    judge = None
    if spec.verifying.teacher is not None:
        asked = replace(task, spec=spec.model_copy(update={"teacher": spec.verifying.teacher}))
        judge = [teacher_id(asked, base_url(asked)), spec.verifying.teacher.model, sampling(spec.verifying.teacher)]
    students = [spec.student.weights, spec.student.max_length] if spec.verifying.by in {"students", "both"} else None
    return [spec.gates.model_dump(), by, judge, students, spec.shortcuts.model_dump(), spec.fields.model_dump()]
