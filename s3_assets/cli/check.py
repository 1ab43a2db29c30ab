"""``s3-assets check``. Only the command belongs here; the counts are in ``generation/estimate.py``."""

from typing import Annotated

import typer
from rich.console import Console

from s3_assets import settings
from s3_assets.generation.estimate import estimate_extrapolation, estimate_seed
from s3_assets.student.weights import resolve_weights
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import get_task
from s3_assets.tasks.spec import SPLITS
from s3_assets.teacher.client import base_url, check_teacher


def check(task: Annotated[str, typer.Argument(help="Task to check.")]) -> None:
    """Validate a task, its gold, teacher and student, and count the calls and tokens its rounds would ask for."""
    console = Console(highlight=False, soft_wrap=True)
    declared = get_task(task, settings.task_folders())
    console.print(f"{declared.folder / 'task.yaml'}: valid")
    gold = read_gold(declared)
    counts = dict(gold["split"].value_counts().iter_rows())
    console.print("gold: " + ", ".join(f"{counts.get(split, 0)} {split}" for split in SPLITS))
    for label in declared.spec.labels:
        console.print(f"  {label}: {gold.filter(gold['label'] == label).height} rows")
    if not counts.get("test"):
        console.print("  no test split: results will be reported on selecting gold only, and say so")
    check_teacher(declared)
    resolve_weights(declared.spec.student.weights)
    embedded = declared.spec.teacher.backend == "embedded"
    where = "embedded (a grammar without a model)" if embedded else base_url(declared)
    console.print(f"teacher: {where}, model {declared.spec.teacher.model}")
    seed, each = estimate_seed(declared, gold), estimate_extrapolation(declared, gold)
    console.print(f"seed set: {seed.calls} calls, about {seed.tokens} tokens")
    console.print(
        f"each error: {each.calls} call, about {each.tokens} tokens; at most {counts['steer']} errors a round"
    )
    budget = declared.spec.budget
    console.print(f"budget: {budget.calls or 'no limit of'} calls, {budget.tokens or 'no limit of'} tokens")
