"""What tests of a round's choice share: a strategy of the test's own, what it goes by told by hand, what was asked for.

Belongs here: helpers without steps (those are in ``chosen_rounds.py``). Does not belong here: tests.
"""

import math
from collections import Counter

import numpy as np
import polars as pl

from s3_assets.selection.choice import Basis
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import write_task

ROWS = {"seed": 24, "per_call": 4, "per_round": 20}

# Declared, and never asked.
OUT_OF_REACH = {"base_url": "http://127.0.0.1:9/v1"}


def tried(folder, base="s3", rows=None, labels=None, teacher=None, backend=None, **options) -> Task:
    """The small task with a strategy of its own."""
    keys = {} if backend is None else {"teacher": backend}
    keys = keys if teacher is None else {"teacher": {"base_url": teacher.url}}
    return write_task(
        folder,
        strategies={"tried": {"base": base, **options}},
        strategy="tried",
        rows={**ROWS, **(rows or {})},
        **({} if labels is None else {"labels": labels}),
        **keys,
    )


def basis(task, wrong=12, **keys):
    """Steering gold, its first rows wrong: the first one most surely so."""
    steer = read_gold(task).filter(pl.col("split") == "steer")
    other = {"positive": "negative", "negative": "positive"}
    own = [0.05 + 0.4 * place / wrong for place in range(wrong)]
    errors = steer.head(wrong).with_columns(
        pl.col("label").replace_strict(other).alias("prediction"),
        pl.Series("label_probability", own),
        pl.Series("probability", [1 - one for one in own]),
        pl.Series("loss", [-math.log(one) for one in own]),
    )
    right = [0.9] * (steer.height - wrong)
    said = steer.select("gold_id").with_columns(
        pl.Series("doubt", [1 - one for one in own + right]), pl.lit(None, pl.Float64).alias("f1")
    )
    shares = dict(steer["label"].value_counts().iter_rows())
    return Basis(steer, errors, **{"said": said, "shares": shares, **keys})


def axes(task, groups):
    """Vectors of steering gold that lie along as many axes, in turn."""
    rows = read_gold(task).filter(pl.col("split") == "steer").height
    return np.eye(groups, dtype=np.float32)[np.arange(rows) % groups]


def asked(choice):
    return {gold_id: rows for gold_id, rows in choice.wanted().items() if rows}


def by_label(known, choice):
    labels = dict(known.steer.select("gold_id", "label").iter_rows())
    found = Counter()
    for gold_id, rows in asked(choice).items():
        found[labels[gold_id]] += rows
    return found
