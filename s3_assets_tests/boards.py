"""Arms told by hand and the leaderboards made of them, for tests of leaderboards and reports.

Belongs here: rows, boards, how to look at them. Does not belong here: tests.
"""

import struct
from typing import Any

import polars as pl

from s3_assets.experiment.leaderboard import leaderboard
from s3_assets_tests.test_parts import frame_of


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


def board_of(*arms: list[dict[str, Any]]) -> pl.DataFrame:
    return leaderboard("small", rows_of(*arms))


def rows_of(*arms: list[dict[str, Any]]) -> pl.DataFrame:
    return frame_of("experiment", [row for rows in arms for row in rows])


def line(board: pl.DataFrame, name: str) -> dict[str, Any]:
    return board.row(by_predicate=pl.col("arm") == name, named=True)


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height
