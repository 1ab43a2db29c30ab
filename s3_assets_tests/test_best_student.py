"""Which saved student is meant where none is named: ranked by held-out gold, live, and why it is the one."""

from dataclasses import replace

import polars as pl
import pytest

from s3_assets.loop.best_student import choose_student
from s3_assets.loop.fingerprints import GOLD, TRAINED_MODEL, loop_key
from s3_assets.loop.publish import publish
from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets_tests.fakes import write_task

HELD_OUT = 8


def keep(task, warehouse, round_, save, right=4, *, selects=True, f1=None, **scores):
    """A live round whose student ``save`` writes to a folder, with the first ``right`` of 8 held-out rows right.

    ``right`` may be the places of the rows that are. Held out are rows that select, or steering rows of a fold. What is
    said of all other gold, of test gold too, is right where that of held-out gold is wrong. ``scores`` replace columns
    of ``trained_model``.
    """
    places = range(right) if isinstance(right, int) else right
    key = loop_key(task, round_)

    def make(inputs):
        folder = warehouse.model_folder(key) / "m"
        save(folder)
        gold = inputs[GOLD].read().filter(pl.col("split") == "steer").head(HELD_OUT)
        labels = list(task.spec.labels)
        schema = table("predictions").schema
        held_out, others = (("select", None), [("steer", None)]) if selects is True else (("steer", 1), [])
        rows = [
            {**key.columns(), "model_id": "m", "gold_id": row["gold_id"], "label": row["label"]}
            | {"split": split, "fold": fold, "prediction": labels[place % len(labels)]}
            | {"correct": (place in places) is held, "f1": f1 if held or f1 is None else 1 - f1}
            for split, fold in (held_out, *others, ("test", None))
            for held in ((split, fold) == held_out,)
            for place, row in enumerate(gold.to_dicts())
        ]
        rows = [] if selects is None else rows
        said = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
        warehouse.write("predictions", key.columns(), said)
        model = {"model_id": "m", "path": str(folder.relative_to(warehouse.root))}
        accuracy = None if selects is None else len(places) / HELD_OUT
        own = {**key.columns(), **model, "select_accuracy": accuracy, **scores}
        return pl.DataFrame([own], schema=table(TRAINED_MODEL).schema), {}

    # One version whatever it holds: what was made of an earlier one stays live.
    publish(task, warehouse, TRAINED_MODEL, round_, make, version=lambda _: "same", force=True)


def empty(folder):
    """Weights that nobody loads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").touch()


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """A task with three rounds that are live."""
    place = tmp_path_factory.mktemp("best")
    task, warehouse = write_task(place / "tasks", rounds=3), Warehouse(place / "warehouse")
    make_gold(task, warehouse)
    for round_ in range(3):
        make_seed_set(task, warehouse, round_)
        keep(task, warehouse, round_, empty)
        if round_ < 2:
            make_error_set(task, warehouse, round_)
            make_extrapolated_set(task, warehouse, round_)
    return task, warehouse


def rounds(loop, *right, **more):
    """The three rounds anew, with so many held-out rows right each."""
    for round_, count in enumerate(right):
        keep(*loop, round_, empty, count, **more)


def test_the_best_round_where_later_ones_are_clearly_below_it(loop):
    task, warehouse = loop
    rounds(loop, 3, 7, 5)
    found = choose_student(task, warehouse)
    assert found.round == 1
    assert found.why == "round 1 of 0-2: best on selecting gold (87.5% of 8 rows right)"
    assert found.folder == warehouse.root / "models" / "small" / "s3_shown" / "seed=0" / "round_01" / "m"
    assert found.folder.is_absolute()
    assert (found.row["model_id"], found.row["round"], found.row["select_accuracy"]) == ("m", 1, 0.875)


def test_a_later_round_that_is_not_clearly_below_the_best(loop):
    """A row of 8 is one standard error; a net row is less than one where three change sides."""
    rounds(loop, 3, 6, 5)
    found = choose_student(*loop)
    assert found.round == 2
    assert (
        found.why
        == "round 2 of 0-2: latest not clearly below round 1 (75.0%) on selecting gold (62.5% of 8 rows right)"
    )
    rounds(loop, 7, (0, 1, 2, 3, 4, 7), (3, 4))
    assert choose_student(*loop).round == 1


def test_of_equals_the_latest(loop):
    rounds(loop, 3, 6, 6)
    found = choose_student(*loop)
    assert (found.round, found.why) == (2, "round 2 of 0-2: best on selecting gold (75.0% of 8 rows right)")


def test_steering_gold_judged_by_students_of_folds_where_none_selects(loop):
    rounds(loop, 3, 5, 6, selects=False)
    found = choose_student(*loop)
    assert found.round == 2
    assert "best on steering gold, judged by students of folds as no gold selects (75.0% of 8 rows right)" in found.why


def test_questions_go_by_f1(loop):
    task, warehouse = loop
    for round_, score in enumerate((0.7, 0.5, 0.6)):
        keep(task, warehouse, round_, empty, 4 + round_, f1=score)
    assert choose_student(task, warehouse).round == 0


def test_without_held_out_gold_the_last(loop):
    rounds(loop, 4, 4, 4, selects=None)
    found = choose_student(*loop)
    assert found.round == 2
    assert found.why == "round 2 of 0-2: the last, as no held-out gold judged any of them"
    keep(*loop, 1, empty)
    found = choose_student(*loop)
    assert found.round == 1
    assert "passed over: round 0, which no held-out gold judged, round 2, which no held-out gold judged" in found.why


def test_a_round_that_is_asked_for(loop):
    rounds(loop, 3, 6, 5)
    found = choose_student(*loop, round_=0)
    assert (found.round, found.why) == (0, "round 0 of 0-2: asked for")
    with pytest.raises(
        NotReady, match=r"round 3 of task small is missing .*with a student: 0-2; task small allows rounds 0-2"
    ):
        choose_student(*loop, round_=3)


def test_rounds_that_are_not_live_are_passed_over_and_named(loop):
    task, warehouse = loop
    rounds(loop, 3, 7, 5)
    best = choose_student(task, warehouse)
    weights = best.folder / "model.safetensors"
    weights.unlink()
    found = choose_student(task, warehouse)
    # What was written from the errors of that round is of no student any more.
    assert found.round == 0
    assert "; passed over: round 1, which is stale (its weights are gone from models/small/" in found.why
    assert found.why.endswith(", round 2, which is stale (seed_set of round 2 is stale)")
    with pytest.raises(
        NotReady, match=r"round 1 .* is stale \(its weights are gone .*run `s3-assets run small --rounds 0-1`"
    ):
        choose_student(task, warehouse, 1)
    weights.touch()
    changed = replace(task, spec=task.spec.model_copy(update={"seed_rows": None, "description": "Another task."}))
    with pytest.raises(NotReady, match=r"no student that is live \(round 0: .*round 2: .*--rounds 0-2`, or take back"):
        choose_student(changed, warehouse)


def test_students_that_were_not_kept(loop):
    task, warehouse = loop
    arm = replace(task, keeps_weights=False)
    rounds(loop, 8, 3, 3)
    keep(task, warehouse, 0, empty, 8, path=None)
    with pytest.raises(NotReady, match="round 0 of task small was measured and not kept"):
        choose_student(arm, warehouse)


def test_a_task_without_rounds(tmp_path):
    task, warehouse = write_task(tmp_path), Warehouse(tmp_path / "warehouse")
    with pytest.raises(NotReady, match="task small has no student yet; run `s3-assets run small`"):
        choose_student(task, warehouse)
    with pytest.raises(
        NotReady, match=r"round 1 of task small is missing \(never made, or reset\); run .*--rounds 0-1`"
    ):
        choose_student(task, warehouse, 1)
