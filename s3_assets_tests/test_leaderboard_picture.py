"""The leaderboard's picture: its size, that it shows the data, what drawing imports."""

import base64

import polars as pl

from s3_assets.experiment.leaderboard import leaderboard
from s3_assets.experiment.plot import WIDTH, markdown_image, plot
from s3_assets.tasks.presets import presets
from s3_assets_tests.boards import GOLDGEN, S3, arm, rows_of, size_of
from s3_assets_tests.test_imports import imported_by


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


def test_only_drawing_imports_matplotlib_and_never_pyplot() -> None:
    code = """
import sys
import s3_assets.cli.leaderboard
import s3_assets.experiment.plot
assert not {"matplotlib", "scipy"} & set(sys.modules)
from s3_assets_tests.boards import S3, board_of, rows_of
s3_assets.experiment.plot.plot(board_of(S3), rows_of(S3))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    assert "matplotlib" in imported_by(code)
