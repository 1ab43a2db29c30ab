"""Errors that a round passes over: those never learned, those whose label is doubted; and never all of them."""

import numpy as np
import polars as pl
import pytest

from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET, SEED_SET, loop_key
from s3_assets.loop.sources import read_basis
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.selection.skipped import mislabelled, never_learned, unless_all
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.choices import asked, basis, tried
from s3_assets_tests.chosen_rounds import table_of
from s3_assets_tests.fakes import write_task


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


def test_skipped_errors_get_no_rows_and_are_listed_with_their_reason(tmp_path):
    for options in ({}, {"by": "doubt"}, {"explore": 0.5}, {"one_each": True}):
        task = tried(tmp_path, skips=["never_learned"], **options)
        known = basis(task)
        first = known.errors["gold_id"][0]
        choice = choose(task, Basis(known.steer, known.errors, said=known.said, skipped={first: "hopeless"}), 0)
        assert first not in asked(choice)
        assert [(one.gold_id, one.reason) for one in choice.sources if one.why == "skipped"] == [(first, "hopeless")]
        assert choice.numbers()["sources_skipped"] == 1
        assert sum(asked(choice).values()) == (11 if "one_each" in options else 20)


def test_errors_are_hopeless_after_two_rounds_in_vain():
    before = [({"a", "b", "c"}, {"a", "b"}), ({"a", "c"}, {"a", "b", "c"})]
    assert list(never_learned(["a", "b", "c", "d"], before)) == ["a"]
    assert never_learned(["a"], before[:1]) == {}


def test_what_was_hopeless_stays_so_until_it_is_learned():
    in_vain, passed_over, learned = ({"a"}, {"a"}), ({"a"}, set()), (set(), set())
    assert list(never_learned(["a"], [in_vain, in_vain, passed_over])) == ["a"]
    assert list(never_learned(["a"], [in_vain, in_vain, passed_over, passed_over])) == ["a"]
    # Rounds in vain need not follow each other.
    assert list(never_learned(["a"], [in_vain, passed_over, in_vain])) == ["a"]
    assert never_learned(["a"], [in_vain, passed_over, passed_over]) == {}
    # Once it is right, it may be tried again.
    assert never_learned(["a"], [in_vain, in_vain, learned]) == {}
    assert never_learned(["a"], [in_vain, learned, in_vain]) == {}
    assert "rows of 3 rounds" in never_learned(["a"], [in_vain] * 3)["a"]


def test_not_all_errors_are_skipped(caplog):
    assert unless_all({"a": "why"}, ["a", "b"]) == {"a": "why"}
    assert unless_all({"a": "why", "b": "why"}, ["a", "b"]) == {}
    assert "skips would pass over all 2 errors" in caplog.text
    assert unless_all({}, []) == {}


# -- from live parts ---------------------------------------------------------------------------------------------------


def test_never_learned_are_errors_of_three_rounds_that_two_wrote_from(tmp_path, warehouse):
    task = tried(tmp_path, skips=["never_learned"])
    gold = read_gold(task)
    a, b, c = gold.filter(pl.col("split") == "steer")["gold_id"].head(3)

    def put(name, round_, ids):
        frame = pl.DataFrame({"gold_id": ids}, schema={"gold_id": pl.String})
        absent = [
            pl.lit(None, dtype).alias(column) for column, dtype in table(name).schema.items() if column != "gold_id"
        ]
        warehouse.write(name, loop_key(task, round_).columns(), frame.with_columns(absent))

    for round_, wrong, extrapolated in ((0, [a, b, c], [a, b]), (1, [a, b, c], [a, c])):
        put(ERROR_SET, round_, wrong)
        put(EXTRAPOLATED_SET, round_, extrapolated)
    errors = gold.filter(pl.col("gold_id").is_in([a, b, c]))
    for round_ in (1, 2):
        known = read_basis(task, warehouse, loop_key(task, round_), gold, errors, None)
        assert set(known.skipped) == (set() if round_ == 1 else {a})
    wanted = choose(task, known, 2).wanted()
    assert a not in wanted
    assert wanted[b] == wanted[c] == 10
    # With that error alone, none is skipped.
    assert (
        read_basis(task, warehouse, loop_key(task, 2), gold, errors.filter(pl.col("gold_id") == a), None).skipped == {}
    )
    free = tried(tmp_path)
    assert read_basis(free, warehouse, loop_key(free, 2), gold, errors, None).skipped == {}
    # What was passed over in a round stays so in the next.
    put(ERROR_SET, 2, [a, b, c])
    put(EXTRAPOLATED_SET, 2, [c])
    assert set(read_basis(task, warehouse, loop_key(task, 3), gold, errors, None).skipped) == {a, c}


def test_mislabelled_errors_are_those_that_students_on_other_rows_doubt(tmp_path, warehouse, monkeypatch):
    """Texts of one word, of which the vector tells the label; two gold rows are labelled against it."""

    def embed(texts, *_):
        return np.array([[1.0, 0.0] if "good" in text else [0.0, 1.0] for text in texts], np.float32)

    monkeypatch.setattr("s3_assets.quality.ensemble.embed", embed)
    rows = [(f"{('good', 'bad')[place % 2]} {place}", ("positive", "negative")[place % 2]) for place in range(160)]
    csv = "review,verdict\n" + "".join(f"{text},{label}\n" for text, label in rows)
    csv += "good but not,negative\nbad but not,positive\n"
    task = write_task(
        tmp_path,
        csv,
        strategies={"tried": {"base": "s3", "skips": ["mislabelled"]}},
        strategy="tried",
        gold={"file": "gold.csv", "split": {"steer": 0.5, "select": 0.25, "test": 0.25}},
    )
    gold = read_gold(task)
    # Wherever they fall: both steer. No other labels are looked at.
    planted = pl.col("text").str.contains("but not")
    gold = gold.with_columns(
        pl.when(planted).then(pl.lit("steer")).otherwise("split").alias("split"),
    ).with_columns(pl.when(pl.col("split") == "steer").then("label").otherwise(pl.lit("?")).alias("label"))
    errors = pl.concat([gold.filter(planted), gold.filter(~planted & (pl.col("split") == "steer")).head(3)])
    seed = pl.DataFrame(
        {
            "text": ["good one", "bad one"],
            "text2": [None, None],
            "label": ["positive", "negative"],
            "gold_id": [None] * 2,
        },
        schema_overrides={"text2": pl.String, "gold_id": pl.String},
    )
    known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, seed)
    assert set(known.skipped) == set(gold.filter(planted)["gold_id"])
    assert all(reason.startswith("mislabelled: others give ") for reason in known.skipped.values())
    # What is only looked ahead at asks no students.
    assert read_basis(task, warehouse, loop_key(task, 0), gold, errors, seed, ahead=True).skipped == {}


def test_a_label_is_doubted_by_how_much_likelier_another_is(tmp_path, monkeypatch):
    from s3_assets.quality.ensemble import Opinion

    task = tried(tmp_path, skips=["mislabelled"])
    steer = read_gold(task).filter(pl.col("split") == "steer").head(5)
    said = [Opinion(own, "other", top) for own, top in ((0.15, 0.8), (0.15, 0.3), (0.19, 0.8), (0.5, 0.5))]
    monkeypatch.setattr("s3_assets.generation.held_out.opinions_held_out", lambda *_: [*said, None])
    ids = steer["gold_id"].to_list()
    # Of many labels even the likeliest has little: 0.15 of 0.3 is no doubt.
    assert set(mislabelled(task, ids, steer, table_of(SEED_SET))) == {ids[0]}
    assert mislabelled(task, ids[1:], steer, table_of(SEED_SET)) == {}


def test_questions_have_no_labels_to_doubt(tmp_path, caplog):
    from s3_assets_tests.test_templates import task_of

    caplog.set_level("INFO", logger="s3_assets")
    assert mislabelled(task_of(tmp_path, "qa"), ["a"], table_of("gold"), table_of(SEED_SET)) == {}
    assert "questions have no labels" in caplog.text
