"""``s3-assets check``. Only the command belongs here; the counts are in ``generation/estimate.py``."""

from typing import Annotated

import typer
from rich.console import Console

from s3_assets import settings
from s3_assets.generation.estimate import SPENT, estimate_each_error, estimate_rounds
from s3_assets.student.weights import resolve_weights
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import get_task
from s3_assets.tasks.spec import SPLITS
from s3_assets.teacher.endpoint import base_url, check_teacher


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
    warehouse = settings.warehouse()
    (seed,) = estimate_rounds(declared, warehouse, 0, 0)
    made = "; it is there already" if seed.ground == SPENT else ""
    console.print(f"seed set: {seed.cost.calls:.0f} calls, about {seed.cost.tokens:.0f} tokens{made}")
    each = estimate_each_error(declared, warehouse)
    console.print(
        f"each error: 1 call, about {each.tokens / each.calls:.0f} tokens, more where rows are refused; "
        f"at most {counts['steer']} errors a round"
    )
    console.print(f"whole rounds: `s3-assets estimate {declared.name}`")
    budget = declared.spec.budget
    console.print(f"budget: {budget.calls or 'no limit of'} calls, {budget.tokens or 'no limit of'} tokens")
