"""Rows listed for review: which ones, why, and which are left out."""

import shutil

import polars as pl
import pytest

from s3_assets.loop.evidence import LISTED, find_suspects
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.review_file import FILLED, read_review_file
from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import Reviews, read_decisions
from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.store.identity import example_id
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.review_files import OTHER, decide, live, make_two_rounds, problems, rows_of, save
from s3_assets_tests.test_qa_task import declared as qa_task


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory, tiny_student):
    """A warehouse with rounds 0 and 1 of ``small_task``."""
    return make_two_rounds(tmp_path_factory.mktemp("reviewed"), tiny_student)


@pytest.fixture
def warehouse(two_rounds, home, tmp_path):
    """The two rounds, to change."""
    shutil.copytree(two_rounds, tmp_path / "warehouse")
    return Warehouse(tmp_path / "warehouse")


def miss(task, warehouse):
    """Have the students of rounds 0 and 1 miss two gold rows, one of them test gold; gives the id of the other."""
    rows = live(task, warehouse, "predictions")
    chosen = [rows.filter(pl.col("split") == split)["gold_id"][0] for split in ("steer", "test")]
    wrong = pl.col("gold_id").is_in(chosen)
    other = pl.col("label").replace_strict(OTHER)
    for round_ in (0, 1):
        rows = live(task, warehouse, "predictions", round_).with_columns(
            pl.when(wrong).then(other).otherwise("prediction").alias("prediction"),
            pl.when(wrong).then(0.01).otherwise("label_probability").alias("label_probability"),
            correct=pl.col("correct") & ~wrong,
        )
        warehouse.write("predictions", loop_key(task, round_).columns(), rows)
    return chosen[0]


def test_the_file_lists_suspicious_rows_and_no_test_gold(small_task, warehouse, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missed = miss(small_task, warehouse)
    code, said, _ = command("review", "small")
    assert code == 0
    assert "small: rows worth a look" in said
    assert "s3-assets review small --apply review_small.csv" in said
    content = (tmp_path / "review_small.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    frame = pl.read_csv(tmp_path / "review_small.csv", infer_schema=False)
    assert frame.columns == [*LISTED, *FILLED]
    assert frame.select(FILLED).null_count().row(0) == (frame.height,) * 3
    assert "test" not in set(frame["split"])
    suspicion = frame["suspicion"].cast(pl.Float64)
    assert suspicion.to_list() == sorted(suspicion, reverse=True)
    assert 0 < suspicion.min() <= suspicion.max() <= 1
    (row,) = frame.filter(pl.col("row_id") == missed).to_dicts()
    assert "missed in all 2 rounds so far, mean probability of the label 0.01" in row["why"]
    assert (row["split"], row["first_round"], row["suggested_label"]) == ("steer", None, OTHER[row["label"]])
    assert set(frame["kind"]) == {"gold", "synthetic"}
    # What was written can be taken back as it is.
    code, said, _ = command("review", "small", "--apply", "review_small.csv")
    assert code == 0
    assert f"rows without a decision: {frame.height}, they stay as they are" in said


def test_a_file_that_may_hold_decisions_is_not_overwritten(small_task, warehouse, command, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("mine")
    code, _, err = command("review", "small", "--to", str(file))
    assert code == 2
    assert "is there already and may hold decisions" in err
    assert file.read_text() == "mine"
    code, said, _ = command("review", "small", "--to", str(file), "--force", "--most", "1")
    assert code == 0
    assert len(list(read_review_file(file))) == 1
    assert "--most writes more" in said
    code, _, err = command("review", "small", "--to", str(tmp_path / "absent" / "file.csv"))
    assert code == 2
    assert "cannot be written" in err


def test_rows_decided_about_are_not_listed_again(small_task, warehouse, tmp_path):
    gold = miss(small_task, warehouse)
    listed = find_suspects(small_task, warehouse).rows
    assert gold in set(listed["row_id"])
    synthetic = listed.filter(kind="synthetic")["row_id"][:2].to_list()
    known = {row["gold_id"]: row for row in read_gold(small_task).to_dicts()}
    rows = {row["example_id"]: row for row in live(small_task, warehouse, "seed_set", 1).to_dicts()}
    wrong = rows[synthetic[1]]
    file = save(
        tmp_path / "f.csv",
        decide(known[gold], "keep"),
        decide(rows[synthetic[0]], "keep"),
        decide(wrong, "relabel", OTHER[wrong["label"]]),
    )
    take_reviews(small_task, warehouse, file, "Ana")
    again = set(find_suspects(small_task, warehouse).rows["row_id"])
    assert not {gold, *synthetic} & again
    make_extrapolated_set(small_task, warehouse, 1)
    make_seed_set(small_task, warehouse, 2)
    after = find_suspects(small_task, warehouse)
    assert after.round == 2
    assert example_id(wrong["text"], None, OTHER[wrong["label"]]) not in set(after.rows["row_id"])


def test_a_round_can_be_named_and_must_be_live(small_task, warehouse):
    found = find_suspects(small_task, warehouse, 0).rows.filter(kind="synthetic")
    assert set(found["row_id"]) <= set(live(small_task, warehouse, "seed_set", 0)["example_id"])
    with pytest.raises(NotReady, match=r"seed_set of round 2 of task small is missing.*--rounds 0-2"):
        find_suspects(small_task, warehouse, 2)


def test_without_a_round_gold_is_listed(small_task, command, home, tmp_path):
    file = tmp_path / "f.csv"
    code, said, _ = command("review", "small", "--to", str(file))
    assert code == 0
    assert "no round is made yet, only gold is listed; `s3-assets run small --rounds 0`" in said
    if file.exists():
        assert set(pl.read_csv(file)["kind"]) == {"gold"}


def test_stale_rounds_are_said_and_not_listed(small_task, warehouse, tmp_path):
    gold = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "steer"))[0]
    take_reviews(small_task, warehouse, save(tmp_path / "f.csv", decide(gold, "exclude")), "Ana")
    found = find_suspects(small_task, warehouse)
    assert found.round is None
    assert "seed_set of round 1 is stale" in found.notes[0]
    assert set(found.rows["kind"]) <= {"gold"}


def test_second_opinions_confidence_and_shortcuts_are_reasons(small_task, warehouse):
    first, *_ = rows = rows_of(live(small_task, warehouse, "seed_set", 1), "positive")
    select = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "select"), "positive")[0]
    key = loop_key(small_task, 0).columns()

    def verdict(kind, row_id):
        empty = dict.fromkeys(table("verdicts").schema)
        asked = {"label": "positive", "votes": ["negative", "negative"], "outcome": "kept"}
        return {**empty, **key, "asset": "seed_set", "kind": kind, "row_id": row_id, **asked}

    verdicts = [verdict("synthetic", first["example_id"]), verdict("gold", select["gold_id"])]
    warehouse.write("verdicts", {**key, "asset": "seed_set"}, pl.DataFrame(verdicts, schema=table("verdicts").schema))
    start = first["text"][0]
    rule = {**loop_key(small_task, 1).columns(), "field": "text", "rule": "first_character", "value": start}
    numbers = {name: 0.5 for name in table("shortcuts").schema if name not in rule}
    numbers |= {"label": "positive", "rows": 12, "tells": 0.8, "gold_tells": 0.0}
    shortcuts = pl.DataFrame([{**rule, **numbers}], schema=table("shortcuts").schema)
    warehouse.write("shortcuts", loop_key(small_task, 1).columns(), shortcuts)
    listed = {row["row_id"]: row for row in find_suspects(small_task, warehouse).rows.to_dicts()}
    assert "the teacher, asked blind, says negative (2 of 2 times)" in listed[first["example_id"]]["why"]
    assert f'a shortcut holds for it: text begins with "{start}": 50% of positive' in listed[first["example_id"]]["why"]
    assert listed[first["example_id"]]["suggested_label"] == "negative"
    assert "the teacher, asked blind" in listed[select["gold_id"]]["why"]
    held = {row["example_id"] for row in rows if row["text"].startswith(start)}
    assert held == {row_id for row_id, row in listed.items() if "goes by a shortcut" in row["reasons"]}


def test_votes_follow_rows_that_got_another_id_since(small_task, warehouse):
    """Verdicts have the id of the row as written; a row without its quote mark or with a new label has another one."""
    stripped, relabelled, agreed, old = live(small_task, warehouse, "seed_set", 1).head(4).to_dicts()
    key = {**loop_key(small_task, 0).columns(), "asset": "seed_set"}

    def verdict(row, was, votes, **known):
        empty = dict.fromkeys(table("verdicts").schema)
        place = {"request_id": row["request_id"], "item": row["item"]}
        said = {"kind": "synthetic", "row_id": was, "label": row["label"], "votes": votes}
        return {**empty, **key, **said, **place, **known}

    rows = [
        verdict(stripped, "x_quoted", [OTHER[stripped["label"]]] * 2),
        # Under the label it has now nobody doubts the second.
        verdict(agreed, "x_other", [agreed["label"]] * 2, label=OTHER[agreed["label"]]),
        # Relabelled to what one vote of two speaks against.
        verdict(relabelled, "x_before", [relabelled["label"], OTHER[relabelled["label"]]]),
        # The place counts, not an id that another row has by now.
        verdict(old, agreed["example_id"], [OTHER[agreed["label"]]], item=99),
    ]
    warehouse.write("verdicts", key, pl.DataFrame(rows, schema=table("verdicts").schema))
    # A part from before verdicts told the place: rows are known by their id.
    later = {**key, "asset": "extrapolated_set"}
    before = pl.DataFrame([verdict(old, old["example_id"], [OTHER[old["label"]]])], schema=table("verdicts").schema)
    part = warehouse.write("verdicts", later, before.with_columns(asset=pl.lit(later["asset"])))
    part.read().drop("request_id", "item").write_parquet(part.path)
    said = "the teacher, asked blind, says"
    listed = {row["row_id"]: row["why"] for row in find_suspects(small_task, warehouse).rows.to_dicts()}
    assert f"{said} {OTHER[stripped['label']]} (2 of 2 times)" in listed[stripped["example_id"]]
    assert f"{said} {OTHER[relabelled['label']]} (1 of 2 times)" in listed[relabelled["example_id"]]
    assert f"{said} {OTHER[old['label']]} (1 of 1 times)" in listed[old["example_id"]]
    assert said not in listed.get(agreed["example_id"], "")


def test_near_duplicates_of_gold_are_listed_and_test_rows_only_as_texts(home, tmp_path, tiny_student):
    words = "one two three four five six seven eight nine ten"
    texts = [(f"{words} film{number}", ("positive", "negative")[number % 2]) for number in range(40)]
    plain = [(f"{'abcdefghijk'[number % 11] * 3} number {number}", "positive") for number in range(40)]
    gold = "review,verdict\n" + "".join(f"{text},{label}\n" for text, label in texts + plain)
    task = write_task(tmp_path / "tasks", gold, student={"weights": str(tiny_student)})
    rows = read_gold(task)
    found = find_suspects(task, Warehouse(tmp_path / "warehouse")).rows
    near = found.filter(pl.col("reasons").list.contains("near duplicate with another label"))
    known = rows.filter(pl.col("split") != "test", pl.col("text").str.starts_with(words))
    assert set(near["row_id"]) == set(known["gold_id"])
    assert "nearly the same as" in near["why"][0]
    assert not set(found["row_id"]) & set(rows.filter(pl.col("split") == "test")["gold_id"])
    # How test rows are labelled makes no difference to what is found.
    swapped = write_task(
        tmp_path / "swapped",
        "review,verdict\n"
        + "".join(
            f"{row['text']},{OTHER[row['label']] if row['split'] == 'test' else row['label']}\n"
            for row in rows.to_dicts()
        ),
        student={"weights": str(tiny_student)},
    )
    assert find_suspects(swapped, Warehouse(tmp_path / "warehouse")).rows.equals(found)


def test_questions_are_listed_with_their_answers_and_cannot_be_relabelled(home, tmp_path, tiny_student):
    with scripted_teacher(obliging) as teacher:
        task, warehouse = qa_task(tmp_path, teacher.url, tiny_student), Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        made = make_seed_set(task, warehouse, 0)
    found = find_suspects(task, warehouse)
    assert found.round == 0
    assert set(found.rows.filter(kind="synthetic")["label"]) <= set(made.rows["answer"])
    row = made.rows.row(0, named=True)
    shown = {**row, "label": row["answer"]}
    said = problems(task, warehouse, save(tmp_path / "f.csv", decide(shown, "relabel", "answer")))
    assert "rows of kind qa have answers and no labels; exclude the row" in said
    said = problems(task, warehouse, save(tmp_path / "f.csv", decide({**shown, "text2": "Why?"}, "exclude")))
    assert "text2 is not that of row" in said
    # A spreadsheet makes another number or date of an answer.
    take_reviews(task, warehouse, save(tmp_path / "f.csv", decide({**shown, "label": "05-May"}, "exclude")), "Ana")
    seed_set = Reviews(read_decisions(task, warehouse)).apply_to_seed_set(made.rows, 1)[0]
    assert seed_set.height == made.rows.height - 1
