"""How a budget is divided: sizes of seed set and rounds add up to it, whatever the strategy says."""

from pathlib import Path
from typing import Any

import pytest

from s3_assets.experiment.arms import arm_task
from s3_assets.generation.schedule import budget, round_size, rounds_of, seed_size
from s3_assets.tasks.load import Task
from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import write_task

ROWS = {"seed": 400, "per_round": 200}


def sized(folder: Path, arm: str = "mine", rows: dict[str, Any] | None = None, **options: Any) -> Task:
    """The arm ``arm`` of a task; ``mine`` is s3 with ``options``."""
    own = {"mine": {"base": "s3", **options}}
    return arm_task(write_task(folder, rows=rows or ROWS, strategies=own), arm, 0)


def sizes(own: Task) -> list[int]:
    return [seed_size(own), *(round_size(own, round_) for round_ in range(rounds_of(own)))]


def test_the_papers_rule_takes_the_tasks_own_sizes(tmp_path: Path) -> None:
    assert sizes(sized(tmp_path, "s3")) == [400, 200, 200]
    assert sizes(sized(tmp_path, "goldgen")) == [400, 200, 200]
    assert sizes(sized(tmp_path, "seed_only")) == [400]
    assert sizes(sized(tmp_path, "more_seed")) == [800]
    assert budget(sized(tmp_path, "s3")) == 800


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"seed_share": 0.25}, [200, 300, 300]),
        ({"seed_share": 0.125, "steps": 3}, [100, 233, 234, 233]),
        ({"steps": 4}, [400, 100, 100, 100, 100]),
        ({"seed_share": 0.125, "steps": 3, "growth": 2}, [100, 100, 200, 400]),
        ({"seed_share": 0.5, "steps": 1}, [400, 400]),
        ({"budget": 0.5, "seed_share": 0.25, "steps": 2}, [100, 150, 150]),
        ({"steps": 2, "growth": 0.5}, [400, 267, 133]),
    ],
)
def test_shares_steps_and_growth_divide_the_budget(
    tmp_path: Path, options: dict[str, Any], expected: list[int]
) -> None:
    own = sized(tmp_path, **options)
    assert sizes(own) == expected
    assert sum(expected) == budget(own)


def test_parts_add_up_where_they_do_not_divide(tmp_path: Path) -> None:
    for seed, per_round, steps in ((7, 5, 3), (101, 37, 7), (400, 201, 9)):
        own = sized(
            tmp_path / f"{seed}", rows={"seed": seed, "per_round": per_round}, seed_share=0.3, steps=steps, growth=1.3
        )
        # Seed set and rounds are rounded apart.
        assert abs(sum(sizes(own)) - budget(own)) <= 1
        assert min(sizes(own)) >= 1


def test_rounds_beyond_those_compared_have_the_size_of_the_last(tmp_path: Path) -> None:
    own = sized(tmp_path, seed_share=0.125, steps=3, growth=2)
    assert round_size(own, 7) == round_size(own, 2) == 400


def test_label_questions_of_the_strategy_come_off_the_rows(tmp_path: Path) -> None:
    # Two questions a row at most: a row and its questions take three.
    own = sized(tmp_path, verify="teacher", seed_share=0.25)
    assert [size * 3 for size in sizes(own)] == pytest.approx([200, 300, 300], abs=2)


def test_every_shipped_strategy_spends_no_more_than_its_budget(tmp_path: Path) -> None:
    for name, how in presets().items():
        if how.synthetic and not how.one_each:
            own = sized(tmp_path / name.replace("+", "_"), name)
            assert sum(sizes(own)) <= budget(own) == how.budget * 800, name
