"""Which gold rows a round writes from: the paper's rule, every way to choose, random gold beside errors."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import polars as pl
import pytest

from s3_assets.generation.extrapolate import source_plan, source_wanted
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.selection.errors import kept
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.choices import ROWS, asked, basis, tried
from s3_assets_tests.fakes import write_task


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


# -- explore -----------------------------------------------------------------------------------------------------------


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


def test_without_errors_only_explored_rows_are_asked(tmp_path):
    known = basis(tried(tmp_path), 12)
    right = Basis(known.steer, known.errors.clear(), shares=known.shares)
    assert asked(choose(tried(tmp_path, by="loss"), right, 0)) == {}
    assert sum(asked(choose(tried(tmp_path, explore=0.25), right, 0)).values()) == 5
