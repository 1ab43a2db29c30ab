"""Checks that warn: what passes, what does not, and what cannot be measured."""

import re

import polars as pl
import pytest

from s3_assets.loop.quality_checks import (
    beats_majority,
    few_near_duplicates,
    labels_agreed,
    labels_balanced,
    lengths_like_gold,
    most_rows_accepted,
    no_shortcuts,
    splits_apart,
)
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets_tests.checked_rows import LABELS, TEXT, texts
from s3_assets_tests.fakes import write_task


def rejected(*gates, stage="row"):
    return pl.DataFrame({"stage": [stage] * len(gates), "gate": list(gates)}, schema={"stage": str, "gate": str})


def verdicts(*rows):
    """Rows of kind, label, votes and students' label."""
    schema = table("verdicts").schema
    names = ["kind", "label", "votes", "students_label"]
    return pl.DataFrame(list(rows), schema={name: schema[name] for name in names}, orient="row")


def rules(*excesses):
    """Shortcuts in the order given, each a first word named by its place."""
    rows = [
        {"field": "text", "rule": "first_words", "value": f"w{place}", "label": "positive"}
        | {"share": 0.1 + excess, "share_others": 0.0, "tells": 0.1 + excess}
        | {"gold_share": 0.1, "gold_share_others": 0.0, "gold_tells": 0.1}
        for place, excess in enumerate(excesses)
    ]
    columns = ["field", "rule", "value", "label", "share", "share_others", "tells"]
    schema = table("shortcuts").schema
    return pl.DataFrame(
        rows, schema={name: schema[name] for name in (*columns, "gold_share", "gold_share_others", "gold_tells")}
    )


def predictions(*rows):
    """Rows of split, label and whether the student is right."""
    return pl.DataFrame(list(rows), schema={"split": str, "label": str, "correct": bool}, orient="row")


def test_most_rows_accepted():
    refused = rejected("length", "duplicate", "duplicate")
    good = most_rows_accepted(3, refused)
    assert good.passed
    assert good.numbers == {
        "accepted": 3,
        "rejected": 3,
        "accepted_share": 0.5,
        "rejected_by_duplicate": 2,
        "rejected_by_length": 1,
    }
    bad = most_rows_accepted(2, refused)
    assert not bad.passed
    assert not bad.blocking
    assert bad.detail == "2 of 5 rows passed the gates; refused: 2 by duplicate, 1 by length"


def test_faulty_answers_and_surplus_rows_are_no_refused_rows():
    others = pl.concat([rejected("not_json", "cut_off", stage="response"), rejected("surplus")])
    found = most_rows_accepted(1, others)
    assert found.numbers == {"accepted": 2, "rejected": 0, "accepted_share": 1}
    assert found.detail == "2 of 2 rows passed the gates"


def test_no_row_at_the_gates_is_no_warning():
    found = most_rows_accepted(0, rejected())
    assert found.passed
    assert found.detail == "no row came to the gates in this step"
    assert not most_rows_accepted(0, rejected("empty")).passed


def test_labels_balanced():
    rows = texts(*"abcdef", label=["positive"] * 5 + ["negative"])
    good = labels_balanced(rows, LABELS)
    assert good.passed
    assert good.numbers["smallest_share"] == pytest.approx(1 / 6)
    assert good.numbers["largest_share"] == pytest.approx(5 / 6)
    bad = labels_balanced(pl.concat([rows, rows.head(1)]), LABELS)
    assert not bad.passed
    assert bad.detail == "1 of 2 labels have less than a third of an even share, 4 rows: negative 1"
    assert bad.numbers["labels_below"] == 1


def test_labels_that_are_asked_for_as_in_gold_are_balanced_as_in_gold():
    labels = [*LABELS, "mixed"]
    prior = pl.Series(["positive"] * 17 + ["negative"] * 3)
    rows = texts(*"abcdefghijk", label=["positive"] * 9 + ["negative", "mixed"])
    assert not labels_balanced(rows, labels).passed
    asked = labels_balanced(rows, labels, prior)
    assert asked.passed
    assert asked.detail == "every label has a third of the share that they have in steering gold or more"
    # A label that gold lacks is to have a row, and no label far fewer than there.
    few = labels_balanced(texts(*"abcdefghij", label=["negative"] * 9 + ["positive"]), labels, prior)
    assert not few.passed
    assert few.detail == (
        "2 of 3 labels have less than a third of the share that they have in steering gold: mixed 0 for 1, "
        "positive 1 for 8"
    )


def test_a_seed_set_asked_for_in_gold_s_shares_does_not_warn_of_them(tmp_path):
    csv = "review,verdict\n" + "".join(
        f"text {n} w{n},{('negative' if n % 9 == 0 else 'positive')}\n" for n in range(90)
    )
    for prior, passed in (("gold", True), ("uniform", False)):
        own = {"base": "s3", "prior": prior, "rationales": False}
        rows = [{"text": f"row {n} x{n}", "label": "negative" if n % 9 == 0 else "positive"} for n in range(27)]
        task = write_task(tmp_path / prior, csv, strategy="own", strategies={"own": own}, seed_rows="seed.csv")
        pl.DataFrame(rows).write_csv(task.folder / "seed.csv")
        warehouse = Warehouse(tmp_path / prior / "warehouse")
        make_gold(task, warehouse)
        found = {check.name: check for check in make_seed_set(task, warehouse, 0).checks}
        assert found["labels_balanced"].passed is passed, prior


def test_balance_counts_labels_without_rows_and_not_those_outside_the_task():
    found = labels_balanced(texts("a", "b", label=["positive", "odd"]), LABELS)
    assert not found.passed
    assert found.detail.endswith("negative 0")
    assert labels_balanced(texts(label=pl.Series([], dtype=pl.String)), LABELS).passed
    # Questions have the one label `answer`.
    assert labels_balanced(texts("a", label=["answer"]), ["answer"]).passed


def test_lengths_like_gold():
    steer = texts(*(" ".join(["word"] * length) for length in range(10, 31)))
    good = lengths_like_gold(texts(*["word " * 15] * 9, "word"), steer, TEXT)
    assert good.passed
    assert good.numbers == pytest.approx(
        {"outside_share": 0.1, "expected_outside_share": 2 / 22, "median_ratio_text": 15 / 20}
    )
    outside = lengths_like_gold(texts(*["word " * 15] * 9, *["word"] * 3), steer, TEXT)
    assert not outside.passed
    assert outside.detail.startswith("25% of the rows are shorter or longer than any of steering gold")
    # All inside, and yet half as long.
    short = lengths_like_gold(texts(*["word " * 10] * 9), texts("word " * 10, *["word " * 21] * 9), TEXT)
    assert not short.passed
    assert short.numbers["outside_share"] == 0


def test_lengths_are_compared_in_each_field_that_was_written():
    steer = pl.DataFrame({"text": ["one two three"] * 40, "text2": ["one"] * 40})
    rows = pl.DataFrame({"text": ["one two three"] * 4, "text2": ["one"] * 3 + ["one two"]})
    found = lengths_like_gold(rows, steer, ("text", "text2"))
    assert not found.passed
    assert found.numbers["outside_share"] == 0.25
    assert found.numbers["median_ratio_text2"] == 1
    assert lengths_like_gold(rows, steer, TEXT).passed
    assert lengths_like_gold(rows.head(0), steer, TEXT).passed


def test_few_near_duplicates():
    different = [" ".join(f"word{number}x{place}" for place in range(10)) for number in range(99)]
    good = few_near_duplicates(texts(*different, f"{different[0]} more"), TEXT)
    assert good.passed
    assert good.numbers == {"near_duplicates": 1, "near_duplicates_share": 0.01}
    bad = few_near_duplicates(texts(*different[:9], f"{different[0]} more"), TEXT)
    assert not bad.passed
    assert bad.detail == "1 of 10 rows nearly repeat an earlier one"
    assert few_near_duplicates(texts().with_columns(text=pl.lit(None, pl.String)).head(0), TEXT).passed


def test_labels_agreed():
    good = labels_agreed(
        verdicts(
            ("synthetic", "positive", ["positive", "negative"], "negative"),
            ("synthetic", "positive", [], "positive"),
            ("synthetic", "positive", ["positive"], None),
            ("synthetic", "negative", ["negative"], None),
            ("synthetic", "negative", ["positive", "negative"], "negative"),
            # Nobody was asked about this one, and gold is not the teacher's.
            ("synthetic", "negative", [], None),
            ("gold", "negative", ["positive"], "positive"),
        )
    )
    assert good.passed
    assert good.numbers == {
        "opinions": 5,
        "agreed_share": 0.8,
        "agreed_share_negative": 0.5,
        "agreed_share_positive": 1,
    }
    assert good.detail == "4 of 5 second opinions agree; least for negative, 50%"
    bad = labels_agreed(verdicts(*[("synthetic", "positive", ["positive"], None)] * 3, ("synthetic", "x", ["y"], None)))
    assert not bad.passed


def test_labels_nobody_was_asked_about_are_no_warning():
    for nobody in (verdicts(), verdicts(("gold", "positive", ["negative"], None))):
        found = labels_agreed(nobody)
        assert found.passed
        assert found.detail == "nobody was asked for labels in this step"


def test_no_shortcuts():
    good = no_shortcuts(rules())
    assert good.passed
    assert good.numbers == {"shortcuts": 0}
    bad = no_shortcuts(rules(0.2, 0.5, 0.3, 0.4))
    assert not bad.passed
    assert re.findall("w[0-9]", bad.detail) == ["w1", "w3", "w2"]
    assert bad.detail.endswith("; and 1 more, see table shortcuts")
    assert bad.numbers == pytest.approx({"shortcuts": 4, "strongest_excess": 0.5})
    one = 'text begins with "w0": 30% of positive, 0% of the others (gold 10% and 0%)'
    assert no_shortcuts(rules(0.2)).detail == one


def test_splits_apart():
    long = "a film about a quiet man who walks home through heavy rain and thinks of his mother"
    gold = texts(long, "quite another text", "and one more", split=["steer", "select", "test"])
    good = splits_apart(gold, TEXT)
    assert good.passed
    assert good.detail == "0 of 1 select rows and 0 of 1 test rows nearly repeat a steering row"
    near = texts(f"{long} often", "quite another text again", split=["test", "test"])
    bad = splits_apart(pl.concat([gold, near]), TEXT)
    assert not bad.passed
    assert not bad.blocking
    # Near a selecting row is not near a steering row.
    assert bad.numbers == {"select_near_steer": 0, "test_near_steer": 1}
    assert bad.detail.startswith("0 of 1 select rows and 1 of 3 test rows nearly repeat a steering row; figures")


def test_gold_that_steers_under_the_strategy_is_no_held_out_gold(tmp_path):
    """Rows 0 and 1 are nearly the same, and one of them selects unless all of dev steers."""
    steer = texts("a b c d e f g h i j", "a b c d e f g h i j k", "other", split=["steer", "steer", "test"])
    found = splits_apart(steer, TEXT)
    assert found.passed
    assert found.numbers == {"test_near_steer": 0}
    assert found.detail == "0 of 1 test rows nearly repeat a steering row"
    assert splits_apart(steer.head(2), TEXT).detail == "all gold steers"
    near = "".join(f"a b c d e f g h i j w{n},{LABELS[n % 2]}\n" for n in range(40))
    for steers in ("steer", "dev"):
        own = {"base": "s3", "steers": steers}
        task = write_task(tmp_path / steers, f"review,verdict\n{near}", strategy="own", strategies={"own": own})
        (check,) = make_gold(task, Warehouse(tmp_path / steers / "warehouse")).checks
        # The task brings no test gold.
        assert set(check.numbers) == ({"select_near_steer"} if steers == "steer" else set())
        assert check.passed is (steers == "dev")


def test_pairs_are_near_only_in_both_texts():
    long = "a man walks home through heavy rain and thinks of nothing at all"
    gold = pl.DataFrame({"text": [long, long], "text2": ["he is wet", "it is dry"], "split": ["steer", "test"]})
    assert splits_apart(gold, ("text", "text2")).passed
    assert not splits_apart(gold.with_columns(text2=pl.lit("he is wet")), ("text", "text2")).passed


def test_beats_majority():
    select = [("select", "positive", True)] * 3 + [("select", "negative", False)]
    # Test gold decides nothing here, whatever it says.
    good = beats_majority(predictions(*select, ("select", "negative", True), ("test", "negative", False)), "single")
    assert good.passed
    assert good.numbers == {"accuracy": 0.8, "majority_share": 0.6}
    bad = beats_majority(predictions(*select, *[("test", "negative", True)] * 9), "single")
    assert not bad.passed
    assert bad.detail == "75.0% right on 4 rows of held-out gold; always positive gives 75.0%"


def test_what_cannot_be_measured_of_a_student_is_no_warning():
    for found in (
        beats_majority(predictions(("test", "positive", False)), "single"),
        beats_majority(predictions(), "qa"),
    ):
        assert found.passed
        assert found.detail.startswith("not measured")
        assert not found.numbers
