"""What decisions about rows make of gold and of seed sets, as plain functions."""

import dataclasses

import polars as pl

from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import Decision, Reviews, contradicting
from s3_assets.loop.steps import make_gold
from s3_assets.store.identity import example_id
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import write_task
from s3_assets_tests.review_files import decide, problems, rows_of, save


def decision(kind, row_id, what, new_label=None, from_round=None, label="a"):
    return Decision(kind, row_id, what, label, new_label, from_round, None)


def seed_rows(*labels, text="one text"):
    rows = [
        {"text": text, "label": label, "example_id": example_id(text, None, label), "sublabel": "s", "confidence": 0.5}
        for label in labels
    ]
    return pl.DataFrame(rows, schema=table("seed_set").schema)


def test_two_relabellings_that_undo_each_other_end_with_the_later():
    a, b, c = (example_id("one text", None, label) for label in "abc")
    there = decision("synthetic", a, "relabel", "b", 1)
    back = decision("synthetic", b, "relabel", "a", 2, label="b")
    on = decision("synthetic", b, "relabel", "c", 2, label="b")
    for start in "ab":
        assert Reviews([there, back]).apply_to_seed_set(seed_rows(start), 2)[0]["label"].to_list() == ["a"]
        assert Reviews([there, on]).apply_to_seed_set(seed_rows(start), 2)[0]["label"].to_list() == ["c"]
        rows, _ = Reviews([there, back, there]).apply_to_seed_set(seed_rows(start), 2)
        assert rows["example_id"].to_list() == [b]
    rows, numbers = Reviews([there, on]).apply_to_seed_set(seed_rows("a"), 2)
    assert rows.row(0, named=True)["example_id"] == c
    assert (rows["sublabel"][0], rows["confidence"][0]) == (None, None)
    assert numbers == {"excluded_by_review": 0, "relabelled_by_review": 1}


def test_an_exclusion_lapses_when_another_row_is_relabelled_to_it_later():
    a, b = (example_id("one text", None, label) for label in "ab")
    out = decision("synthetic", b, "exclude", None, 1, label="b")
    to_it = decision("synthetic", a, "relabel", "b", 1)
    assert Reviews([out, to_it]).apply_to_seed_set(seed_rows("a"), 1)[0]["label"].to_list() == ["b"]
    assert Reviews([out, to_it]).apply_to_seed_set(seed_rows("b"), 1)[0]["label"].to_list() == ["b"]
    assert Reviews([to_it, out]).apply_to_seed_set(seed_rows("a"), 1)[0].is_empty()


def test_rounds_go_by_the_decisions_of_their_time():
    a = example_id("one text", None, "a")
    reviews = Reviews([decision("synthetic", a, "exclude", None, 2), decision("synthetic", a, "keep", None, 4)])
    assert [reviews.apply_to_seed_set(seed_rows("a"), round_)[0].height for round_ in range(5)] == [1, 1, 0, 0, 1]
    prints = [reviews.fingerprint("seed_set", round_) for round_ in range(5)]
    assert prints[0] is None
    assert prints[2] == prints[3] is not None
    assert prints[4] is None
    assert reviews.fingerprint("trained_model", 2) is None


def gold_rows(tmp_path, extra=""):
    texts = "".join(f"film number {n},{('positive', 'negative')[n % 2]}\n" for n in range(80))
    return read_gold(write_task(tmp_path, f"review,verdict\n{texts}{extra}"))


def test_gold_decisions_who_and_why_make_no_difference(tmp_path):
    one = decision("gold", "g_1", "exclude")
    other = dataclasses.replace(one, why="because")
    assert Reviews([one]).fingerprint("gold", 0) == Reviews([other]).fingerprint("gold", 0)
    assert Reviews([one]).fingerprint("gold", 0) is not None
    assert Reviews([decision("gold", "g_1", "keep")]).fingerprint("gold", 0) is None


def test_a_relabelling_lapses_when_the_gold_file_gives_another_label(tmp_path):
    gold = gold_rows(tmp_path)
    row = gold.filter(pl.col("split") == "steer", pl.col("label") == "positive").row(0, named=True)
    reviews = Reviews([decision("gold", row["gold_id"], "relabel", "negative", label="positive")])
    now = lambda frame: frame.filter(pl.col("gold_id") == row["gold_id"])["label"].item()  # noqa: E731
    assert now(reviews.apply_to_gold(gold)[0]) == "negative"
    corrected = gold.with_columns(
        pl.when(pl.col("gold_id") == row["gold_id"]).then(pl.lit("odd")).otherwise("label").alias("label")
    )
    assert now(reviews.apply_to_gold(corrected)[0]) == "odd"


def test_decisions_never_touch_test_gold(tmp_path):
    gold = gold_rows(tmp_path)
    ids = gold.filter(pl.col("split") == "test")["gold_id"]
    edited, numbers = Reviews([decision("gold", one, "exclude") for one in ids]).apply_to_gold(gold)
    assert edited.equals(gold)
    assert numbers == {"excluded_by_review": 0, "relabelled_by_review": 0}


def test_decisions_may_not_empty_a_split_or_contradict_each_other(tmp_path, home):
    warehouse = Warehouse(tmp_path / "warehouse")
    gold = gold_rows(tmp_path / "tasks", "Film  Number 0,positive\n")
    task = write_task(tmp_path / "tasks", (tmp_path / "tasks" / "small" / "gold.csv").read_text())
    select = rows_of(gold.filter(pl.col("split") == "select"))
    said = problems(task, warehouse, save(tmp_path / "f.csv", *(decide(row, "exclude") for row in select)))
    assert "reviews leave no gold row for select" in said
    twins = [row for row in gold.to_dicts() if row["text"].casefold().split() == ["film", "number", "0"]]
    assert len(twins) == 2
    if twins[0]["split"] != "test":
        said = problems(task, warehouse, save(tmp_path / "f.csv", decide(twins[0], "relabel", "negative")))
        assert "two labels, but their texts are the same; relabel both" in said
        both = save(tmp_path / "f.csv", *(decide(row, "relabel", "negative") for row in twins))
        take_reviews(task, warehouse, both, "Ana")


def test_contradictions_are_found_whatever_case_and_space():
    rows = pl.DataFrame(
        {"gold_id": ["g_0", "g_1", "g_2"], "text": ["A film", "a  FILM", "a film"], "label": ["a", "a", "b"]}
    ).with_columns(text2=pl.lit(None, pl.String))
    assert contradicting(rows) == [("g_0", "g_2")]


def test_gold_relabelled_can_be_kept_or_brought_back(tmp_path, home):
    warehouse = Warehouse(tmp_path / "warehouse")
    task = write_task(tmp_path / "tasks")
    row = rows_of(read_gold(task).filter(pl.col("split") == "steer"), "positive")[0]
    take = lambda line: take_reviews(task, warehouse, save(tmp_path / "f.csv", line), "Ana")  # noqa: E731

    def label():
        return make_gold(task, warehouse).rows.filter(pl.col("gold_id") == row["gold_id"])["label"].item()

    take(decide(row, "relabel", "negative"))
    assert label() == "negative"
    assert take(decide({**row, "label": "negative"}, "keep")).repeated == 1
    assert label() == "negative"
    assert take(decide({**row, "label": "negative"}, "relabel", "positive")).decisions == {("gold", "keep"): 1}
    assert label() == "positive"
    take(decide(row, "exclude"))
    assert row["gold_id"] not in set(make_gold(task, warehouse).rows["gold_id"])
    take(decide(row, "keep"))
    assert label() == "positive"
