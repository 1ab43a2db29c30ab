"""``s3-assets demo``: the shipped task, end to end, and where to go from there.

Belongs here: the demo's closing lines and its two queries. Does not belong here: running rounds (``run.py``).
"""

import time

from s3_assets import settings
from s3_assets.cli.run import progress_console, run_rounds, wanted_rounds
from s3_assets.cli.sql import run_sql
from s3_assets.tasks.load import get_task

DEMO_TASK = "film_reviews"

# By title; {last} stands for the last round.
QUERIES = {
    "Errors of each round that the last round's student gets right, with what the teacher wrote from one of them": f"""
select e.round, e.text as gold_error, e.prediction as was_predicted, x.text as extrapolated
from error_set e
join extrapolated_set x using (task, arm, seed, round, gold_id)
join predictions p
  on p.gold_id = e.gold_id and p.task = e.task and p.arm = e.arm and p.seed = e.seed and p.round = {{last}}
  and p.correct
where e.task = '{DEMO_TASK}' and e.arm = 'default' and e.seed = 0 and e.round < {{last}}
qualify row_number() over (partition by e.round order by e.loss desc, x.example_id) = 1
order by e.round""",
    "Drift of each round's seed set from steering gold, beside what sampling alone explains": f"""
select round, metric, round(value, 3) as value, round(floor, 3) as floor, n_syn
from drift
where task = '{DEMO_TASK}' and arm = 'default' and seed = 0 and reference = 'gold_steer' and label is null
  and metric in ('vocabulary_js', 'length_wasserstein', 'mmd2', 'coverage', 'c2st_auc', 'distinct_2')
order by metric, round""",
}


def demo() -> None:
    """Run the rounds of the shipped task with the embedded teacher, and show what was achieved."""
    began = time.monotonic()
    console = progress_console()
    task = get_task(DEMO_TASK, settings.task_folders())
    console.print(f"task {task.name}: {task.spec.description}")
    first, last = wanted_rounds(None, task)
    run_rounds(console, task, first, last)
    console.print(f"wall time {time.monotonic() - began:.0f} s\n")
    warehouse = settings.warehouse()
    console.print(f"data: {warehouse.root} (Parquet parts, models), SQL views in {warehouse.catalog_path.name}")
    # Views look one second back, so that they never see half of a write.
    time.sleep(1.1)
    for title, template in QUERIES.items():
        query = template.format(last=last)
        console.print(f"\n{title}:")
        console.print(f'.venv/bin/s3-assets sql "{query.strip()}"', highlight=False, soft_wrap=True)
        run_sql(warehouse, query)
    console.print(
        "\nnext: `make dev` shows the rounds in the Dagster UI; "
        "`.venv/bin/s3-assets new-task NAME` begins a task of your own",
        highlight=False,
    )
