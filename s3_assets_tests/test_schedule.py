"""How a budget is divided: sizes of seed set and rounds add up to it, whatever the strategy says."""

from pathlib import Path
from typing import Any

import pytest

from s3_assets.experiment.arms import arm_task
from s3_assets.generation.schedule import (
    SEED_ROWS_OF_A_LABEL,
    asked_for_a_row,
    budget,
    most_diagnoses,
    round_size,
    rounds_of,
    seed_size,
)
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


def test_a_task_that_brings_its_seed_set_divides_what_is_left_among_rounds(tmp_path: Path) -> None:
    own = {"mine": {"base": "s3", "seed_share": 0.5, "steps": 4, "growth": 2}, "half": {"base": "s3", "budget": 0.5}}
    task = write_task(tmp_path, rows=ROWS, strategies=own, seed_rows="seed.csv")
    # No row of the seed set is asked for, so its share of the budget is nobody's.
    assert {name: (budget(arm_task(task, name, 0)), sizes(arm_task(task, name, 0))) for name in ("s3", "mine")} == {
        "s3": (400, [0, 200, 200]),
        "mine": (400, [0, 27, 53, 107, 213]),
    }
    assert sizes(arm_task(task, "half", 0)) == [0, 100, 100]
    assert sizes(arm_task(task, "default", 0)) == [0, 133, 134, 133]


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        # 5 rows a label, where the share is less; rounds take the rest.
        (10, {"seed_share": 0.05}, [50, 175, 175]),
        (2, {"seed_share": 0.01}, [10, 195, 195]),
        (10, {"seed_share": 0.5}, [200, 100, 100]),
        # Half the budget at most.
        (60, {"seed_share": 0.05}, [200, 100, 100]),
        (60, {"seed_share": 0.75}, [300, 50, 50]),
        # The task's own size is what it is.
        (60, {}, [200, 100, 100]),
        # Rows that are verified take three.
        (10, {"seed_share": 0.05, "verify": "teacher"}, [50, 42, 41]),
    ],
)
def test_the_seed_set_has_rows_of_each_label(
    tmp_path: Path, labels: int, options: dict[str, Any], expected: list[int]
) -> None:
    named = {f"l{place}": f"The {place}th." for place in range(labels)}
    own = {"mine": {"base": "s3", **options}}
    task = write_task(tmp_path, rows={"seed": 200, "per_round": 100}, strategies=own, labels=named)
    assert SEED_ROWS_OF_A_LABEL == 5
    assert sizes(arm_task(task, "mine", 0)) == expected


@pytest.mark.parametrize(("teacher", "left"), [("openai", 195), ("embedded", 200)])
def test_questions_about_errors_come_off_the_rows_of_a_teacher_that_answers_them(
    tmp_path: Path, teacher: str, left: int
) -> None:
    own = {"mine": {"base": "s3", "shows": ["diagnosis"]}, "steps": {"base": "s3", "shows": ["diagnosis"], "steps": 2}}
    at = {"backend": "embedded"} if teacher == "embedded" else {"base_url": "http://127.0.0.1:9/v1"}
    task = write_task(tmp_path, rows=ROWS, strategies=own, teacher=at)
    for name in own:
        assert sizes(arm_task(task, name, 0)) == [400, left, left]
        assert most_diagnoses(arm_task(task, name, 0)) == 200 - left


@pytest.mark.parametrize("questions", [1, 2, 5])
def test_two_questions_are_planned_for_a_row_however_many_it_may_take(tmp_path: Path, questions: int) -> None:
    task = write_task(
        tmp_path, rows=ROWS, strategies={"mine": {"base": "s3", "verify": "teacher"}}, verify={"questions": questions}
    )
    own = arm_task(task, "mine", 0)
    assert asked_for_a_row(own) == 3
    assert sizes(own) == [133, 67, 67]


def test_label_questions_of_the_strategy_come_off_the_rows(tmp_path: Path) -> None:
    # Two questions a row at most: a row and its questions take three.
    own = sized(tmp_path, verify="teacher", seed_share=0.25)
    assert [size * 3 for size in sizes(own)] == pytest.approx([200, 300, 300], abs=2)


def test_every_shipped_strategy_spends_no_more_than_its_budget(tmp_path: Path) -> None:
    for name, how in presets().items():
        if how.synthetic and not how.one_each:
            own = sized(tmp_path / name.replace("+", "_"), name)
            assert sum(sizes(own)) <= budget(own) == how.budget * 800, name
