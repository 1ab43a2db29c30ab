"""A pair task through two rounds: contexts, texts and labels from gold to the second round's seed set."""

import polars as pl
import pytest

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import (
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import facts, obliging, scripted_teacher, write_task

# Twenty contexts, four hypotheses each; whether one follows has nothing to learn from, so errors are certain.
GOLD = "premise,hypothesis,verdict\n" + "".join(
    f"The {place} boats lie in harbour {place // 4}.,Boat {place} is at home.,{('entailment', 'neutral')[place % 2]}\n"
    for place in range(80)
)


@pytest.fixture
def two_rounds(tmp_path, tiny_student):
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path,
            GOLD,
            kind="pair",
            fields={"text": "premise", "text2": "hypothesis", "label": "verdict"},
            labels={"entailment": "The second follows from the first.", "neutral": "It may or may not hold."},
            teacher={"base_url": teacher.url},
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        for round_ in range(2):
            make_seed_set(task, warehouse, round_)
            make_trained_model(task, warehouse, round_)
            make_error_set(task, warehouse, round_)
            make_extrapolated_set(task, warehouse, round_)
        yield task, warehouse, teacher


def test_contexts_come_from_steering_gold_and_stay_as_written(two_rounds):
    task, warehouse, teacher = two_rounds

    def live(name, round_):
        return warehouse.live(name, loop_key(task, round_).columns()).read()

    gold = warehouse.live("gold", {"task": task.name}).read()
    steer = gold.filter(pl.col("split") == "steer")
    first, second = live("seed_set", 0), live("seed_set", 1)
    assert first.height == 24
    assert set(second["text"]) <= set(steer["text"])
    assert second["text2"].null_count() == 0
    added = second.filter(pl.col("origin") == "extrapolated")
    assert added.height == live("extrapolated_set", 0).height > 0
    # An extrapolated pair keeps the context of the error it came from, and its label.
    origin = added.join(live("error_set", 0), on="gold_id", suffix="_of_error")
    assert origin.height == added.height
    assert origin.filter(
        (pl.col("text") != pl.col("text_of_error")) | (pl.col("label") != pl.col("label_of_error"))
    ).is_empty()
    asked = [facts(body) for body in teacher.bodies]
    assert all("rationales" not in inputs for inputs in asked)
    assert {inputs["given"]["text"] for inputs in asked} <= set(steer["text"])
