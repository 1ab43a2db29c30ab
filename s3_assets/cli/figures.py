"""Figures as text, and the table a run ends with.

Belongs here: formatting shared by commands. Does not belong here: computing figures (``loop/progress.py``).
"""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s3_assets.generation.schedule import round_size
from s3_assets.loop.fingerprints import last_round
from s3_assets.loop.progress import HEADLINE_DRIFT, RoundFigures, Score
from s3_assets.tasks.load import Task
from s3_assets.teacher.ledger import Spent

EMBEDDED = "Teacher: embedded, a grammar without a model, for trying the pipeline. Not an LLM result."


def percent(score: Score | None) -> str:
    """Accuracy in percent, or a dash."""
    return "-" if score is None else f"{100 * score.share:.1f}"


def with_interval(score: Score | None) -> str:
    """Accuracy in percent with its 95% interval."""
    if score is None:
        return "no test split"
    low, high = score.interval()
    return f"{100 * score.share:.1f} [{100 * low:.0f}-{100 * high:.0f}]"


def beyond_schedule(task: Task, last: int) -> str | None:
    """A line for rounds up to ``last`` where the strategy's schedule ends before them; None where it does not."""
    scheduled = last_round(task)
    if last <= scheduled:
        return None
    rows = "a row from each error" if task.spec.how.one_each else f"{round_size(task, scheduled):,} rows more"
    return f"schedule: {task.spec.strategy} has spent its budget with round {scheduled}; each later one asks for {rows}"


def _f1(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def print_rounds(
    console: Console,
    task: Task,
    rounds: Sequence[RoundFigures],
    spent: Mapping[int, Spent],
    seconds: Mapping[int, float],
) -> None:
    """The closing table: per round what was written, what it cost, what it achieved.

    ``spent`` holds what the teacher was paid by round, ``seconds`` the wall time of this run by round.
    """
    shown = Table(title=f"{task.name}: rounds of S3", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    # Nine columns in 80 characters: the lines below the table say what the short headings mean.
    for heading in ("round", "rows", "calls", "tokens", "errors", "held-out %", "test % [95%]", "drift", "seconds"):
        shown.add_column(Text(heading), justify="right")
    for figures in rounds:
        paid = spent.get(figures.round, Spent())
        shown.add_row(
            str(figures.round),
            str(figures.rows),
            str(paid.calls),
            f"{paid.tokens:,}",
            "-" if figures.steer is None else f"{figures.errors}/{figures.steer.rows}",
            percent(figures.select),
            with_interval(figures.test),
            "-" if figures.drift is None else f"{figures.drift:.3f}",
            f"{seconds[figures.round]:.0f}" if figures.round in seconds else "earlier",
        )
    console.print(shown)
    floors = [figures.drift_floor for figures in rounds if figures.drift_floor is not None]
    explained = f", sampling alone explains {floors[-1]:.3f}" if floors else ""
    console.print(
        "rows: of the seed set\n"
        "calls, tokens: of the teacher, paid for the rows the round added\n"
        "errors: on steering gold\n"
        "held-out, test: held-out and test gold right, test with its 95% interval\n"
        f"drift: of the seed set from steering gold, {HEADLINE_DRIFT}{explained}",
        highlight=False,
    )
    answered = [figures for figures in rounds if figures.select_f1 is not None]
    if answered:
        shown_f1 = ", ".join(f"{_f1(figures.select_f1)}/{_f1(figures.test_f1)}" for figures in answered)
        console.print(f"held-out, test: exact answers; their F1 in percent, by round: {shown_f1}", highlight=False)
    costs = [paid.money for paid in spent.values()]
    if None in costs:
        console.print("cost: not known, some calls have no price; declare teacher.price in the task's YAML")
    elif any(costs):
        console.print(f"cost: ${sum(cost or 0 for cost in costs):.4f}", highlight=False)
    if task.spec.teacher.backend == "embedded":
        console.print(EMBEDDED)
