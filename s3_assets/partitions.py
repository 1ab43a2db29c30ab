"""Rounds as Dagster partitions.

Belongs here: partition definitions and the step from a partition key to a round number. Does not belong here: paths
(``store/parts.py`` names rounds the same way).
"""

import dagster as dg

from s3_assets.store.parts import round_name
from s3_assets.tasks.load import Task


def rounds(task: Task) -> dg.StaticPartitionsDefinition:
    """One partition per round the task may take. Keys sort as text, which is the order backfills create runs in."""
    return dg.StaticPartitionsDefinition([round_name(round_) for round_ in range(task.spec.rounds)])


def round_number(partition_key: str) -> int:
    """``round_03`` is 3."""
    return int(partition_key.removeprefix("round_"))
