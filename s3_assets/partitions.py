"""Rounds, arms and seeds as Dagster partitions.

Belongs here: partition definitions and the step from a partition key to what it names. Does not belong here: paths
(``store/parts.py`` names rounds the same way).
"""

import dagster as dg

from s3_assets.loop.fingerprints import EXPERIMENT, ROUND_ASSETS
from s3_assets.store.parts import round_name
from s3_assets.tasks.load import Task

ARM_DIMENSION, SEED_DIMENSION = "arm", "seed"


def partitions_of(task: Task, name: str) -> dg.PartitionsDefinition[str] | None:
    """Partitions of the asset ``name``: rounds, arms by seeds for ``experiment``, none for the others."""
    if name in ROUND_ASSETS:
        return rounds(task)
    return arms_by_seeds(task) if name == EXPERIMENT else None


def rounds(task: Task) -> dg.StaticPartitionsDefinition:
    """One partition per round the task may take. Keys sort as text, which is the order backfills create runs in."""
    return dg.StaticPartitionsDefinition([round_name(round_) for round_ in range(task.spec.rounds)])


def arms_by_seeds(task: Task) -> dg.MultiPartitionsDefinition:
    """One partition per strategy and seed."""
    seeds = [seed_name(seed) for seed in range(task.spec.experiment.seeds)]
    return dg.MultiPartitionsDefinition(
        {
            ARM_DIMENSION: dg.StaticPartitionsDefinition(list(task.spec.arms)),
            SEED_DIMENSION: dg.StaticPartitionsDefinition(seeds),
        }
    )


def round_number(partition_key: str) -> int:
    """``round_03`` is 3."""
    return int(partition_key.removeprefix("round_"))


def seed_name(seed: int) -> str:
    """Seed 3 is ``seed_03``; sorts as text up to 99."""
    return f"seed_{seed:02d}"


def experiment_key(arm: str, seed: int) -> dg.MultiPartitionKey:
    """Partition key of one arm with one seed."""
    return dg.MultiPartitionKey({ARM_DIMENSION: arm, SEED_DIMENSION: seed_name(seed)})


def arm_and_seed(key: dg.MultiPartitionKey) -> tuple[str, int]:
    """What a partition key of ``experiment`` names."""
    places = key.keys_by_dimension
    return places[ARM_DIMENSION], int(places[SEED_DIMENSION].removeprefix("seed_"))
