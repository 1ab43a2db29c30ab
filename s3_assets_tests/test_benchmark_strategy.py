"""The arithmetic of ``benchmarks/strategy.py`` on scores made up: differences, marks of budgets, bars."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import REPOSITORY, write_task

PACKS = ("one", "two", "three")


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    """The script as a module, found beside its helper ``packs``."""
    folder = REPOSITORY / "benchmarks"
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("benchmark_strategy", folder / "strategy.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    yield found
    sys.path[:] = before
    sys.modules.pop("packs", None)


def figures(**arms: list[float]) -> dict[str, dict[int, float]]:
    return {arm: dict(enumerate(values)) for arm, values in arms.items()}


def test_differences_are_of_common_seeds_and_over_packs_of_their_means(benchmark):
    scores = {
        "one": figures(default=[80.0, 82.0, 90.0], goldgen=[78.0, 79.0]),
        "two": figures(default=[70.0, 72.0], goldgen=[66.0, 71.0, 10.0]),
    }
    one = benchmark.difference(scores, "default", "goldgen", ["one"])
    assert one.mean == pytest.approx((2 + 3) / 2)
    both = benchmark.difference(scores, "default", "goldgen", ["one", "two"])
    # Seed 0: 2 and 4 points, seed 1: 3 and 1.
    assert both.mean == pytest.approx((3 + 2) / 2)
    assert both.low < both.mean < both.high
    assert benchmark.difference(scores, "default", "s3", ["one"]).mean is None


def test_differences_at_a_larger_budget_are_marked(benchmark):
    scores = {
        pack: figures(default=[80.0, 82.0], goldgen=[78.0, 79.0], s3=[77.0, 78.0], gold_only=[60.0, 60.0])
        for pack in ("one", "two")
    }
    budgets = {
        "one": figures(default=[100, 110], goldgen=[100, 100], s3=[100, 100, 999], gold_only=[0, 0]),
        "two": figures(default=[100, 110], goldgen=[100, 101], s3=[100, 99], gold_only=[0, 0]),
    }
    assert not benchmark.dearer(budgets, "default", "goldgen", ["one", "two"]), "by 5%, not by more"
    assert not benchmark.dearer(budgets, "default", "s3", ["one"]), "of the seeds both have"
    assert benchmark.dearer(budgets, "default", "s3", ["two"])
    assert not benchmark.dearer(budgets, "default", "gold_only", ["one", "two"]), "which has no teacher"
    lines = benchmark.table_of_differences(scores, budgets).splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:5]}
    assert [cell.endswith("†") for cell in cells["s3"]] == [False, True, True]
    assert [cell.endswith("†") for cell in cells["goldgen"]] == [False, False, False]
    assert lines[-1] == "† default asked for over 5% more than it: not at equal budget."
    same = {pack: figures(default=[100, 100], goldgen=[100, 100]) for pack in scores}
    assert "†" not in benchmark.table_of_differences(scores, same)
    means = benchmark.table_of_means(scores, budgets).splitlines()
    assert means[2].split(" | ")[:2] == ["| default", "105"]


def scores_of_all(**changed: list[float]) -> dict[str, dict[str, dict[int, float]]]:
    arms = {
        "default": [80.0, 81.0, 82.0],
        "goldgen": [74.0, 74.5, 76.0],
        "random_gold": [78.0, 79.0, 79.0],
        "s3": [75.0, 76.0, 77.0],
        "more_seed": [70.0, 71.0, 72.0],
        "gold_only": [60.0, 60.0, 60.0],
        "seed_only": [81.0, 81.5, 82.0],
        "frugal": [75.0, 76.0, 77.5],
        **changed,
    }
    return {pack: figures(**{arm: values for arm, values in arms.items() if values}) for pack in PACKS}


def test_bars_hold_do_not_hold_or_are_not_measured(benchmark):
    said = benchmark.bars(scores_of_all())
    assert [line.split(":")[0] for line in said] == ["- holds"] * 7
    assert "interval above 0 on 2 packs or more: +3.0" in said[1]
    low = benchmark.bars(scores_of_all(default=[75.0, 75.5, 77.0]))
    assert low[0] == "- DOES NOT HOLD: default at least 5 points over goldgen, mean of packs: +1.0 (asked: +5.0)"
    # Seeds that agree have no interval, nor has a single one: nothing is known against the bar.
    for alike in (scores_of_all(goldgen=[74.0]), scores_of_all(goldgen=[74.0, 75.0, 76.0])):
        assert benchmark.bars(alike)[1].startswith("- not measured: default over goldgen with interval")
    without = scores_of_all(frugal=[], s3=[])
    assert [line.split(":")[0] for line in benchmark.bars(without)] == [
        *["- holds"] * 2,
        "- not measured",
        *["- holds"] * 3,
        "- not measured",
    ]
    # A control that one pack lacks is not measured on each of them.
    partly = scores_of_all()
    del partly["two"]["gold_only"]
    assert benchmark.bars(partly)[4].startswith("- not measured: default above gold_only")


def test_random_gold_has_all_of_default_but_what_rows_are_written_from(benchmark, tmp_path):
    task = write_task(tmp_path, strategies={name: dict(changes) for name, changes in benchmark.OWN.items()})
    own, default = task.spec.arms["random_gold"].model_dump(), presets()["default"].model_dump()
    apart = {name for name in own if own[name] != default[name]}
    assert apart <= {"summary", "extrapolates", "by", "explore", "shows", "keep", "skips"}
    assert own["extrapolates"] == "gold"
    assert "random_gold" in benchmark.CONTROLS
