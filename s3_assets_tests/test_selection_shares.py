"""How rows are divided among sources: by weight, in turn, under a cap, and in gold's shares of labels."""

import math

import polars as pl
import pytest

from s3_assets.generation.seed import seed_wanted
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.selection.allocation import divided, in_proportion, in_turn, over_groups
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.choices import ROWS, asked, axes, basis, by_label, tried
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_rows_are_divided_by_largest_remainders():
    assert divided(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert divided(7, {"a": 3, "b": 1}) == {"a": 5, "b": 2}
    assert divided(2, {"a": 0.1, "b": 0.5, "c": 0.4}) == {"a": 0, "b": 1, "c": 1}
    assert divided(3, {"a": 0, "b": 0}) == {"a": 2, "b": 1}
    assert divided(3, {}) == {}


def test_those_without_room_are_passed_over():
    room = {"a": 1, "b": math.inf, "c": 2}
    assert in_turn(7, ["a", "b", "c"], room) == {"a": 1, "b": 4, "c": 2}
    assert (room["a"], room["c"]) == (0, 0)
    assert in_turn(5, ["a", "c"], room) == {}


def test_groups_get_rows_alike_and_members_take_turns():
    room = dict.fromkeys("abcde", math.inf)
    assert over_groups(7, [["a", "b", "c"], ["d"]], room) == {"a": 2, "b": 1, "c": 1, "d": 3}
    assert over_groups(4, [["a"], ["b", "c"]], {"a": 1, "b": 1, "c": 1}) == {"a": 1, "b": 1, "c": 1}


def test_shares_go_by_weight_and_what_is_cut_goes_to_the_heaviest_with_room():
    room = dict.fromkeys("abc", math.inf)
    assert in_proportion(10, {"a": 6.0, "b": 4.0, "c": 0.0}, room) == {"a": 6, "b": 4}
    assert in_proportion(10, {"a": 6.0, "b": 3.0, "c": 1.0}, dict.fromkeys("abc", 4)) == {"a": 4, "b": 4, "c": 2}
    assert in_proportion(10, {"a": 6.0, "b": 3.0}, dict.fromkeys("ab", 2)) == {"a": 2, "b": 2}
    assert in_proportion(3, {"a": 0.0, "b": 0.0}, room) == {"a": 2, "b": 1}


def test_what_a_cap_cuts_goes_to_others(tmp_path):
    known = basis(tried(tmp_path), 12)
    for options in ({"by": "loss", "keep": 0.5}, {"explore": 0.5}, {"prior": "gold"}):
        task = tried(tmp_path, rows={"per_round": 20, "per_error": 2}, **options)
        wanted = asked(choose(task, known, 0))
        assert max(wanted.values()) == 2, options
        # Six errors have room for 12 rows.
        assert sum(wanted.values()) == (12 if "keep" in options else 20), options
    sure = known.said.with_columns(doubt=pl.when(pl.int_range(pl.len()) < 12).then(0.9).otherwise(0.01))
    doubted = Basis(known.steer, known.errors, said=sure)
    free, capped = (
        asked(choose(tried(tmp_path, by="doubt", rows={"per_round": 40, "per_error": cap}), doubted, 0))
        for cap in (None, 2)
    )
    assert max(free.values()) > max(capped.values()) == 2
    assert sum(capped.values()) == 40


# -- prior -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"explore": 0.5}, {"by": "doubt"}, {"by": "loss"}, {"by": "cluster"}])
def test_prior_gold_keeps_the_shares_of_labels(tmp_path, options):
    task = tried(tmp_path, prior="gold", rows={"per_round": 30}, **options)
    known = basis(task, 20, vectors=axes(task, 3), shares={"positive": 9, "negative": 1})
    assert by_label(known, choose(task, known, 0)) == {"positive": 27, "negative": 3}
    assert by_label(known, choose(tried(tmp_path, rows={"per_round": 30}, **options), known, 0))["negative"] > 3


def test_prior_gold_holds_for_random_gold_too(tmp_path):
    task = tried(tmp_path, base="goldgen", prior="gold", rows={"per_round": 30})
    known = basis(task, 0, shares={"positive": 2, "negative": 1})
    assert by_label(known, choose(task, known, 0)) == {"positive": 20, "negative": 10}


def test_labels_without_errors_get_no_rows(tmp_path):
    task = tried(tmp_path, prior="gold")
    known = basis(task)
    only = Basis(known.steer, known.errors.filter(pl.col("label") == "positive"), shares=known.shares)
    assert by_label(known, choose(task, only, 0)) == {"positive": 20}


def test_keep_counts_within_a_label_where_labels_have_shares(tmp_path):
    task = tried(tmp_path, prior="gold", by="loss", keep=0.1)
    known = basis(task)
    assert set(by_label(known, choose(task, known, 0))) == {"positive", "negative"}


def test_the_seed_set_has_gold_s_shares_of_labels(tmp_path, warehouse):
    csv = "review,verdict\n" + "".join(
        f"text {place},{'positive' if place % 5 else 'negative'}\n" for place in range(100)
    )
    with scripted_teacher(obliging) as teacher:
        keys = {"strategies": {"tried": {"base": "s3", "prior": "gold"}}, "teacher": {"base_url": teacher.url}}
        task = write_task(tmp_path, csv, strategy="tried", rows=ROWS, **keys)
        make_gold(task, warehouse)
        rows = make_seed_set(task, warehouse, 0).rows
    steer = read_gold(task).filter(pl.col("split") == "steer")
    share = steer.filter(pl.col("label") == "positive").height / steer.height
    found = dict(rows["label"].value_counts().iter_rows())
    assert found == {"positive": round(24 * share), "negative": 24 - round(24 * share)}
    assert found["positive"] > 15
    assert found == seed_wanted(task, steer)
    assert seed_wanted(write_task(tmp_path, csv, rows=ROWS), steer) == {"positive": 12, "negative": 12}


def test_each_label_has_a_row_at_least(tmp_path):
    task = tried(tmp_path, prior="gold")
    only = pl.DataFrame({"label": ["positive"] * 50})
    assert seed_wanted(task, only) == {"positive": 23, "negative": 1}
    with pytest.raises(ValueError, match="steering gold"):
        seed_wanted(task)
