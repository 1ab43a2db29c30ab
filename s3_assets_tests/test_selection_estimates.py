"""Estimates of rounds under strategies' options, before any training and once errors are known."""

import math
from dataclasses import dataclass

import polars as pl
import pytest

from s3_assets.generation.estimate import ASSUMED_ERRORS, MOST_RUNS, estimate_rounds
from s3_assets.generation.imagined import Imagined
from s3_assets.generation.schedule import MOST_DIAGNOSES
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.loop.uses import gold_in_use
from s3_assets.selection.clusters import group_count
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.choices import OUT_OF_REACH, ROWS, tried
from s3_assets_tests.chosen_rounds import diagnosing, embed_by_hash, first_round, live
from s3_assets_tests.fakes import DEMO_FOLDER, obliging, scripted_teacher, write_task
from s3_assets_tests.test_estimate import train

EMBEDDED = {"backend": "embedded", "grammar": str(DEMO_FOLDER / "grammar.yaml")}


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def embedded(monkeypatch) -> list[str]:
    """The texts that were embedded."""
    return embed_by_hash(monkeypatch)


def test_the_default_strategy_is_estimated_before_any_training(tmp_path, warehouse, embedded):
    with scripted_teacher(obliging) as teacher:
        task = write_task(tmp_path, strategy="default", teacher={"base_url": teacher.url}, rows=ROWS)
        zero, one = estimate_rounds(task, warehouse, 0, 1)
        assert teacher.bodies == []
        assert embedded == []
        assert one.ground == f"assumed {ASSUMED_ERRORS:.0%} errors"
        make_gold(task, warehouse)
        make_seed_set(task, warehouse, 0)
        assert zero.cost.calls == len(teacher.bodies)
        steer = gold_in_use(task, read_gold(task)).filter(pl.col("split") == "steer")
        assert 0 < one.cost.calls < steer.height
        assert one.cost.tokens > 0
    plain = estimate_rounds(write_task(tmp_path / "plain", strategy="default~shows", rows=ROWS), warehouse, 1, 1)
    # The contrast and its words are read too.
    assert one.cost.read / one.cost.calls > plain[0].cost.read / plain[0].cost.calls


# What an option does to rounds 0 to 2, held against the paper's rule.
SAID = {
    "doubt": ({"by": "doubt"}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "loss": ({"by": "loss", "keep": 0.5}, lambda it, paper: it.calls[1] < paper.calls[1]),
    "explore": ({"explore": 0.5}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "one_each": ({"one_each": True}, lambda it, paper: it.calls[1] == it.errors and it.rows[1] < paper.rows[1]),
    "dev": ({"steers": "dev"}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "contrast": ({"shows": ["contrast"]}, lambda it, paper: it.each[1] > 1.1 * paper.each[1]),
    "contrast in folds": ({"shows": ["contrast"], "cross_fit": 3}, lambda it, paper: it.each[1] > 1.1 * paper.each[1]),
    "prediction": ({"shows": ["prediction"]}, lambda it, paper: it.each[1] > paper.each[1]),
    "verify": ({"verify": "teacher"}, lambda it, paper: it.questions > 0 == paper.questions),
    "seed_share": ({"seed_share": 0.5}, lambda it, paper: it.calls[0] > paper.calls[0] and it.rows[1] < paper.rows[1]),
    "steps": ({"steps": 6}, lambda it, paper: it.calls[:1] == paper.calls[:1] and it.calls[1] < paper.calls[1]),
    "growth": ({"growth": 3}, lambda it, paper: it.rows[1] < paper.rows[1] and it.rows[2] > paper.rows[2]),
    "budget": ({"budget": 0.2, "seed_share": 0.375}, lambda it, paper: all(map(float.__lt__, it.calls, paper.calls))),
}


@dataclass
class Said:
    """An estimate of rounds: calls, tokens written (which go by rows), tokens read a call; of errors assumed."""

    calls: list[float]
    rows: list[float]
    each: list[float]
    questions: int
    errors: int


def estimated(folder, **options) -> Said:
    task = write_task(
        folder / "tasks",
        strategies={"tried": {"base": "s3", **options}},
        strategy="tried",
        rows={**ROWS, "per_round": 60},
        teacher=OUT_OF_REACH,
    )
    kinds: list[str] = []
    imagine = Imagined._imagine

    def heard(self, request):
        kinds.append(request.kind)
        return imagine(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Imagined, "_imagine", heard)
        # The means of so few differ by less than what is compared.
        patch.setattr("s3_assets.generation.estimate.MOST_RUNS", 5)
        costs = [one.cost for one in estimate_rounds(task, Warehouse(folder / "warehouse"), 0, 2)]
    steer = gold_in_use(task, read_gold(task)).filter(pl.col("split") == "steer").height
    calls, rows = [one.calls for one in costs], [one.written for one in costs]
    each = [one.read / one.calls for one in costs]
    return Said(calls, rows, each, kinds.count("label"), math.ceil(ASSUMED_ERRORS * steer))


@pytest.fixture(scope="module")
def paper_estimated(tmp_path_factory) -> Said:
    return estimated(tmp_path_factory.mktemp("paper"))


@pytest.mark.parametrize("name", SAID)
def test_every_option_is_estimated(tmp_path, embedded, paper_estimated, name):
    options, holds = SAID[name]
    found = estimated(tmp_path, **options)
    assert holds(found, paper_estimated), (found, paper_estimated)
    assert embedded == []


def test_questions_about_errors_are_estimated_by_fold(tmp_path, warehouse, embedded, monkeypatch):
    """Groups are within folds, so there are more of them; each has one question."""
    kinds: list[str] = []
    imagine = Imagined._imagine
    monkeypatch.setattr(Imagined, "_imagine", lambda self, one: (kinds.append(one.kind), imagine(self, one))[1])
    csv = "review,verdict\n" + "".join(f"text {place},{('positive', 'negative')[place % 2]}\n" for place in range(60))
    asked = []
    for cross_fit in (0, 3):
        kinds.clear()
        own = {"tried": {"base": "s3", "shows": ["diagnosis"], "cross_fit": cross_fit}}
        task = write_task(
            tmp_path, csv, strategies=own, strategy="tried", rows={**ROWS, "per_round": 60}, teacher=OUT_OF_REACH
        )
        estimate_rounds(task, warehouse, 1, 1)
        asked.append(kinds.count("diagnosis") / MOST_RUNS)
    errors = math.ceil(ASSUMED_ERRORS * read_gold(task).filter(pl.col("split") == "steer").height)
    assert asked[0] == group_count(errors) < asked[1] <= MOST_DIAGNOSES


@pytest.mark.parametrize("options", [{"by": "cluster"}, {"by": "doubt", "steers": "dev"}, {"skips": ["mislabelled"]}])
def test_an_estimate_once_errors_are_known_is_what_is_then_asked(tmp_path, warehouse, embedded, options):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(tmp_path, teacher=teacher, shows=["diagnosis"], **options)
        make_gold(task, warehouse)
        make_seed_set(task, warehouse, 0)
        train(task, warehouse, 0, 0.4)
        sure = live(warehouse, "predictions", task).with_columns(doubt=pl.when("correct").then(0.1).otherwise(0.9))
        warehouse.write("predictions", loop_key(task, 0).columns(), sure)
        (said,) = estimate_rounds(task, warehouse, 1, 1)
        before = len(teacher.bodies)
        make_extrapolated_set(task, warehouse, 0)
        assert said.ground == "errors known"
        # Clusters of other vectors have other sizes.
        assert abs(said.cost.calls - (len(teacher.bodies) - before)) <= 2


def test_an_estimate_does_not_say_over_and_over_what_the_step_will_say(tmp_path, warehouse, embedded, caplog):
    task = tried(tmp_path, shows=["diagnosis"], backend=EMBEDDED)
    estimate_rounds(task, warehouse, 0, 2)
    assert "diagnosis" not in caplog.text
    first_round(task, warehouse)
    assert caplog.text.count("shows: diagnosis is left out: the embedded teacher cannot answer it") == 1
