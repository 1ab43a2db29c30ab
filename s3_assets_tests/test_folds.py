"""Folds of steering gold: how it is divided, what a fold is without, and folds that leave nothing to train on."""

from dataclasses import replace

import polars as pl
import pytest

from s3_assets.loop.cross_fitting import folds, held_out
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.training import train_round
from s3_assets.store.parts import Warehouse
from s3_assets.student.errors import StudentError
from s3_assets_tests.cross_fitted import FOLDS
from s3_assets_tests.fakes import write_task
from s3_assets_tests.trained_rounds import filled


def gold_of(**counts: int) -> pl.DataFrame:
    rows = [(f"g_{label}_{n}", label) for label, count in counts.items() for n in range(count)]
    return pl.DataFrame(rows, schema={"gold_id": pl.String, "label": pl.String}, orient="row")


def dealt(steer: pl.DataFrame, count: int, seed: int = 0) -> dict[str, int]:
    return {gold_id: fold.number for fold in folds(steer, count, seed) for gold_id in fold.gold["gold_id"]}


def test_folds_share_out_every_row_once_and_every_label_alike():
    steer = gold_of(a=10, b=7, c=2)
    found = folds(steer, 3, 0)
    assert [fold.number for fold in found] == [1, 2, 3]
    assert sorted(gold_id for fold in found for gold_id in fold.gold["gold_id"]) == sorted(steer["gold_id"])
    for label, rows in (("a", 10), ("b", 7), ("c", 2)):
        counts = [fold.gold.filter(label=label).height for fold in found]
        assert max(counts) - min(counts) == (1 if rows % 3 else 0), label


def test_odd_rows_of_many_labels_do_not_all_fall_to_the_first_fold():
    sizes = [fold.gold.height for fold in folds(gold_of(**{f"label{n}": 5 for n in range(40)}), 2, 0)]
    # 100 each but for chance: 120 and 80 if every label began at the first fold.
    assert abs(sizes[0] - sizes[1]) < 30


def test_a_row_keeps_its_fold_whatever_the_order_and_the_rows_of_other_labels():
    before = dealt(gold_of(a=9, b=8), 3)
    after = dealt(gold_of(b=2, c=30, a=9).sample(fraction=1, shuffle=True, seed=1), 3)
    assert {row: after[row] for row in before if "_a_" in row} == {row: before[row] for row in before if "_a_" in row}
    assert dealt(gold_of(a=9, b=8), 3, seed=1) != before


def pairs_of(*texts: tuple[str, str]) -> pl.DataFrame:
    """Gold of these first texts and labels."""
    rows = pl.DataFrame(texts, schema={"text": pl.String, "label": pl.String}, orient="row")
    return rows.with_columns(gold_id=pl.format("g{}", pl.int_range(pl.len())))


def test_rows_of_a_first_text_are_in_one_fold_and_labels_are_shared_out_all_the_same():
    steer = pairs_of(*[(f"text {n // 3}", "abc"[n % 3]) for n in range(60)], *[(f"other {n}", "a") for n in range(9)])
    found = folds(steer, 3, 0, by_text=True)
    assert sorted(gold_id for fold in found for gold_id in fold.gold["gold_id"]) == sorted(steer["gold_id"])
    texts = [set(fold.gold["text"]) for fold in found]
    assert sum(len(own) for own in texts) == len(set.union(*texts)) == 29
    assert [sum(text.startswith("other") for text in own) for own in texts] == [3, 3, 3]
    for label in "abc":
        counts = [fold.gold.filter(label=label).height for fold in found]
        assert max(counts) - min(counts) <= 1, label
    # Dealt out one by one some text would be in two folds.
    single = [set(fold.gold["text"]) for fold in folds(steer, 3, 0)]
    assert sum(len(own) for own in single) > 29
    again = folds(steer.sample(fraction=1, shuffle=True, seed=1), 3, 0, by_text=True)
    assert [set(fold.gold["text"]) for fold in again] == texts


def test_a_fold_is_without_rows_written_for_its_first_texts():
    fold, other = folds(pairs_of(("one", "a"), ("two", "a")), 2, 0, by_text=True)
    own, its = fold.gold["text"][0], fold.gold["gold_id"][0]
    theirs, id_of_other = other.gold["text"][0], other.gold["gold_id"][0]
    told = [(own, its), (own, None), ("three", its), (theirs, id_of_other), (theirs, None), ("four", None)]
    rows = pl.DataFrame(told, schema={"text": pl.String, "gold_id": pl.String}, orient="row")
    assert fold.without(rows).rows() == told[3:]
    assert fold.written_from(rows).to_list() == [True, False, True, False, False, False]
    # Where texts are the teacher's own, what is written from the row alone.
    assert replace(fold, by_text=False).without(rows).rows() == [told[1], *told[3:]]


def test_no_folds_where_none_are_wanted_and_none_without_rows():
    assert folds(gold_of(a=5), 0, 0) == []
    assert folds(gold_of(), 3, 0) == []
    assert len(folds(gold_of(a=2), 5, 0)) == 2


def test_selecting_gold_is_held_out_or_else_what_folds_judged():
    rows = [("steer", 1), ("steer", None), ("select", None), ("test", None)]
    said = pl.DataFrame(rows, schema={"split": pl.String, "fold": pl.Int64}, orient="row")
    assert held_out(said).rows() == [("select", None)]
    assert held_out(said.filter(pl.col("split") != "select")).rows() == [("steer", 1)]
    assert held_out(said.filter(split="test")).is_empty()
    assert held_out(said.drop("fold")).rows() == [("select",)]


def test_a_fold_that_leaves_nothing_to_train_on_is_named(tmp_path, tiny_student):
    own = {"base": "s3", "cross_fit": FOLDS}
    one = "".join(f"one,so {n} it goes,{('yes', 'no')[n % 2]}\n" for n in range(30))
    fields, labels = {"text": "first", "text2": "second", "label": "verdict"}, {"yes": "It does.", "no": "It does not."}
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    strategies = {"own": own}
    task = write_task(
        tmp_path,
        f"first,second,verdict\n{one}",
        kind="pair",
        fields=fields,
        labels=labels,
        student=student,
        strategy="own",
        strategies=strategies,
    )
    gold = filled(
        "gold", pairs_of(("one", "yes"), ("one", "no")).with_columns(text2=pl.lit("so"), split=pl.lit("steer"))
    )
    rows = filled("seed_set", pl.DataFrame({"text": ["one"] * 4, "text2": list("abcd"), "label": ["yes", "no"] * 2}))
    with pytest.raises(StudentError, match=r"the student of fold [12], .*no rows.*cross_fit"):
        train_round(task, Warehouse(tmp_path / "warehouse"), loop_key(task, 0), rows, gold)
