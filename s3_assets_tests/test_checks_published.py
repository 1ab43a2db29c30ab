"""What blocks a set, and what is noted of its checks when it becomes live or does not."""

import json
import logging

import pytest

from s3_assets.loop.checks import BLOCKING, Check, ChecksFailed, check_rows, check_training_set, note, read_note
from s3_assets.loop.fingerprints import GOLD
from s3_assets.loop.publish import WARNINGS, publish
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets_tests.checked_rows import LABELS, TEXT, own_rows_task, texts

# -- blocking ----------------------------------------------------------------------------------------------------------


def test_labels_must_be_declared_and_no_row_may_be_gold():
    gold = texts("A gold  text", split=["test"])
    bad = check_rows(texts("a GOLD text", "other", label=["positive", "odd"]), gold, LABELS, TEXT, TEXT)
    assert [(check.name, check.passed, check.blocking) for check in bad] == [
        ("labels_known", False, True),
        ("no_gold_text", False, True),
    ]
    assert "odd" in bad[0].detail
    assert bad[1].detail == "0 rows are steering texts, 1 overlap selecting or test gold"
    good = check_rows(texts("x", "y", label=LABELS), gold, LABELS, TEXT, TEXT)
    words = [f"w{number}" for number in range(20)]
    held_out = texts(" ".join(words), split=["select"])
    near = check_rows(texts(" ".join(words[:14]), label=["positive"]), held_out, LABELS, TEXT, TEXT)
    assert [check.passed for check in near] == [True, False]
    assert near[1].detail == "0 rows are steering texts, 1 overlap selecting or test gold"
    assert all(check.passed for check in good)


def test_every_class_must_have_rows():
    gold = texts("a gold text", split=["test"])
    *_, bad = check_training_set(texts("x", label=["positive"]), gold, LABELS, TEXT, TEXT)
    assert (bad.name, bad.passed, bad.detail) == ("every_class_has_rows", False, "labels without rows: ['negative']")
    *_, good = check_training_set(texts("x", "y", label=LABELS), gold, LABELS, TEXT, TEXT)
    assert good.passed


def test_what_blocks_is_what_these_two_find():
    gold = texts("a gold text", split=["test"])
    made = check_training_set(texts("x", label=["positive"]), gold, LABELS, TEXT, TEXT)
    assert {check.name for check in made if check.blocking} == BLOCKING


# -- publishing --------------------------------------------------------------------------------------------------------


def test_checks_are_noted_and_read_back():
    checks = [Check("one", False, "why", blocking=False, numbers={"share": 0.25, "rows": 3}), Check("two", True, "")]
    assert read_note(note(checks)) == checks


def test_a_failed_set_names_what_blocked_it_and_nothing_else():
    checks = [Check("first", True, "a"), Check("second", False, "b"), Check("third", False, "c", blocking=False)]
    error = ChecksFailed("the set", checks)
    assert str(error) == "the set was not made live. second: b"
    assert error.checks == tuple(checks)


@pytest.fixture
def judged(small_task, tmp_path):
    """Publishes the task's gold with a warning; gives how often it was looked for."""
    warehouse, looked = Warehouse(tmp_path / "warehouse"), []
    make_gold(small_task, Warehouse(tmp_path / "other"))
    rows = Warehouse(tmp_path / "other").live("gold", {"task": "small"}).read()

    def warn(found, _):
        looked.append(found.height)
        return [Check("costly", False, "a reason", blocking=False, numbers={"share": 0.5})]

    def make(task=small_task, check=None, **how):
        return publish(task, warehouse, GOLD, 0, lambda _: (rows, {}), check, warn=warn, **how)

    make.looked = looked
    return make


def test_a_warning_keeps_nothing_from_becoming_live_and_is_logged(judged, caplog):
    with caplog.at_level(logging.WARNING, logger="s3_assets"):
        made = judged()
    assert [check.name for check in made.checks] == ["costly"]
    assert caplog.messages == ["gold of round 0: costly: a reason"]
    assert json.loads(made.part.metadata()[WARNINGS])[0]["numbers"] == {"share": 0.5}


def test_warnings_are_not_looked_for_again_when_the_part_is_reused(judged, caplog):
    made, again = judged(), judged()
    assert again.reused
    assert list(again.checks) == list(made.checks)
    assert len(judged.looked) == 1
    assert len(caplog.messages) == 1
    judged(force=True)
    assert len(judged.looked) == 2


def test_parts_without_noted_warnings_are_looked_at(small_task, judged, monkeypatch):
    monkeypatch.setattr("s3_assets.loop.publish.WARNINGS", "something else")
    judged()
    monkeypatch.undo()
    again = judged()
    assert again.reused
    assert [check.name for check in again.checks] == ["costly"]


def test_a_blocked_set_tells_its_warnings_too(judged):
    with pytest.raises(ChecksFailed, match=r"not made live\. blocks: no$") as failed:
        judged(check=lambda *_: [Check("blocks", False, "no")])
    assert [check.name for check in failed.value.checks] == ["blocks", "costly"]


def test_what_was_true_when_a_part_was_made_stays_with_it(tmp_path):
    """Six rows of one label, one of the other: live, with a warning, which a second time is the same."""
    task, warehouse = own_rows_task(tmp_path), Warehouse(tmp_path / "warehouse")
    make_gold(task, warehouse)
    made, again = make_seed_set(task, warehouse, 0), make_seed_set(task, warehouse, 0)
    warned = {check.name for check in made.checks if not check.passed}
    assert "labels_balanced" in warned
    assert again.reused
    assert list(again.checks) == list(made.checks)
