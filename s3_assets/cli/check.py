"""``s3-assets check``. Only the command belongs here; the counts are in ``generation/estimate.py``."""

from typing import Annotated

import typer
from rich.console import Console

from s3_assets import settings
from s3_assets.generation.contexts import read_contexts
from s3_assets.generation.estimate import SPENT, estimate_rounds
from s3_assets.generation.schedule import round_size, rounds_of, seed_size
from s3_assets.loop.uses import gold_in_use
from s3_assets.student.weights import resolve_weights
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task, get_task
from s3_assets.teacher.endpoint import base_url, check_teacher


def check(task: Annotated[str, typer.Argument(help="Task to check.")]) -> None:
    """Validate a task, its gold, teacher and student, and count the calls and tokens its rounds would ask for."""
    console = Console(highlight=False, soft_wrap=True)
    declared = get_task(task, settings.task_folders())
    console.print(f"{declared.folder / 'task.yaml'}: valid")
    gold = gold_in_use(declared, read_gold(declared))
    counts = dict(gold["split"].value_counts().iter_rows())
    console.print("gold: " + ", ".join(f"{counts.get(split, 0)} {split}" for split in SPLITS))
    for label in declared.spec.labels if declared.spec.kind != "qa" else ():
        console.print(f"  {label}: {gold.filter(gold['label'] == label).height} rows")
    if not counts.get("test"):
        console.print("  no test split: results will be reported on held-out gold only, and say so")
    console.print(f"strategy: {declared.spec.strategy}, {_sizes(declared)}")
    check_teacher(declared)
    resolve_weights(declared.spec.student.weights)
    embedded = declared.spec.teacher.backend == "embedded"
    where = "embedded (a grammar without a model)" if embedded else base_url(declared)
    console.print(f"teacher: {where}, model {declared.spec.teacher.model}")
    warehouse = settings.warehouse()
    contexts = read_contexts(declared, gold)
    if contexts:
        console.print(f"contexts: {len(contexts)}")
    for title, round_ in (("seed set", 0), ("extrapolated set of round 0", 1)):
        (one,) = estimate_rounds(declared, warehouse, round_, round_)
        made = "it is there already" if one.ground == SPENT else one.ground
        console.print(f"{title}: about {one.cost.calls:.0f} calls, {one.cost.tokens:.0f} tokens ({made})")
    console.print(f"whole rounds: `s3-assets estimate {declared.name}`")
    budget = declared.spec.budget
    console.print(f"budget: {budget.calls or 'no limit of'} calls, {budget.tokens or 'no limit of'} tokens")


def _sizes(task: Task) -> str:
    seed = "its own seed rows" if task.spec.seed_rows is not None else f"{seed_size(task)} seed rows"
    if task.spec.how.one_each:
        return f"{seed}, then one row from each error"
    # Of a loop with fewer rounds than the schedule the rest is not asked for; of one with more the last size repeats.
    rounds, scheduled = task.spec.rounds - 1, rounds_of(task)
    sizes = [str(round_size(task, round_)) for round_ in range(min(rounds, scheduled))]
    said = f"{seed}, then {', '.join(sizes)} by round" if sizes else seed
    more = f", and {sizes[-1]} in each further round" if sizes and rounds > scheduled else ""
    return said + more
