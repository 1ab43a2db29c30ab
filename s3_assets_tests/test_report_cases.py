"""The report where rounds are under way, all gold steers, or texts hold markup."""

import re

import polars as pl
import pytest

from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.report.examples import read_examples
from s3_assets.report.facts import read_facts
from s3_assets.report.map import read_map
from s3_assets.report.page import read_report, render
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.report_pages import NOW, Page, embedded, make_rounds, page_of, part, write_vectors


@pytest.fixture(scope="module")
def task(tmp_path_factory, tiny_student):
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    return write_task(tmp_path_factory.mktemp("report"), student=student, rounds=3)


def test_errors_on_the_map_are_those_of_the_newest_student(task, tmp_path):
    found = Warehouse(tmp_path / "warehouse")
    make_rounds(task, found, 2)
    gold = found.live("gold", {"task": "small"}).read()
    write_vectors(found, task, [gold, part(found, "seed_set", task, 1)])
    make_extrapolated_set(task, found, 1)
    make_seed_set(task, found, 2)
    write_vectors(found, task, [gold, part(found, "seed_set", task, 2)])
    shown = read_map(embedded(task), found, [0, 1, 2])
    assert shown.last_round == 1
    assert sum(point.error for point in shown.points) == part(found, "error_set", task, 1).height > 0


def test_where_all_gold_steers_it_is_shown_as_what_it_is_used_for(tmp_path, tiny_student):
    """With ``steers: dev`` rows that the table gold has for selecting are steering gold, errors among them."""
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    task, found = write_task(tmp_path, strategy="default", student=student), Warehouse(tmp_path / "warehouse")
    make_rounds(task, found, 2)
    gold = found.live("gold", {"task": "small"}).read()
    write_vectors(found, task, [gold, part(found, "seed_set", task, 1)])
    dev = gold.filter(pl.col("split") != "test")
    facts = read_facts(task, found)
    assert facts.gold == {"steer": dev.height, "select": 0, "test": gold.height - dev.height}
    assert facts.rounds[0].figures.steer.rows == dev.height
    errors = part(found, "error_set", task, 1)
    steered = gold.filter(split="select")["gold_id"].to_list()
    assert set(errors["gold_id"]) & set(steered)
    shown = page_of(embedded(task), found)
    heads = [one["text"].split("\n")[0] for one in shown.all("title") if "g" in one["path"]]
    assert heads.count("Steering gold, error in round 1") == errors.height
    assert heads.count("Steering gold") == dev.height - errors.height
    # What is held out is steering gold, judged by folds: the same line would be drawn twice.
    header, *_ = shown.table("Scores by round")
    assert [name for name in header if name.endswith(", %")] == ["steering gold, %", "test gold, %"]
    assert "selecting gold" not in shown.text
    assert "judged by students of folds" in shown.text
    assert f"{dev.height} steering, 0 selecting" in shown.text
    assert not [text for text in gold.filter(split="test")["text"] if text in shown.text]
    texts = {row["text"]: row["gold_id"] for row in dev.to_dicts()}
    first, written = part(found, "error_set", task, 0), part(found, "extrapolated_set", task, 0)["gold_id"].to_list()
    last = errors["gold_id"].to_list()
    expected = [
        of_kind.sort(~pl.col("gold_id").is_in(written), -pl.col("loss"), "gold_id").head(3)["gold_id"].to_list()
        for of_kind in (first.filter(~pl.col("gold_id").is_in(last)), first.filter(pl.col("gold_id").is_in(last)))
    ]
    assert {*expected[0], *expected[1]} & set(steered)
    assert [texts[one.texts[0]] for one in read_examples(task, found, [0, 1])] == [*expected[0], *expected[1]]


def test_a_round_that_is_under_way_is_shown_as_far_as_it_is(task, tmp_path):
    found = Warehouse(tmp_path / "warehouse")
    with pytest.raises(NotReady, match=r"no rounds yet.*run `s3-assets run small`"):
        read_report(task, found)
    make_gold(task, found)
    make_seed_set(task, found, 0)
    shown = page_of(embedded(task), found)
    assert shown.problems == []
    said = [one["text"] for one in shown.all("p") if one["attrs"].get("class") == "left-out"]
    assert [line.removeprefix("Left out: ").split(";")[0] for line in said] == [
        "No round has a student yet.",
        "No round has drift",
        "The vectors of these rows are not kept",
        "it takes two rounds with a student, and an error in the first.",
    ]
    header, row = shown.table("Rows by round")
    assert row[header.index("accepted")] == "24"
    # Seen at once, though views look a second back.
    make_trained_model(task, found, 0)
    assert page_of(task, found).table("Scores by round")[1][0] == "0"


def test_texts_of_gold_teacher_and_task_are_text(tmp_path, tiny_student):
    attack = "</script></title><img/src=x/onerror=alert(1)><script>alert(1)</script>"
    lines = [
        f'"film {place} of {place * 7} said so {attack}",{"positive" if place % 2 else "negative"}'
        for place in range(80)
    ]
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path / "tasks",
            "review,verdict\n" + "\n".join(lines),
            description=f"About <b>films</b> {attack}",
            teacher={"base_url": teacher.url},
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
        )
        found = Warehouse(tmp_path / "warehouse")
        make_rounds(task, found, 2)
    seed_set = part(found, "seed_set", task, 1)
    assert seed_set["text"].str.contains(re.escape("<script>")).any()
    write_vectors(found, task, [found.live("gold", {"task": "small"}).read(), seed_set])
    text = render(read_report(embedded(task), found), NOW)
    shown = Page(text)
    assert shown.problems == []
    assert len(shown.all("script")) == 1
    assert shown.all("img") == []
    assert shown.all("b") == []
    assert not [one for one in shown.elements if any(name.startswith("on") for name in one["attrs"])]
    assert "alert(1)" not in shown.all("script")[0]["text"]
    # It is there as text: in the head, on the map, among the errors.
    assert attack in shown.all("header")[0]["text"]
    assert any(attack in one["text"] for one in shown.all("title"))
    assert any(attack in one["text"] for one in shown.all("article"))
