"""``s3-assets leaderboard``: the compared arms of a task as tables, CSV, JSON, Markdown or a picture.

Belongs here: printing the leaderboard. Does not belong here: its figures (``experiment/leaderboard.py``), drawing
(``experiment/plot.py``), running arms.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s3_assets import settings
from s3_assets.cli.figures import EMBEDDED
from s3_assets.experiment.leaderboard import GOLD_ONLY, GOLDGEN, against, experiment_rows, not_given, unequal
from s3_assets.experiment.publish import board_notes
from s3_assets.loop.fingerprints import LEADERBOARD
from s3_assets.loop.state import NotReady
from s3_assets.store.parts import INPUTS, Part
from s3_assets.tasks.load import Task, TaskError, get_task
from s3_assets.tasks.spec import close_to
from s3_assets.tasks.split import FEWEST_ROWS_FOR_TEST

NO_SCORE = (
    "Arms without a test score have no place and stand last, the smaller budget first: there is no test gold.\n"
    f"It takes {FEWEST_ROWS_FOR_TEST} rows in gold.file, or gold.files.test. Selecting gold does not rank instead."
)
_CONTROLS = (GOLDGEN, GOLD_ONLY)
_UNEQUAL = "unequal"
_SCORES = (
    "±: standard deviation over seeds\n"
    "[ ]: 95% t interval over seeds, with test rows and gold as they are; wide with 2 or 3 seeds\n"
    "vs an arm: points more than that arm, paired over the seeds both have\n"
    "p: below 0.05 where the interval leaves out 0, for that one comparison; --format markdown shows it"
)
_COSTS = (
    "all: means over seeds\n"
    "rows, gold: what the last student was trained on\n"
    "budget: rows and label questions asked for, whether paid or from the ledger\n"
    "calls, tokens, $: of those requests\n"
    "train s: of all students of the arm"
)
_PER_DOLLAR = f"\npoints/$: points more than {GOLD_ONLY} for a dollar"


class OutputFormat(StrEnum):
    """How the leaderboard is written."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"


def leaderboard(
    task: Annotated[str, typer.Argument(help="Name of the task.")],
    output_format: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="csv and json hold all columns, shares from 0 to 1.")
    ] = OutputFormat.table,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it into this file.")] = None,
    against_arm: Annotated[
        str | None, typer.Option("--against", metavar="ARM", help="Show differences from this arm, paired by seed.")
    ] = None,
) -> None:
    """Show how the compared strategies of a task did: test score over seeds, paired differences, what they took."""
    found = get_task(task, settings.task_folders())
    warehouse = settings.warehouse()
    part = warehouse.live(LEADERBOARD, {"task": found.name})
    if part is None:
        raise NotReady(f"{found.name} has no leaderboard yet; `s3-assets compare {found.name}` makes it")
    board, notes = part.read(), board_notes(found, warehouse, part)
    rows = _made_of(part, experiment_rows(warehouse, found.name))
    controls: Sequence[str] = _CONTROLS
    if against_arm is not None:
        if against_arm not in board["arm"]:
            arms = ", ".join(board["arm"])
            raise TaskError(
                f"--against {against_arm}: not on the board of {found.name}.{close_to(against_arm, board['arm'])} "
                f"It has {arms}; `s3-assets compare {found.name} --arms {against_arm}` runs an arm"
            )
        controls = (against_arm,)
        if against_arm not in _CONTROLS:
            board = against(board, rows, against_arm)
    if output_format is OutputFormat.csv:
        sys.stdout.write(board.write_csv())
    elif output_format is OutputFormat.json:
        sys.stdout.write(json.dumps(board.to_dicts(), ensure_ascii=False, indent=2) + "\n")
    elif output_format is OutputFormat.markdown:
        sys.stdout.write("\n\n".join([markdown(board, controls), *_notes(found, board, notes, controls)]) + "\n")
    else:
        print_leaderboard(Console(), found, board, notes, controls)
    if output_format in {OutputFormat.csv, OutputFormat.json}:
        for note in notes:
            typer.echo(note, err=True)
    if png is not None:
        _draw(board, rows, png)


def print_leaderboard(
    console: Console,
    task: Task,
    board: pl.DataFrame,
    notes: Sequence[str],
    controls: Sequence[str] = _CONTROLS,
) -> None:
    """Scores, then what they took, in 100 columns; below, what the columns mean and ``notes`` on what was compared.

    ``controls``: arms whose differences are shown, at most two.
    """
    arms = board.to_dicts()
    console.print(_table(f"{task.name}: arms by test {_metric(arms)}", _score_columns(arms, controls), arms))
    console.print(_SCORES, highlight=False)
    console.print(_table(f"{task.name}: what they took", _cost_columns(arms), arms))
    console.print(_COSTS + (_PER_DOLLAR if _any(arms, "points_per_dollar") else ""), highlight=False)
    for note in _notes(task, board, notes, controls):
        console.print(note, highlight=False, markup=False)


def markdown(board: pl.DataFrame, controls: Sequence[str] = _CONTROLS) -> str:
    """The leaderboard as one GitHub table, with p values. ± is the standard deviation over seeds, [ ] 95% intervals."""
    arms = board.to_dicts()
    # The arm stands in both tables; here once.
    columns = _score_columns(arms, controls, digits=1) | _cost_columns(arms)
    for control in controls:
        heading = f"vs {control}"
        columns[heading] = [
            _with_p(cell, arm[f"vs_{control}_p"]) for cell, arm in zip(columns[heading], arms, strict=True)
        ]
    lines = [list(columns), ["---" if name == "arm" else "---:" for name in columns]]
    lines += [[cells[place] for cells in columns.values()] for place in range(len(arms))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _made_of(part: Part, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that the leaderboard was made of: others may have come since, or were left out as stale."""
    noted = part.metadata().get(INPUTS)
    return rows if noted is None else rows.filter(pl.col("model_id").is_in(list(json.loads(noted).values())))


def _draw(board: pl.DataFrame, rows: pl.DataFrame, file: Path) -> None:
    from s3_assets.experiment.plot import plot  # matplotlib: 0.5 s

    try:
        file.write_bytes(plot(board, rows))
    except OSError as error:
        raise TaskError(
            f"{file}: cannot be written ({error.strerror}); give --png a file in a folder that exists"
        ) from error
    typer.echo(f"drawn: {file}", err=True)


def _table(title: str, columns: Mapping[str, Sequence[str]], arms: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in columns:
        shown.add_column(Text(heading), justify="left" if heading == "arm" else "right", no_wrap=heading == "arm")
    for place in range(len(arms)):
        # Text, so that brackets are not read as markup.
        shown.add_row(*(Text(cells[place]) for cells in columns.values()))
    return shown


def _score_columns(arms: Sequence[Mapping[str, Any]], controls: Sequence[str], digits: int = 0) -> dict[str, list[str]]:
    columns = {
        "#": ["-" if arm["place"] is None else str(arm["place"]) for arm in arms],
        "arm": [arm["arm"] for arm in arms],
        "seeds": [str(arm["seeds"]) for arm in arms],
        f"test {_metric(arms)} %": [_score(arm, digits) for arm in arms],
    }
    if _any(arms, "exact_match_mean"):
        columns["exact %"] = [_number(arm["exact_match_mean"], 1, 100) for arm in arms]
    for control in controls:
        dearer = unequal(arms, control)
        columns[f"vs {control}"] = [
            _UNEQUAL if arm["arm"] in dearer else _difference(arm, f"vs_{control}") for arm in arms
        ]
    return columns


def _cost_columns(arms: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    columns = {
        "arm": [arm["arm"] for arm in arms],
        "rows": [_number(arm["synthetic_rows"]) for arm in arms],
        "gold": [_number(arm["gold_rows"]) for arm in arms],
        "budget": [_number(arm["teacher_budget"]) for arm in arms],
        "calls": [_number(arm["calls"]) for arm in arms],
        "tokens (k)": [_number(arm["tokens"], 1, 1e-3) for arm in arms],
        "$": ["not known" if arm["cost"] is None else f"{arm['cost']:.4f}" for arm in arms],
        "train s": [_number(arm["train_seconds"]) for arm in arms],
    }
    if _any(arms, "points_per_dollar"):
        columns["points/$"] = [_number(arm["points_per_dollar"], 1) for arm in arms]
    return columns


def _notes(task: Task, board: pl.DataFrame, found: Sequence[str], controls: Sequence[str]) -> list[str]:
    notes = [f"{sentence}." for sentence in found]
    # What is missing from goldgen is said of every board.
    others = {control: unequal(board.to_dicts(), control) for control in controls if control not in _CONTROLS}
    notes += [f"{not_given(control, dearer)}." for control, dearer in others.items() if dearer]
    if board["score_mean"].has_nulls():
        notes.append(NO_SCORE)
    if task.spec.teacher.backend == "embedded":
        notes.append(EMBEDDED)
    return notes


def _any(arms: Sequence[Mapping[str, Any]], column: str) -> bool:
    return any(arm[column] is not None for arm in arms)


def _metric(arms: Sequence[Mapping[str, Any]]) -> str:
    return "F1" if arms[0]["metric"] == "f1" else str(arms[0]["metric"])


def _number(value: float | None, digits: int = 0, scale: float = 1, sign: str = "") -> str:
    # Adding 0 makes of -0.0 what it is.
    return "-" if value is None else f"{round(scale * value, digits) + 0.0:{sign},.{digits}f}"


def _score(arm: Mapping[str, Any], digits: int) -> str:
    mean = _number(arm["score_mean"], 1, 100)
    if arm["score_sd"] is None:
        return mean
    spread = f"{mean} ±{_number(arm['score_sd'], 1, 100)}"
    return spread if arm["ci_low"] is None else f"{spread} {_interval(arm['ci_low'], arm['ci_high'], digits)}"


def _difference(arm: Mapping[str, Any], name: str) -> str:
    mean, low, high = _number(arm[name], 1, 100, "+"), arm[f"{name}_low"], arm[f"{name}_high"]
    if low is None:
        return mean
    # Tenths of an interval of 100 points say nothing and do not fit.
    return f"{mean} {_interval(low, high, 1 if max(-low, high) < 0.9995 else 0, '+')}"


def _interval(low: float, high: float, digits: int, sign: str = "") -> str:
    return f"[{_number(low, digits, 100, sign)}, {_number(high, digits, 100, sign)}]"


def _with_p(cell: str, p: float | None) -> str:
    return cell if p is None else f"{cell} {'p<0.001' if p < 0.001 else f'p={p:.3f}'}"
