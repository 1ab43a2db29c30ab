"""Review by a person: what is listed, decisions taken back, what the next round makes of them."""

import csv
import shutil

import polars as pl
import pytest

from s3_assets.experiment.arms import arm_task
from s3_assets.loop.checks import ChecksFailed
from s3_assets.loop.evidence import LISTED, find_suspects
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.review_file import FILLED, MOST_SHOWN, read_review_file, says, write_review_file
from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import Reviews, read_decisions
from s3_assets.loop.state import Board, NotReady
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.identity import example_id
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import TaskError
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.review_files import HEAD, decide, problems, rows_of, save
from s3_assets_tests.test_qa_task import declared as qa_task

OTHER = {"positive": "negative", "negative": "positive"}


def make_round(task, warehouse, round_):
    for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
        make(task, warehouse, round_)


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory, tiny_student):
    """A warehouse with rounds 0 and 1 of ``small_task``."""
    place = tmp_path_factory.mktemp("reviewed")
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    task, warehouse = write_task(place, student=student, rounds=3), Warehouse(place / "warehouse")
    make_gold(task, warehouse)
    make_round(task, warehouse, 0)
    make_extrapolated_set(task, warehouse, 0)
    make_round(task, warehouse, 1)
    return warehouse.root


@pytest.fixture
def warehouse(two_rounds, home, tmp_path):
    """The two rounds, to change."""
    shutil.copytree(two_rounds, tmp_path / "warehouse")
    return Warehouse(tmp_path / "warehouse")


def live(task, warehouse, asset, round_=0):
    keys = {"task": task.name} if asset == "gold" else loop_key(task, round_).columns()
    return warehouse.live(asset, keys).read()


def states(task, warehouse):
    return {(step.asset, step.round): step.state for step in Board(task, warehouse)}


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


# -- through the whole loop ------------------------------------------------------------------------------------------


def test_the_next_round_follows_decisions_and_earlier_rounds_stay_live(small_task, warehouse, command, tmp_path):
    seed_set = live(small_task, warehouse, "seed_set", 1)
    out, wrong, right = rows_of(seed_set, "positive")[:3]
    late = rows_of(seed_set.filter(pl.col("first_round") == 1))[-1]
    file = save(
        tmp_path / "edited.csv",
        decide(out, "exclude", reason="says nothing"),
        decide(wrong, "relabel", "negative"),
        decide(right, "Keep "),
        decide(late, "exclude"),
        decide(rows_of(seed_set, "negative")[0], ""),
    )
    code, said, _ = command("review", "small", "--apply", str(file), "--by", "Ana")
    assert code == 0
    assert "taken over from Ana, synthetic: 2 exclude, 1 relabel, 1 keep" in said
    assert "rows without a decision: 1, they stay as they are" in said
    assert "seed_set of round 2 is the first that follows the synthetic ones; earlier rounds stay as they are" in said
    assert "next: s3-assets run small --rounds 0-2" in said
    assert set(states(small_task, warehouse).values()) == {"live", "missing"}

    make_extrapolated_set(small_task, warehouse, 1)
    made = make_seed_set(small_task, warehouse, 2)
    assert made.numbers["excluded_by_review"] == 2
    assert made.numbers["relabelled_by_review"] == 1
    assert made.numbers["rows"] == made.rows.height
    added = live(small_task, warehouse, "extrapolated_set", 1).height
    assert made.rows.height == seed_set.height + added - 2
    assert not {out["example_id"], late["example_id"], wrong["example_id"]} & set(made.rows["example_id"])
    new_id = example_id(wrong["text"], None, "negative")
    (now,) = made.rows.filter(pl.col("example_id") == new_id).to_dicts()
    assert (now["label"], now["text"], now["request_id"]) == ("negative", wrong["text"], wrong["request_id"])
    assert right["example_id"] in set(made.rows["example_id"])
    assert states(small_task, warehouse)[("seed_set", 1)] == "live"
    assert states(small_task, warehouse)[("seed_set", 2)] == "live"
    assert make_seed_set(small_task, warehouse, 2).reused

    with connect(Warehouse(build_catalog(warehouse).parent)) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        found = sql.execute(
            "select who, why, from_round from reviews where decision = 'exclude' order by why"
        ).fetchall()
        assert found == [("Ana", "says nothing", 2), ("Ana", None, 2)]


def test_decisions_are_carried_from_round_to_round_and_may_be_taken_back(small_task, warehouse, tmp_path):
    wrong, out = rows_of(live(small_task, warehouse, "seed_set", 1), "positive")[:2]
    new_id = example_id(wrong["text"], None, "negative")
    take = lambda *lines: take_reviews(small_task, warehouse, save(tmp_path / "edited.csv", *lines), "Ana")  # noqa: E731
    take(decide(wrong, "relabel", "negative"), decide(out, "exclude"))
    make_extrapolated_set(small_task, warehouse, 1)
    made = make_seed_set(small_task, warehouse, 2)
    for make in (make_trained_model, make_error_set, make_extrapolated_set):
        make(small_task, warehouse, 2)
    # Round 3 carries the edited rows over; a decision about the relabelled row brings its first label back.
    (now,) = made.rows.filter(pl.col("example_id") == new_id).to_dicts()
    taken = take(decide(now, "relabel", "positive"), decide(out, "keep"))
    assert (taken.from_round, taken.gone) == (3, 1)
    third = make_seed_set(small_task, warehouse, 3)
    assert third.numbers["relabelled_by_review"] == 1
    assert wrong["example_id"] in set(third.rows["example_id"])
    assert out["example_id"] not in set(third.rows["example_id"])
    assert states(small_task, warehouse)[("seed_set", 2)] == "live"


def test_rows_on_their_way_into_the_next_round_can_be_decided_about(small_task, warehouse, tmp_path):
    added = make_extrapolated_set(small_task, warehouse, 1).rows
    first, second = added.to_dicts()[:2]
    file = save(tmp_path / "edited.csv", decide(first, "exclude"), decide(second, "relabel", OTHER[second["label"]]))
    assert take_reviews(small_task, warehouse, file, "Ana").gone == 0
    made = make_seed_set(small_task, warehouse, 2)
    assert not {first["example_id"], second["example_id"]} & set(made.rows["example_id"])
    assert second["text"] in set(made.rows["text"])


def test_a_label_may_not_lose_all_its_rows(small_task, warehouse, tmp_path):
    make_extrapolated_set(small_task, warehouse, 1)
    held = [row for name in ("seed_set", "extrapolated_set") for row in rows_of(live(small_task, warehouse, name, 1))]
    lines = [decide(row, "exclude") for row in held if row["label"] == "positive"]
    take_reviews(small_task, warehouse, save(tmp_path / "edited.csv", *lines), "Ana")
    with pytest.raises(ChecksFailed, match=r"every_class_has_rows: labels without rows: \['positive'\]"):
        make_seed_set(small_task, warehouse, 2)


def test_gold_decisions_make_everything_anew_and_no_question_is_asked_again(small_task, warehouse, command, tmp_path):
    gold = live(small_task, warehouse, "gold")
    wrong, out = rows_of(gold.filter(pl.col("split") == "steer"), "positive")[:2]
    synthetic = rows_of(live(small_task, warehouse, "seed_set", 0), "positive")[0]
    file = save(
        tmp_path / "edited.csv",
        decide(wrong, "relabel", "negative"),
        decide(out, "exclude"),
        decide(synthetic, "exclude"),
    )
    code, said, _ = command("review", "small", "--apply", str(file))
    assert code == 0
    assert "gold: 1 exclude, 1 relabel" in said
    assert "gold is stale now, and with it rounds 0-1" in said
    assert "not asked again" in said
    assert "seed_set of round 0 is the first that follows the synthetic ones\n" in said
    assert "next: s3-assets run small --rounds 0-1" in said
    assert "live" not in set(states(small_task, warehouse).values())
    made = make_gold(small_task, warehouse)
    assert (made.numbers["excluded_by_review"], made.numbers["relabelled_by_review"]) == (1, 1)
    assert out["gold_id"] not in set(made.rows["gold_id"])
    assert made.rows.filter(pl.col("gold_id") == wrong["gold_id"])["label"].to_list() == ["negative"]
    assert make_gold(small_task, warehouse).reused
    again = make_seed_set(small_task, warehouse, 0)
    assert again.numbers["teacher_calls"] == 0
    assert synthetic["example_id"] not in set(again.rows["example_id"])


def test_the_same_file_twice_changes_nothing(small_task, warehouse, command, tmp_path):
    gold = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "select"), "positive")[:2]
    synthetic = rows_of(live(small_task, warehouse, "seed_set", 1), "positive")[:3]
    lines = [
        decide(gold[0], "relabel", "negative", reason="sarcasm"),
        decide(gold[1], "keep"),
        decide(synthetic[0], "exclude"),
        decide(synthetic[1], "relabel", "negative"),
        decide(synthetic[2], "keep"),
    ]
    file = str(save(tmp_path / "edited.csv", *lines))
    command("review", "small", "--apply", file)
    log, before = read_decisions(small_task, warehouse), states(small_task, warehouse)
    code, said, _ = command("review", "small", "--apply", file)
    assert code == 0
    assert "decisions that stand already: 5, they change nothing" in said
    assert "nothing new was taken over" in said
    assert read_decisions(small_task, warehouse) == log
    assert states(small_task, warehouse) == before


def test_keep_changes_no_row_and_makes_nothing_stale(small_task, warehouse, command, tmp_path):
    gold = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "steer"))[0]
    row = rows_of(live(small_task, warehouse, "seed_set", 1))[0]
    file = save(tmp_path / "edited.csv", decide(gold, "keep"), decide(row, "keep"))
    before = states(small_task, warehouse)
    _, said, _ = command("review", "small", "--apply", str(file))
    assert "nothing needs to be made anew" in said
    assert states(small_task, warehouse) == before


def test_arms_of_experiments_follow_no_decisions_about_synthetic_rows(small_task, warehouse, tmp_path):
    row = rows_of(live(small_task, warehouse, "seed_set", 0))[0]
    arm = arm_task(small_task, "s3", 0)
    held = make_seed_set(arm, warehouse, 0)
    assert row["example_id"] in set(held.rows["example_id"])
    gold = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "steer"))[0]
    # With a decision about gold those about synthetic rows count from round 0 on.
    take_reviews(
        small_task, warehouse, save(tmp_path / "f.csv", decide(row, "exclude"), decide(gold, "exclude")), "Ana"
    )
    make_gold(small_task, warehouse)
    assert row["example_id"] in set(make_seed_set(arm, warehouse, 0).rows["example_id"])
    assert row["example_id"] not in set(make_seed_set(small_task, warehouse, 0).rows["example_id"])


def test_fingerprints_without_decisions_are_as_they_were(small_task, warehouse, tmp_path):
    """Parts made before there were reviews stay live."""
    board = Board(small_task, warehouse)
    assert Reviews([]).fingerprint("gold", 0) is None
    part = board.step("gold", 0).part
    from s3_assets.loop.fingerprints import input_fingerprint

    assert part.metadata()["input_fingerprint"] == input_fingerprint(small_task, "gold", 0, {})


def test_a_round_beyond_those_allowed_is_said(small_task, warehouse, command, tmp_path):
    spec = (small_task.folder / "task.yaml").read_text().replace("rounds: 3", "rounds: 2")
    (small_task.folder / "task.yaml").write_text(spec)
    row = rows_of(live(small_task, warehouse, "seed_set", 1))[0]
    _, said, _ = command("review", "small", "--apply", str(save(tmp_path / "f.csv", decide(row, "exclude"))))
    assert "task small allows rounds 0-1: raise rounds in its task.yaml to 3, then" in said


# -- listing ---------------------------------------------------------------------------------------------------------


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


# -- files and their problems ----------------------------------------------------------------------------------------


def test_every_problem_is_named_with_its_line_and_nothing_is_applied(small_task, warehouse, tmp_path):
    row, other, third = rows_of(live(small_task, warehouse, "seed_set", 1), "positive")[:3]
    test = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "test"))[0]
    lines = [
        (decide(third, "exclude"), None),
        (decide(row, "exlude"), "unknown decision 'exlude'; did you mean exclude? allowed: exclude, relabel, keep"),
        (decide({**row, "example_id": "x_none"}, "exclude"), "row_id 'x_none' is no synthetic row of task small"),
        (decide(row, "exclude", kind="odd"), "unknown kind 'odd'; allowed: gold, synthetic"),
        (decide(row, "relabel", "negativ"), "'negativ' is no label of task small; did you mean negative?"),
        (decide(other, "relabel"), "relabel without new_label; allowed: positive, negative"),
        (decide(other, "relabel", "positive"), "new_label 'positive' is the label that row"),
        (decide(other, "keep", "negative"), "new_label 'negative' with decision keep"),
        (decide(other, "", "negative"), "new_label 'negative' without a decision"),
        (decide(other, "exclude", text="another text\nof two lines"), "text is not that of row"),
        (decide(other, "exclude", label="negative"), "label 'negative' is not that of row"),
        (decide(third, "keep"), "is decided otherwise in line 2"),
        (decide(test, "exclude"), "is test gold: corrected where a model misses it"),
    ]
    said = problems(small_task, warehouse, save(tmp_path / "f.csv", *(line for line, _ in lines)))
    at = 2
    for line, expected in lines:
        if expected is not None:
            assert any(f"line {at}:" in told and expected in told for told in said.splitlines()), (at, expected, said)
        at += 1 + line["text"].count("\n")
    assert "nothing was taken over" in said
    assert f"line {at - 1}: {test['gold_id']} is test gold" in said
    assert "correct it in the gold file" in said


def test_test_gold_is_refused_by_the_command(small_task, warehouse, command, tmp_path):
    test = rows_of(live(small_task, warehouse, "gold").filter(pl.col("split") == "test"))[0]
    file = save(tmp_path / "f.csv", decide(test, "relabel", OTHER[test["label"]]))
    code, _, err = command("review", "small", "--apply", str(file))
    assert code == 2
    assert "line 2:" in err
    assert "test gold" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"kind,row_id,label,text,new_label,reason\n", "no column decision"),
        (",".join(HEAD).encode() + b"\ngold,g,positive,caf\xe9,,keep,,\n", "line 2 is not UTF-8"),
        ("kind;row_id".encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_files_that_are_none(small_task, home, tmp_path, content, said):
    (tmp_path / "f.csv").write_bytes(content)
    assert said in problems(small_task, Warehouse(tmp_path / "warehouse"), tmp_path / "f.csv")


def test_a_missing_file_and_cells_too_many(small_task, home, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    assert "no such file" in problems(small_task, warehouse, tmp_path / "absent.csv")
    row = read_gold(small_task).row(0, named=True)
    file = save(tmp_path / "f.csv", decide(row, "exclude"))
    file.write_bytes(file.read_bytes().rstrip() + b",,more\r\n")
    assert "line 2: has more cells than the first line" in problems(small_task, warehouse, file)


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_what_spreadsheets_write_is_read(small_task, home, tmp_path, delimiter, encoding):
    warehouse = Warehouse(tmp_path / "warehouse")
    row = next(row for row in read_gold(small_task).to_dicts() if row["split"] == "steer" and "," in row["text"])
    file = save(
        tmp_path / "f.csv", decide(row, " EXCLUDE", text=f" {row['text']} "), delimiter=delimiter, encoding=encoding
    )
    # Empty lines at the end, as spreadsheets leave them.
    file.write_bytes(file.read_bytes() + (delimiter * 3 + "\r\n").encode())
    taken = take_reviews(small_task, warehouse, file, "Ana")
    assert dict(taken.decisions) == {("gold", "exclude"): 1}


def listed_rows(**columns):
    count = len(next(iter(columns.values())))
    rows = pl.DataFrame({name: pl.Series([None] * count, dtype=dtype) for name, dtype in LISTED.items()})
    return rows.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


TEXT_COLUMNS = ("text", "text2", "label", "suggested_label", "why")


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_no_cell_is_computed_by_a_spreadsheet_and_each_comes_back(tmp_path, column):
    texts = ["=1+1", "- dull -", "+44 20", '=HYPERLINK("http://x.example","see")', "@SUM(A1)", "\t=1", " =1", "\r\n=1"]
    texts += ["'=1", "''- x", "' =1", "\uff1d1", "plain", "'quoted'", "'tis", "3 - 2"]
    write_review_file(listed_rows(**{column: texts}), tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(encoding="utf-8-sig", newline="") as file:
        written = [row[column] for row in csv.DictReader(file)]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in written)
    assert written[:3] == ["'=1+1", "'- dull -", "'+44 20"]
    assert written[-4:] == texts[-4:]
    assert [cells[column] for _, cells in read_review_file(tmp_path / "f.csv")] == texts
    # Some spreadsheets take the first quote for their own mark and drop it; then another one may be missing.
    assert all(says(cell, text) for cell, text in zip(texts, texts, strict=True))
    assert says("=1", "'=1")
    assert not says("2", "=1+1")


def test_labels_that_look_like_formulas_can_be_decided_about(tmp_path, home):
    warehouse, labels = Warehouse(tmp_path / "warehouse"), {"+1": "praise", "-1": "blame"}
    gold = "review,verdict\n" + "".join(f"film number {n},{('+1', '-1')[n % 2]}\n" for n in range(80))
    task = write_task(tmp_path / "tasks", gold, labels=labels)
    row = rows_of(read_gold(task).filter(pl.col("split") == "steer"), "+1")[0]
    file = save(tmp_path / "f.csv", decide(row, "relabel", "'-1", label="'+1"))
    assert take_reviews(task, warehouse, file, "Ana").decisions == {("gold", "relabel"): 1}
    assert read_decisions(task, warehouse)[0].new_label == "-1"


def test_long_texts_are_shown_in_part_and_come_back(tmp_path):
    texts = ["=" + "x" * 140_000, "y" * (MOST_SHOWN + 1_234), "z" * MOST_SHOWN]
    write_review_file(listed_rows(text=texts), tmp_path / "f.csv")
    cells = [cells["text"] for _, cells in read_review_file(tmp_path / "f.csv")]
    assert cells[1] == f"{'y' * MOST_SHOWN} [... 1,234 more characters]"
    assert cells[2] == texts[2]
    assert max(len(cell.encode("utf-16-le")) // 2 for cell in cells) < 32_767
    assert all(says(cell, text) for cell, text in zip(cells, texts, strict=True))
    assert not says(cells[1], texts[1] + "y")
    assert not says("y" * 10, texts[1])
    assert says(texts[1], texts[1])


def test_a_quote_never_closed_is_said(tmp_path):
    (tmp_path / "f.csv").write_text('"kind,row_id\n' + "x" * 200_000)
    with pytest.raises(TaskError, match="no column kind"):
        list(read_review_file(tmp_path / "f.csv"))


def test_options_that_do_not_go_together(small_task, command, tmp_path):
    code, _, err = command("review", "small", "--apply", "f.csv", "--round", "1")
    assert code == 2
    assert "leave them out with --apply" in err
    code, _, err = command("review", "small", "--by", "Ana")
    assert code == 2
    assert "--apply FILE" in err
