"""Decisions taken over: what the next round makes of them, what stays as it is, lines that are refused."""

import shutil

import polars as pl
import pytest

from s3_assets.experiment.arms import arm_task
from s3_assets.loop.checks import ChecksFailed
from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import Reviews, read_decisions
from s3_assets.loop.state import Board
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.identity import example_id
from s3_assets.store.parts import Warehouse
from s3_assets_tests.review_files import OTHER, decide, live, make_two_rounds, problems, rows_of, save


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory, tiny_student):
    """A warehouse with rounds 0 and 1 of ``small_task``."""
    return make_two_rounds(tmp_path_factory.mktemp("reviewed"), tiny_student)


@pytest.fixture
def warehouse(two_rounds, home, tmp_path):
    """The two rounds, to change."""
    shutil.copytree(two_rounds, tmp_path / "warehouse")
    return Warehouse(tmp_path / "warehouse")


def states(task, warehouse):
    return {(step.asset, step.round): step.state for step in Board(task, warehouse)}


# -- what rounds make of them ------------------------------------------------------------------------------------------


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


# -- lines that are refused --------------------------------------------------------------------------------------------


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
