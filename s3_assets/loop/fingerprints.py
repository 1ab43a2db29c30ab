"""What each step reads: its upstream parts and the part of the declaration it depends on.

Belongs here: the dependency table of the loop, across rounds too, and the fingerprint of a step's inputs. Does not
belong here: doing the step (``steps.py``) or judging what is live (``state.py``).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from s3_assets.prompting.templates import wording
from s3_assets.store.identity import digest
from s3_assets.store.parts import Part, RoundKey
from s3_assets.tasks.gold import gold_digest
from s3_assets.tasks.load import Task
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.request import sampling, teacher_id

GOLD, SEED_SET, TRAINED_MODEL = "gold", "seed_set", "trained_model"
ERROR_SET, EXTRAPOLATED_SET, DRIFT = "error_set", "extrapolated_set", "drift"

# Order within a round: each step reads only what stands before it, or the round before.
ROUND_ASSETS = (SEED_SET, TRAINED_MODEL, ERROR_SET, DRIFT, EXTRAPOLATED_SET)

# Raised when a step's code changes what it writes for the same inputs.
CODE_VERSIONS = {GOLD: 1, SEED_SET: 3, TRAINED_MODEL: 1, ERROR_SET: 1, EXTRAPOLATED_SET: 3, DRIFT: 1}


def loop_key(task: Task, round_: int) -> RoundKey:
    """Partition of the task's own loop: its strategy and seed."""
    return RoundKey(task.name, task.spec.strategy, task.spec.seed, round_)


def upstream(asset: str, round_: int) -> list[tuple[str, int]]:
    """Assets and rounds a step reads. ``gold`` has no round and is listed with round 0."""
    if asset == GOLD:
        return []
    if asset == SEED_SET and round_ > 0:
        # The edge across rounds that Dagster cannot draw: the paper's D_seed plus every D_add so far.
        return [(GOLD, 0), (SEED_SET, round_ - 1), (EXTRAPOLATED_SET, round_ - 1)]
    within = {
        SEED_SET: [],
        TRAINED_MODEL: [SEED_SET],
        ERROR_SET: [TRAINED_MODEL],
        DRIFT: [SEED_SET],
        EXTRAPOLATED_SET: [SEED_SET, ERROR_SET],
    }[asset]
    return [(GOLD, 0), *((name, round_) for name in within)]


def input_fingerprint(task: Task, asset: str, round_: int, inputs: Mapping[str, Part]) -> str:
    """Hash of all a step's result follows from: code version, declaration, data versions of its inputs."""
    versions = {name: part.data_version for name, part in inputs.items()}
    return digest([asset, CODE_VERSIONS[asset], _declared(task, asset, round_), versions])


def _declared(task: Task, asset: str, round_: int) -> Any:
    spec = task.spec
    if asset == GOLD:
        return [spec.fields.model_dump(), sorted(spec.labels), spec.kind, spec.gold.model_dump(), gold_digest(task)]
    if asset == SEED_SET and round_ == 0:
        own = hashlib.blake2b(task.path(spec.seed_rows).read_bytes()).hexdigest() if spec.seed_rows else None
        return [*_asked(task), spec.rows.seed, spec.rows.per_call, spec.rationales.model_dump(), own]
    if asset == TRAINED_MODEL:
        return [spec.student.model_dump(), list(spec.labels), spec.seed]
    if asset == EXTRAPOLATED_SET:
        return [*_asked(task), spec.rows.per_error, spec.rows.per_round]
    return None


def _asked(task: Task) -> list[Any]:
    spec = task.spec
    teacher = [teacher_id(task, base_url(task)), spec.teacher.model, sampling(spec.teacher)]
    return [teacher, spec.kind, spec.description, spec.labels, wording(task), spec.pair.model_dump(), spec.seed]
