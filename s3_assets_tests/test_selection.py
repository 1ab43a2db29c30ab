"""Which gold rows a round writes from and how many rows each gets: the rule, every option, caps, labels' shares."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import polars as pl
import pytest

from s3_assets.generation.extrapolate import source_plan, source_wanted
from s3_assets.selection.allocation import divided, in_proportion, in_turn, over_groups
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.selection.clusters import clusters, group_count
from s3_assets.selection.contrast import contrasts
from s3_assets.selection.errors import kept
from s3_assets.selection.skipped import never_learned, unless_all
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import facts, write_task

ROWS = {"seed": 24, "per_call": 4, "per_round": 20}


def tried(folder, base="s3", rows=None, labels=None, **options):
    """The small task with a strategy of its own."""
    return write_task(
        folder,
        strategies={"tried": {"base": base, **options}},
        strategy="tried",
        rows={**ROWS, **(rows or {})},
        **({} if labels is None else {"labels": labels}),
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


# -- the paper's rule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["s3", "s3_shown", "goldgen", "paper"])
@pytest.mark.parametrize("per_error", [None, 1])
def test_strategies_without_options_ask_as_the_paper_does(tmp_path, strategy, per_error):
    task = write_task(tmp_path, strategy=strategy, rows={**ROWS, "per_error": per_error})
    known = basis(task)
    if strategy == "goldgen":
        known = Basis(known.steer, known.errors.clear(), shares=known.shares)
    sources = known.steer if strategy == "goldgen" else known.errors
    for round_ in (0, 1):
        choice = choose(task, known, round_)
        wanted = source_wanted(task, sources, round_)
        # In the same order too: the gates judge rows as they come.
        assert list(choice.wanted().items()) == list(wanted.items())
        missing = {gold_id: rows for gold_id, rows in wanted.items() if rows}
        plain = source_plan(task, known.rows(), round_)(missing, 0)
        assert list(source_plan(task, known.rows(), round_, choice)(missing, 0)) == list(plain)
        assert choice.numbers() == {"sources": sources.height}
    assert {source.why for source in choice.sources} == {"explored" if strategy == "goldgen" else "error"}


def test_no_option_of_the_paper_needs_heavy_packages(tmp_path):
    program = f"""
import sys
from pathlib import Path
from s3_assets_tests.fakes import write_task
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.tasks.gold import read_gold
import polars as pl
task = write_task(Path({str(tmp_path)!r}), strategy="s3")
steer = read_gold(task).filter(pl.col("split") == "steer")
choose(task, Basis(steer, steer.head(5)), 0)
print([name for name in ("torch", "sklearn", "transformers", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- by and keep -------------------------------------------------------------------------------------------------------


def test_by_loss_keeps_the_highest(tmp_path):
    task = tried(tmp_path, by="loss", keep=0.3, rows={"per_round": 10})
    known = basis(task)
    highest = known.errors.sort("loss", descending=True)["gold_id"].to_list()
    choice = choose(task, known, 0)
    # A third of 12, rounded up; those of the highest loss get what is left over.
    assert asked(choice) == dict(zip(highest[:4], [3, 3, 2, 2], strict=True))
    left = {source.gold_id: source.reason for source in choice.sources if not source.rows_requested}
    assert left == dict.fromkeys(highest[4:], "not kept")
    weights = {source.gold_id: source.weight for source in choice.sources}
    assert weights == dict(known.errors.select("gold_id", "loss").iter_rows())


def test_a_share_kept_is_no_row_more_for_the_last_digit_of_a_product(tmp_path):
    task = tried(tmp_path, by="loss", keep=0.55)
    ids = [f"g_{place:03}" for place in range(100)]
    errors = pl.DataFrame({"gold_id": ids, "loss": [float(place) for place in range(100)]})
    assert math.ceil(0.55 * 100) == 56
    assert kept(task.spec.how, errors, ids) == ids[:44:-1]
    # A part of a row is rounded up.
    assert len(kept(task.spec.how, errors.head(11), ids[:11])) == 7


def test_options_do_not_quietly_go_without_what_they_go_by(tmp_path):
    known = basis(tried(tmp_path))
    bare = Basis(known.steer, known.errors)
    with pytest.raises(ValueError, match="by: doubt goes by predictions"):
        choose(tried(tmp_path, by="doubt"), bare, 0)
    for options in ({"by": "cluster"}, {"shows": ["diagnosis"]}, {"shows": ["contrast"]}):
        with pytest.raises(ValueError, match="go by vectors"):
            choose(tried(tmp_path, **options), bare, 0)


def test_by_margin_keeps_those_nearest_to_being_right(tmp_path):
    task = tried(tmp_path, by="margin", keep=0.5)
    known = basis(task)
    nearest = known.errors.sort(pl.col("probability") - pl.col("label_probability"))["gold_id"].to_list()
    assert list(asked(choose(task, known, 0))) == nearest[:6]
    assert list(asked(choose(tried(tmp_path, by="loss", keep=0.5), known, 0))) == nearest[::-1][:6]


def test_by_cluster_groups_get_rows_alike(tmp_path):
    # 18 errors: three groups, of 12, 3 and 3.
    task = tried(tmp_path, by="cluster", rows={"per_round": 18})
    rows = read_gold(task).filter(pl.col("split") == "steer").height
    place = np.zeros(rows, int)
    place[12:15], place[15:18] = 1, 2
    known = basis(task, 18, vectors=np.eye(3, dtype=np.float32)[place])
    choice = choose(task, known, 0)
    by_cluster = Counter()
    for source in choice.sources:
        by_cluster[source.cluster] += source.rows_requested
    assert sorted(by_cluster.values()) == [6, 6, 6]
    ids = known.errors["gold_id"].to_list()
    assert len({source.cluster for source in choice.sources if source.gold_id in ids[12:15]}) == 1
    assert {asked(choice)[one] for one in ids[12:]} == {2}
    assert sorted(choose(tried(tmp_path, rows={"per_round": 18}), known, 0).wanted().values()) == [1] * 18


def test_by_doubt_every_steering_row_counts_by_what_the_student_does_not_know(tmp_path):
    task = tried(tmp_path, by="doubt", rows={"per_round": 200})
    known = basis(task)
    wanted, choice = asked(choose(task, known, 0)), choose(task, known, 0)
    doubt = dict(known.said.select("gold_id", "doubt").iter_rows())
    total = sum(doubt.values())
    assert sum(wanted.values()) == 200
    assert all(abs(wanted.get(one, 0) - 200 * share / total) < 1 for one, share in doubt.items())
    assert set(wanted) - set(known.errors["gold_id"])
    assert {source.why for source in choice.sources} == {"doubted"}
    assert {source.gold_id: source.weight for source in choice.sources} == pytest.approx(doubt)
    # Where there are fewer rows than gold, the most doubted ones are asked.
    few = asked(choose(tried(tmp_path, by="doubt", rows={"per_round": 5}), known, 0))
    assert set(few) == set(sorted(doubt, key=doubt.__getitem__)[-5:])


def test_equal_doubts_are_decided_by_the_seed(tmp_path):
    known = basis(tried(tmp_path, by="doubt"))
    even = known.said.with_columns(pl.lit(0.5).alias("doubt"))
    rows = {"per_round": 5}
    first = [
        set(asked(choose(write_seeded(tmp_path, seed, rows), Basis(known.steer, known.errors, said=even), 0)))
        for seed in (0, 0, 1)
    ]
    assert first[0] == first[1] != first[2]


def write_seeded(folder, seed, rows):
    return write_task(
        folder,
        strategies={"tried": {"base": "s3", "by": "doubt"}},
        strategy="tried",
        rows={**ROWS, **rows},
        seed=seed,
    )


def test_questions_are_doubted_by_f1(tmp_path):
    from s3_assets.selection.errors import doubts

    said = pl.DataFrame({"gold_id": ["a", "b"], "doubt": [0.9, 0.9], "f1": [1.0, 0.25]})
    assert doubts(said, "qa") == {"a": 0.0, "b": 0.75}
    assert doubts(said, "single") == {"a": 0.9, "b": 0.9}


# -- explore and prior -------------------------------------------------------------------------------------------------


def test_a_share_of_the_rows_is_from_random_steering_gold(tmp_path):
    task = tried(tmp_path, explore=0.25, rows={"per_round": 40})
    known = basis(task)
    choice = choose(task, known, 0)
    wrong = set(known.errors["gold_id"])
    explored = [source for source in choice.sources if source.why == "explored"]
    assert sum(asked(choice).values()) == 40
    assert choice.numbers()["rows_explored"] == 10
    assert explored
    assert not wrong & {source.gold_id for source in explored}
    both = [source for source in choice.sources if source.reason and "explored" in source.reason]
    assert sum(source.rows_requested for source in explored) + len(both) == 10
    assert {source.gold_id for source in both} <= wrong
    assert asked(choose(task, known, 1)) != asked(choice)
    assert asked(choose(task, known, 0)) == asked(choice)
    everything = asked(choose(tried(tmp_path, explore=1.0, rows={"per_round": 40}), known, 0))
    assert len(everything) == 40


def test_a_prediction_alone_is_shown_without_its_probability(tmp_path):
    task = tried(tmp_path, base="s3_shown", labels={"positive": "Praise.", "negative": "Blame."})
    known = basis(task, 1)
    assert known.rows()["probability"].drop_nulls().to_list() == [0.95]
    choice = choose(task, known, 0)
    request, *_ = source_plan(task, known.rows(), 0, choice)(asked(choice), 0)
    row = known.errors.row(0, named=True)
    other = row["prediction"]
    means = task.spec.labels[row["label"]].means
    # Answers of teachers are kept under these very words.
    assert request.messages[-1]["content"] == (
        f'A small classifier read the example below and said "{other}". That is wrong: its label is "{row["label"]}"\n'
        f"({means}).\n"
        f'Write 4 new texts with the label "{row["label"]}" that are similar to the example in style and in what makes '
        "it hard\nto classify, but are about something else. Do not copy the example.\n\n"
        f'```json\n{{\n "label": "{row["label"]}",\n "labels": [\n  "positive",\n  "negative"\n ],\n "count": 4,\n '
        f'"example": {{\n  "text": "{row["text"]}",\n  "label": "{row["label"]}",\n  "predicted": "{other}"\n }}\n}}\n'
        "```"
    )
    for base in ("default", "frugal"):
        own = write_task(tmp_path, strategy=base, rows=ROWS)
        assert "probability" not in own.spec.how.shows


def test_the_probability_of_the_wrong_answer_is_shown_where_asked_for(tmp_path):
    task = tried(tmp_path, base="s3_shown", shows=["prediction", "probability"])
    known = basis(task, 1)
    choice = choose(task, known, 0)
    plain = tried(tmp_path, base="s3_shown")
    for request, without in zip(
        source_plan(task, known.rows(), 0, choice)(asked(choice), 0),
        source_plan(plain, known.rows(), 0, choice)(asked(choice), 0),
        strict=True,
    ):
        said, before = request.messages[-1]["content"], without.messages[-1]["content"]
        told = "\nThe wrong answer had a probability of 95%."
        assert said == before.replace("\n\n```json", f"{told}\n\n```json")


def test_explored_rows_that_are_right_show_no_prediction(tmp_path):
    task = tried(tmp_path, base="s3_shown", explore=0.5)
    known = basis(task, 4)
    choice = choose(task, known, 0)
    wrong = set(known.errors["gold_id"])
    requests = list(source_plan(task, known.rows(), 0, choice)(asked(choice), 0))
    shown = {request.gold_id: facts({"messages": request.messages})["example"] for request in requests}
    assert {one for one, example in shown.items() if "predicted" in example} == wrong
    assert set(shown) - wrong
    told = {request.gold_id for request in requests if "That is wrong" in request.messages[-1]["content"]}
    assert told == wrong


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


def test_without_errors_only_explored_rows_are_asked(tmp_path):
    known = basis(tried(tmp_path), 12)
    right = Basis(known.steer, known.errors.clear(), shares=known.shares)
    assert asked(choose(tried(tmp_path, by="loss"), right, 0)) == {}
    assert sum(asked(choose(tried(tmp_path, explore=0.25), right, 0)).values()) == 5


# -- skips -------------------------------------------------------------------------------------------------------------


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


# -- clusters and contrasts --------------------------------------------------------------------------------------------


def test_vectors_that_lie_together_are_one_cluster():
    assert [group_count(rows) for rows in (0, 1, 8, 50, 200)] == [1, 1, 2, 5, 10]
    spread = np.random.default_rng(0).normal(0, 0.01, (18, 3)).astype(np.float32)
    vectors = np.eye(3, dtype=np.float32)[np.arange(18) % 3] + spread
    found = clusters([str(place) for place in range(18)], vectors, 0)
    assert len(set(found.values())) == 3
    assert all(found[str(place)] == found[str(place % 3)] for place in range(18))
    assert clusters(["a", "b"], vectors[:2], 0) == {"a": 0, "b": 0}
    # Fewer places than groups. What differs in its last digits is one place.
    ones = np.ones((18, 3), np.float32)
    assert len(set(clusters([str(place) for place in range(18)], ones, 0).values())) == 1
    noise = np.random.default_rng(0).choice(np.float32([0, 1.2e-7]), (18, 3))
    assert len(np.unique(ones + noise, axis=0)) > 3
    assert len(set(clusters([str(place) for place in range(18)], ones + noise, 0).values())) == 1


@pytest.mark.parametrize("shows", [["diagnosis"], ["diagnosis", "contrast"]])
def test_no_group_that_is_diagnosed_has_errors_of_two_folds(tmp_path, shows):
    task = tried(tmp_path, by="cluster", shows=shows, cross_fit=2)
    known = basis(task, 16, vectors=axes(task, 2))
    folds = {gold_id: 1 + place // 2 % 2 for place, gold_id in enumerate(known.steer["gold_id"])}
    choice = choose(task, Basis(known.steer, known.errors, vectors=known.vectors, folds=folds), 0)
    held = {}
    for source in choice.sources:
        held.setdefault(source.cluster, set()).add(folds[source.gold_id])
    # Two groups in each of the folds, numbered on.
    assert sorted(held) == [0, 1, 2, 3]
    assert [held[group] for group in range(4)] == [{1}, {1}, {2}, {2}]
    # Without folds a group is of all errors.
    free = choose(task, known, 0)
    assert {source.cluster for source in free.sources} != set(range(4))
    plain = tried(tmp_path, by="cluster", cross_fit=2)
    alike = choose(plain, Basis(known.steer, known.errors, vectors=known.vectors, folds=folds), 0)
    assert [source.cluster for source in alike.sources] == [
        source.cluster for source in choose(plain, known, 0).sources
    ]


def test_a_contrast_is_the_nearest_right_row_of_another_label():
    steer = pl.DataFrame({"gold_id": list("abcde"), "label": ["x", "y", "y", "x", "y"]})
    angles = np.array([0.0, 0.5, 0.2, 0.1, 1.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert contrasts("ac", steer, vectors) == {"a": "c", "c": "d"}
    assert contrasts("a", steer, vectors, wrong={"c"}) == {"a": "b"}
    assert contrasts("a", steer, vectors, wrong={"b", "c", "e"}) == {}
    assert contrasts("a", steer, vectors, folds={"a": 1, "b": 2, "c": 2, "d": 1, "e": 1}) == {"a": "e"}


def test_neighbours_that_differ_in_the_last_digits_are_alike():
    steer = pl.DataFrame({"gold_id": list("abc"), "label": ["x", "y", "y"]})
    vectors = np.array([[1, 0], [0.6, 0.8], [0.6000001, 0.8]], np.float32)
    assert vectors[2, 0] > vectors[1, 0]
    assert contrasts("a", steer, vectors) == {"a": "b"}
    assert contrasts("a", steer, np.array([[1, 0], [0.6, 0.8], [0.6001, 0.8]], np.float32)) == {"a": "c"}


def test_the_contrast_stands_in_the_request(tmp_path):
    task = tried(tmp_path, shows=["contrast"])
    known = basis(task, vectors=axes(task, 4))
    choice = choose(task, known, 0)
    texts = {row["gold_id"]: row for row in known.steer.iter_rows(named=True)}
    requests = list(source_plan(task, known.rows(), 0, choice)(asked(choice), 0))
    wrong = set(known.errors["gold_id"])
    assert requests
    for request in requests:
        contrast = facts({"messages": request.messages})["contrast"]
        (found,) = [one for one, row in texts.items() if row["text"] == contrast["text"]]
        assert found == choice.shown()[request.gold_id].contrast_id
        assert found not in wrong
        assert contrast == {"text": texts[found]["text"], "label": texts[found]["label"]}
        assert contrast["label"] != texts[request.gold_id]["label"]
        assert 'The row under "contrast" looks alike' in request.messages[-1]["content"]
    plain = choose(tried(tmp_path), known, 0)
    assert {source.contrast_id for source in plain.sources} == {None}
