"""The leaderboard: figures against hand-worked ones, what is missing, the picture, the command."""

import base64
import csv
import io
import json
import math
import random
import statistics
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from s3_assets.cli.leaderboard import EMBEDDED, markdown, print_leaderboard
from s3_assets.experiment.leaderboard import (
    against,
    equal_budget_arms,
    estimate,
    experiment_rows,
    leaderboard,
    matched,
    unequal,
)
from s3_assets.experiment.plot import WIDTH, markdown_image, plot
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import write_task
from s3_assets_tests.test_imports import imported_by
from s3_assets_tests.test_parts import frame_of

# Student's t for 95% with 2 degrees of freedom, in closed form.
T2 = 0.95 / math.sqrt(2 * 0.975 * 0.025)
Command = Callable[..., tuple[int, str, str]]


def arm(name: str, scores: list[float | None], **columns: Any) -> list[dict[str, Any]]:
    """Rows of table experiment: ``name`` with seeds from 0."""
    usual = {
        "task": "small",
        "arm": name,
        "last_round": 0,
        "synthetic_rows": 590,
        "gold_rows": 0,
        "rows_requested": 600,
        "label_questions": 0,
        "teacher_budget": 600,
        "over_budget": False,
        "calls": 120,
        "prompt_tokens": 30_000,
        "completion_tokens": 20_000,
        "cost": 0.5,
        "train_seconds": 40.0,
        "metric": "accuracy",
        "test_rows": 100,
        "select_score": 0.9,
    }
    return [{**usual, "seed": seed, "test_score": score, **columns} for seed, score in enumerate(scores)]


GOLD_ONLY = arm("gold_only", [0.70, 0.72, 0.74], teacher_budget=0, synthetic_rows=0, gold_rows=150, calls=0, cost=0.0)
GOLDGEN = arm("goldgen", [0.78, 0.83, 0.82], cost=0.4)
S3 = arm("s3", [0.80, 0.82, 0.87])
# 5% more than goldgen's 600 is compared, more is not; less is.
BUDGETS = (("s3", 631), ("more_seed", 630), ("frugal", 300))


def board_of(*arms: list[dict[str, Any]]) -> pl.DataFrame:
    return leaderboard("small", rows_of(*arms))


def rows_of(*arms: list[dict[str, Any]]) -> pl.DataFrame:
    return frame_of("experiment", [row for rows in arms for row in rows])


def line(board: pl.DataFrame, name: str) -> dict[str, Any]:
    return board.row(by_predicate=pl.col("arm") == name, named=True)


def test_figures_are_those_worked_by_hand() -> None:
    board = board_of(GOLD_ONLY, S3, GOLDGEN)
    assert board.schema == table("leaderboard").schema
    assert board.select("place", "arm").rows() == [(1, "s3"), (2, "goldgen"), (3, "gold_only")]
    s3 = line(board, "s3")
    # Deviations -0.03, -0.01, 0.04; differences from goldgen 0.02, -0.01, 0.05, from gold_only 0.10, 0.10, 0.13.
    sd = math.sqrt((0.0009 + 0.0001 + 0.0016) / 2)
    t = 0.02 / (0.03 / math.sqrt(3))
    expected = {
        "seeds": 3,
        "synthetic_rows": 590,
        "tokens": 50_000,
        "score_mean": 0.83,
        "score_sd": sd,
        "ci_low": 0.83 - T2 * sd / math.sqrt(3),
        "ci_high": 0.83 + T2 * sd / math.sqrt(3),
        "vs_goldgen": 0.02,
        "vs_goldgen_low": 0.02 - T2 * 0.03 / math.sqrt(3),
        "vs_goldgen_high": 0.02 + T2 * 0.03 / math.sqrt(3),
        "vs_goldgen_p": 1 - t / math.sqrt(t * t + 2),
        "vs_gold_only": 0.11,
        "points_per_dollar": 11 / 0.5,
    }
    assert {name: s3[name] for name in expected} == pytest.approx(expected)
    assert line(board, "gold_only")["vs_goldgen"] == pytest.approx(-0.09)


def test_intervals_and_p_are_scipys_own() -> None:
    from scipy import stats

    draw = random.Random(3)
    for seeds in (2, 3, 5, 10):
        ours, theirs = ([draw.gauss(0.8, 0.03) for _ in range(seeds)] for _ in range(2))
        row = line(board_of(arm("s3", ours), arm("goldgen", theirs)), "s3")
        paired = stats.ttest_rel(ours, theirs)
        low, high = paired.confidence_interval(0.95)
        assert row["vs_goldgen_p"] == pytest.approx(paired.pvalue)
        assert (row["vs_goldgen_low"], row["vs_goldgen_high"]) == pytest.approx((low, high))
        of_mean = stats.ttest_1samp(ours, 0).confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((of_mean.low, of_mean.high))


def test_pairs_are_the_seeds_both_have() -> None:
    row = line(board_of(S3, GOLDGEN[1:], GOLD_ONLY[:1]), "s3")
    assert row["vs_goldgen"] == pytest.approx((-0.01 + 0.05) / 2)
    assert row["vs_goldgen_p"] is not None
    assert row["vs_gold_only"] == pytest.approx(0.10)
    assert row["vs_gold_only_low"] is None
    assert row["vs_gold_only_p"] is None
    apart = line(board_of(S3[:1], GOLDGEN[1:]), "s3")
    assert apart["vs_goldgen"] is None


def test_ties_go_to_the_smaller_budget_then_by_name() -> None:
    # 185 of 264 test rows right in two ways, whose means floating point does not find equal.
    lower, upper = ([right / 88 for right in seeds] for seeds in ((60, 60, 65), (60, 61, 64)))
    assert statistics.fmean(lower) < statistics.fmean(upper)
    board = board_of(
        arm("zerogen", [*upper], teacher_budget=500),
        arm("s3", [*upper], teacher_budget=600),
        arm("default", [*lower], teacher_budget=600),
        arm("goldgen", [*lower], teacher_budget=400),
    )
    assert board["arm"].to_list() == ["goldgen", "zerogen", "default", "s3"]
    assert board["place"].to_list() == [1, 2, 3, 4]


def test_one_seed_has_a_mean_and_no_spread() -> None:
    row = line(board_of(S3[:1], GOLDGEN[:1]), "s3")
    assert row["score_mean"] == pytest.approx(0.80)
    assert row["vs_goldgen"] == pytest.approx(0.02)
    empty = ("score_sd", "ci_low", "ci_high", "vs_goldgen_low", "vs_goldgen_high", "vs_goldgen_p")
    assert [row[name] for name in empty] == [None] * len(empty)


def test_equal_differences_have_no_p() -> None:
    # In floating point the three differences of 0.05 are not all the same number.
    row = line(board_of(arm("s3", [0.85, 0.75, 0.35]), arm("goldgen", [0.80, 0.70, 0.30])), "s3")
    assert row["vs_goldgen"] == pytest.approx(0.05)
    # An interval without width would say that three seeds which agree are certain.
    assert {row[f"vs_goldgen_{end}"] for end in ("low", "high", "p")} == {None}
    assert estimate([0.5, 0.5]).sd == 0


def test_an_absent_control_is_null_and_no_arm_is_compared_with_itself() -> None:
    s3 = line(board_of(S3), "s3")
    assert {s3[name] for name in s3 if name.startswith("vs_")} == {None}
    assert s3["points_per_dollar"] is None
    assert line(board_of(S3, GOLDGEN), "goldgen")["vs_goldgen"] is None


def test_a_cost_that_one_seed_does_not_know_is_not_known() -> None:
    unpriced = [S3[0] | {"cost": None}, *S3[1:]]
    row = line(board_of(unpriced, GOLD_ONLY), "s3")
    assert row["cost"] is None
    assert row["points_per_dollar"] is None
    assert row["vs_gold_only"] == pytest.approx(0.11)
    free = line(board_of(arm("s3", [0.8, 0.9, 0.8], cost=0.0), GOLD_ONLY), "s3")
    assert (free["cost"], free["points_per_dollar"]) == (0, None)


def test_without_test_gold_selecting_gold_does_not_rank() -> None:
    best_on_select = arm("s3", [None, None], select_score=0.99, teacher_budget=900)
    nothing_right = arm("gold_only", [0.0, 0.0], teacher_budget=950)
    board = board_of(best_on_select, arm("goldgen", [None, None], select_score=0.5), nothing_right)
    assert board["arm"].to_list() == ["gold_only", "goldgen", "s3"]
    assert board["place"].to_list() == [1, None, None]
    row = line(board, "s3")
    assert row["score_mean"] is None
    assert row["vs_gold_only"] is None


def test_exact_match_is_of_questions() -> None:
    questions = arm("s3", [0.8, 0.9], metric="f1", test_exact_match=0.6)
    assert line(board_of(questions), "s3")["exact_match_mean"] == pytest.approx(0.6)
    assert line(board_of(S3), "s3")["exact_match_mean"] is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*S3, S3[1]], "s3 with seed 1 is there twice"),
        ([*S3, GOLDGEN[0] | {"task": "other"}], r"rows of other tasks \(other\)"),
        (
            [*S3, *arm("goldgen", [0.5], test_rows=88)],
            r"different test gold \(test_rows: 100, 88\).*s3-assets compare small",
        ),
        ([*S3, *arm("goldgen", [0.5], metric="f1")], r"different metrics \(metric: accuracy, f1\)"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        board_of(rows)


def test_no_rows_make_an_empty_board() -> None:
    board = board_of()
    assert board.schema == table("leaderboard").schema
    assert board.is_empty()
    with pytest.raises(ValueError, match="s3-assets compare TASK"):
        plot(board, rows_of())


def test_unequal_budgets_are_named() -> None:
    board = board_of(
        GOLDGEN,
        arm("s3", [0.9], teacher_budget=640, over_budget=True),
        arm("more_seed", [0.9], teacher_budget=570),
        arm("s3_shown", [0.9], teacher_budget=500),
        arm("seed_only", [0.9], teacher_budget=200),
        arm("frugal", [0.9], teacher_budget=300),
        arm("paper", [0.9], teacher_budget=1900),
    )
    said = "asked for {} rows and label questions, {} asked for {} rows and label questions: not at equal budget"
    unlike = "arms have 1 to 3 seeds: places are over different seeds, differences are not"
    over = "asked for more than the budget of an arm: s3"
    assert matched(board) == [
        over,
        "no difference from goldgen is given for s3, paper: asked for over 5% more than it, or has no seed that it has",
        f"s3 {said.format(640, 'goldgen', 600)}",
        f"s3_shown {said.format(500, 'goldgen', 600)}",
        unlike,
    ]
    # Without goldgen the first of those meant to be equal stands in.
    assert matched(board.filter(pl.col("arm") != "goldgen")) == [
        over,
        f"s3 {said.format(640, 'more_seed', 570)}",
        f"s3_shown {said.format(500, 'more_seed', 570)}",
    ]
    assert matched(board_of(GOLD_ONLY)) == []
    # A task's own strategies are meant to be equal too.
    own = {**presets(), "mine": presets()["s3"]}
    mine = board_of(GOLDGEN, arm("mine", [0.8, 0.9, 0.7], teacher_budget=500))
    assert matched(mine) == []
    assert matched(mine, own) == [f"mine {said.format(500, 'goldgen', 600)}"]


def test_no_difference_is_given_at_a_larger_budget() -> None:
    larger, as_large, smaller = (arm(name, [0.9, 0.9, 0.8], teacher_budget=budget) for name, budget in BUDGETS)
    board = board_of(GOLDGEN, GOLD_ONLY, larger, as_large, smaller)
    assert unequal(board.to_dicts(), "goldgen") == ["s3"]
    given = dict(board.select("arm", "vs_goldgen").iter_rows())
    assert given["s3"] is None
    assert given["more_seed"] == given["frugal"] == pytest.approx((0.12 + 0.07 - 0.02) / 3)
    # gold_only has no teacher: that any arm asks for more is what the comparison is about.
    assert line(board, "s3")["vs_gold_only"] == pytest.approx((0.20 + 0.18 + 0.06) / 3)
    assert {row["arm"]: row["over_budget"] for row in board.to_dicts()} == dict.fromkeys(board["arm"], False)
    shown = {cells[1]: cells[4] for cells in (text.split(" | ") for text in markdown(board).splitlines()[2:])}
    assert shown["s3"] == "unequal"
    assert shown["more_seed"].startswith("+5.7 [")


def test_budgets_are_compared_over_the_seeds_that_both_have() -> None:
    """Where errors or refills decide on budgets, other seeds have others."""
    later = [row | {"teacher_budget": 2000} for row in S3[2:]]
    board = board_of(S3[:2] + later, GOLDGEN[:2])
    assert line(board, "s3")["teacher_budget"] > 1.05 * line(board, "goldgen")["teacher_budget"]
    assert line(board, "s3")["vs_goldgen"] == pytest.approx((0.02 - 0.01) / 2)
    assert unequal(board.to_dicts(), "goldgen") == []
    # And the other way round: dear where both are, cheap on the whole.
    dear = [row | {"teacher_budget": 700} for row in S3[:2]] + [row | {"teacher_budget": 100} for row in S3[2:]]
    board = board_of(dear, GOLDGEN[:2])
    assert line(board, "s3")["teacher_budget"] < line(board, "goldgen")["teacher_budget"]
    assert line(board, "s3")["vs_goldgen"] is None
    assert unequal(board.to_dicts(), "goldgen") == ["s3"]
    assert "| unequal |" in markdown(board)


def test_differences_from_any_arm_are_those_worked_by_hand() -> None:
    rows = rows_of(
        S3, GOLDGEN, arm("frugal", [0.82, 0.83, 0.88], teacher_budget=300), arm("paper", [0.9], teacher_budget=900)
    )
    board = against(leaderboard("small", rows), rows, "s3")
    frugal = line(board, "frugal")
    assert frugal["vs_s3"] == pytest.approx((0.02 + 0.01 + 0.01) / 3)
    found = estimate([0.02, 0.01, 0.01])
    assert (frugal["vs_s3_low"], frugal["vs_s3_high"], frugal["vs_s3_p"]) == pytest.approx(
        (found.low, found.high, found.p)
    )
    assert line(board, "s3")["vs_s3"] is None
    assert line(board, "paper")["vs_s3"] is None, "at a larger budget"
    # The same arms the other way round.
    back = line(against(board, rows, "frugal"), "frugal")
    assert back["vs_frugal"] is None
    assert line(against(board, rows, "frugal"), "s3")["vs_frugal"] is None, "s3 is the dearer one"


def test_unequal_rows_are_named() -> None:
    assert matched(board_of(GOLDGEN, arm("s3", [0.8, 0.9, 0.7], synthetic_rows=550))) == [
        "s3 trained on 550 rows of the teacher, goldgen trained on 590 rows of the teacher: not on equal rows"
    ]


def test_arms_meant_to_have_equal_budget() -> None:
    named = {"more_seed", "goldgen", "s3"}
    assert set(equal_budget_arms()) == named | {f"{name}+gold" for name in named} | {"default", "zerogen", "s3_shown"}


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_picture_has_a_line_per_arm_and_shows_the_data() -> None:
    rows, more = rows_of(S3, GOLDGEN), rows_of(*(arm(name, [0.8, 0.9]) for name in presets()))
    board = leaderboard("small", rows)
    png = plot(board, rows)
    width, height = size_of(png)
    assert width == WIDTH == 900
    taller = size_of(plot(leaderboard("small", more), more))
    assert taller[0] == 900
    assert taller[1] - height == (len(presets()) - 2) * 34
    assert plot(board, rows) == png
    changed = [
        board.with_columns(pl.col("score_mean") + 0.01),
        # Inside the axis that the interval of s3 sets.
        board.with_columns(pl.when(pl.col("arm") == "s3").then("ci_high").otherwise(pl.col("ci_high") - 0.01)),
        board.with_columns(pl.col("teacher_budget") + 10),
        board.with_columns(pl.lit("other").alias("task")),
    ]
    pictures = {plot(one, rows) for one in changed} | {plot(board, rows.filter(pl.col("seed") != 2)), png}
    assert len(pictures) == 6


def test_picture_of_one_seed_and_of_no_score() -> None:
    for scores in ([0.8], [None], [1.0, 1.0], [0.0]):
        rows = rows_of(arm("s3", scores), arm("goldgen", [None] * len(scores)))
        assert size_of(plot(leaderboard("small", rows), rows))[0] == 900


def test_markdown_image_needs_no_file() -> None:
    link = markdown_image(b"\x89PNG")
    assert link.startswith("![leaderboard](data:image/png;base64,")
    assert base64.b64decode(link.split(",")[1].removesuffix(")")) == b"\x89PNG"


def test_markdown_is_one_table() -> None:
    lines = markdown(board_of(S3, GOLDGEN, GOLD_ONLY)).splitlines()
    assert len(lines) == 5
    assert {text.count("|") for text in lines} == {15}
    assert lines[1].startswith("| ---: | --- | ---: |")
    assert lines[2] == (
        "| 1 | s3 | 3 | 83.0 ±3.6 [74.0, 92.0] | +2.0 [-5.5, +9.5] p=0.368 | +11.0 [+6.7, +15.3] p=0.008 "
        "| 590 | 0 | 600 | 120 | 50.0 | 0.5000 | 40 | 22.0 |"
    )
    assert lines[4].startswith("| 3 | gold_only | 3 | 72.0 ±2.0 ")


def test_tables_fit_100_columns(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    # The longest names, exact match, two seeds 45 points apart: intervals of several hundred points.
    arms = [arm(name, [0.5, 0.95], test_exact_match=1.0, cost=99.5, train_seconds=12_345.0) for name in presets()]
    controls = [arm("gold_only", [0.95, 0.5], cost=0.0), arm("goldgen", [1.0, 0.9])]
    others = [rows for rows in arms if rows[0]["arm"] not in {"gold_only", "goldgen"}]
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=300), task, board_of(*controls, *others), [])
    assert max(len(text.rstrip()) for text in out.getvalue().splitlines()) <= 100


@pytest.fixture
def compared(home: Path, tmp_path: Path) -> Warehouse:
    """The task small with three arms in the experiment and leaderboard of its warehouse."""
    write_task(tmp_path / "tasks")
    warehouse = Warehouse(tmp_path / "warehouse")
    rows = rows_of(S3, GOLDGEN, GOLD_ONLY, arm("s3_shown", [0.6], teacher_budget=700))
    for row in rows.iter_slices(1):
        warehouse.write("experiment", row.select("task", "arm", "seed").row(0, named=True), row)
    warehouse.write("leaderboard", {"task": "small"}, leaderboard("small", rows))
    return warehouse


def test_experiment_rows_are_the_live_ones_of_the_task(compared: Warehouse) -> None:
    compared.write("experiment", {"task": "other", "arm": "s3", "seed": 0}, rows_of([S3[0] | {"task": "other"}]))
    compared.write("experiment", {"task": "small", "arm": "s3", "seed": 0}, rows_of([S3[0] | {"test_score": 0.5}]))
    compared.retire("experiment", {"task": "small", "arm": "s3", "seed": 2})
    rows = experiment_rows(compared, "small")
    assert rows.filter(pl.col("arm") == "s3")["test_score"].to_list() == [0.5, 0.82]
    assert rows["arm"].unique().sort().to_list() == ["gold_only", "goldgen", "s3", "s3_shown"]
    assert experiment_rows(compared, "nothing").schema == table("experiment").schema


def test_command_prints_tables_and_what_to_know(compared: Warehouse, command: Command) -> None:
    code, out, _ = command("leaderboard", "small")
    assert code == 0
    cells = " ".join(out.split())
    assert "1 s3 3 83.0 ±3.6 [74, 92] +2.0 [-5.5, +9.5] +11.0 [+6.7, +15.3]" in cells
    assert "s3 590 0 600 120 50.0 0.5000 40 22.0" in cells
    said = " ".join(out.split())
    assert "s3_shown asked for 700 rows and label questions, goldgen asked for 600 rows and label" in said
    # Nothing stands behind these rows: no model of theirs is live.
    assert "left out, as inputs changed since: gold_only seed 0," in said
    assert EMBEDDED in out
    assert "have no place" not in out


def test_command_writes_csv_json_and_markdown(compared: Warehouse, command: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(command("leaderboard", "small", "--format", "csv")[1])))
    assert [row["arm"] for row in rows] == ["s3", "goldgen", "gold_only", "s3_shown"]
    assert rows[3]["score_sd"] == ""
    objects = json.loads(command("leaderboard", "small", "--format", "json")[1])
    assert set(objects[0]) == set(table("leaderboard").schema)
    assert objects[0]["score_mean"] == pytest.approx(0.83)
    assert objects[3]["score_sd"] is None
    text = command("leaderboard", "small", "--format", "markdown")[1]
    assert text.startswith("| # | arm |")
    assert EMBEDDED in text


def test_command_shows_differences_from_an_arm(compared: Warehouse, command: Command) -> None:
    code, out, _ = command("leaderboard", "small", "--against", "s3")
    cells = " ".join(out.split())
    assert code == 0
    assert "vs s3" in cells
    assert "vs goldgen" not in cells
    assert "goldgen 3 81.0 ±2.6 [74, 88] -2.0 [-9.5, +5.5]" in cells
    assert "4 s3_shown 1 60.0 unequal" in cells
    assert "no difference from s3 is given for s3_shown: asked for over 5% more than it, or has no seed" in cells
    objects = json.loads(command("leaderboard", "small", "--against", "s3", "--format", "json")[1])
    assert objects[1]["vs_s3"] == pytest.approx(-0.02)
    assert objects[1]["vs_gold_only"] is not None
    assert "| vs s3 |" in command("leaderboard", "small", "--against", "s3", "--format", "markdown")[1]
    # A control of every board needs nothing computed.
    assert set(json.loads(command("leaderboard", "small", "--against", "goldgen", "--format", "json")[1])[0]) == set(
        table("leaderboard").schema
    )
    code, _, error = command("leaderboard", "small", "--against", "goldgn")
    assert (code, "Did you mean goldgen" in error, "--arms goldgn" in error) == (2, True, True)


def test_rows_of_before_budgets_were_held_against_arms_are_read(compared: Warehouse, command: Command) -> None:
    """Parts are immutable: those written when a column did not exist lack it."""
    part = compared.live("experiment", {"task": "small", "arm": "s3", "seed": 0})
    part.read().drop("over_budget").write_parquet(part.path)
    assert experiment_rows(compared, "small").filter(pl.col("over_budget").is_null()).height == 1


def test_command_draws(compared: Warehouse, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "board.png"
    code, out, error = command("leaderboard", "small", "--format", "json", "--png", str(file))
    assert code == 0
    assert json.loads(out)
    assert f"drawn: {file}" in error
    assert size_of(file.read_bytes())[0] == 900
    code, _, error = command("leaderboard", "small", "--png", str(tmp_path / "absent" / "board.png"))
    assert code == 2
    assert "No such file" in error
    assert "--png" in error


def test_command_draws_the_seeds_the_board_was_made_of(compared: Warehouse, command: Command, tmp_path: Path) -> None:
    rows = rows_of([row | {"model_id": f"m_{row['seed']}"} for row in S3])
    for row in rows.iter_slices(1):
        compared.write("experiment", row.select("task", "arm", "seed").row(0, named=True), row)
    made_of = rows.filter(pl.col("seed") < 2)
    board = leaderboard("small", made_of)
    compared.write("leaderboard", {"task": "small"}, board, {"inputs": json.dumps({"s3/0": "m_0", "s3/1": "m_1"})})
    command("leaderboard", "small", "--png", str(tmp_path / "board.png"))
    drawn = (tmp_path / "board.png").read_bytes()
    assert drawn == plot(board, made_of)
    assert drawn != plot(board, rows)


def test_command_names_the_one_that_compares(home: Path, tmp_path: Path, command: Command) -> None:
    write_task(tmp_path / "tasks")
    code, _, error = command("leaderboard", "small")
    assert code == 2
    assert "`s3-assets compare small`" in error
    code, _, error = command("leaderboard", "smal")
    assert code == 2
    assert "Did you mean 'small'?" in error


def test_command_says_why_there_is_no_score(home: Path, tmp_path: Path, command: Command) -> None:
    task = write_task(tmp_path / "tasks", teacher={"backend": "openai", "model": "m"})
    warehouse = Warehouse(tmp_path / "warehouse")
    warehouse.write("leaderboard", {"task": task.name}, board_of(arm("s3", [None, None])))
    _, out, _ = command("leaderboard", "small")
    assert "Arms without a test score have no place" in out
    assert EMBEDDED not in out


def test_only_drawing_imports_matplotlib_and_never_pyplot() -> None:
    code = """
import sys
import s3_assets.cli.leaderboard
import s3_assets.experiment.plot
assert not {"matplotlib", "scipy"} & set(sys.modules)
from s3_assets_tests.test_leaderboard import S3, board_of, rows_of
s3_assets.experiment.plot.plot(board_of(S3), rows_of(S3))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    assert "matplotlib" in imported_by(code)
