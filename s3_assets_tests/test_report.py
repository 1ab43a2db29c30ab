"""The report: its numbers, what is left out and why, what must never be on it, the command, the asset."""

import base64
import dataclasses
import itertools
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from s3_assets.definitions import task_definitions
from s3_assets.experiment.leaderboard import leaderboard
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.report.examples import read_examples
from s3_assets.report.facts import read_facts
from s3_assets.report.map import read_map
from s3_assets.report.page import read_report, render, write_page
from s3_assets.resources import WarehouseResource
from s3_assets.store.catalog import connect, ensure_catalog
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.spec import DriftSpec
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.report_pages import Page, write_vectors
from s3_assets_tests.test_imports import imported_by
from s3_assets_tests.test_leaderboard import GOLD_ONLY, GOLDGEN, S3, rows_of

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECTIONS = ["accuracy", "drift", "map", "funnel", "cost", "examples", "sources"]


def make_rounds(task, warehouse, rounds):
    make_gold(task, warehouse)
    for round_ in range(rounds):
        for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
            make(task, warehouse, round_)
        if round_ + 1 < rounds:
            make_extrapolated_set(task, warehouse, round_)


def embedded(task):
    """The task with drift by vectors, which only matters to what is read of them here."""
    return dataclasses.replace(task, spec=task.spec.model_copy(update={"drift": DriftSpec(embeddings=True)}))


def page_of(task, warehouse):
    return Page(render(read_report(task, warehouse), NOW))


def part(warehouse, name, task, round_):
    return warehouse.live(name, loop_key(task, round_).columns()).read()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def task(place, tiny_student):
    return write_task(place / "tasks", student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0}, rounds=3)


@pytest.fixture(scope="module")
def warehouse(place, task):
    """Two rounds with vectors."""
    found = Warehouse(place / "warehouse")
    make_rounds(task, found, 2)
    gold = found.live("gold", {"task": "small"}).read()
    write_vectors(found, task, [gold, part(found, "seed_set", task, 1)])
    return found


@pytest.fixture(scope="module")
def markup(task, warehouse):
    return render(read_report(embedded(task), warehouse), NOW)


@pytest.fixture(scope="module")
def page(markup):
    return Page(markup)


@pytest.fixture(scope="module")
def page_without_vectors(task, warehouse):
    return page_of(task, warehouse)


def test_every_section_is_there_in_order_with_headings_and_captions(page):
    assert page.problems == []
    assert [one["attrs"]["id"] for one in page.all("h2") if one["attrs"]["id"] != "novelty"] == SECTIONS
    levels = [int(one["tag"][1]) for one in page.elements if re.fullmatch("h[1-6]", one["tag"])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    assert len(page.all("main")) == 1
    assert page.all("title")[0]["text"] == "small: report of rounds 0 to 1"
    ids = [one["attrs"]["id"] for one in page.elements if "id" in one["attrs"]]
    assert len(ids) == len(set(ids))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one["attrs"].get("scope") in {"col", "row"} for one in page.all("th"))
    links = {one["attrs"]["href"] for one in page.all("a")}
    assert links <= {f"#{one}" for one in ids}


def test_pictures_have_a_title_and_a_description_that_their_labels_name(page):
    pictures = page.all("svg")
    assert len(pictures) > 4
    by_id = {one["attrs"]["id"]: one for one in page.elements if "id" in one["attrs"]}
    for one in pictures:
        assert one["attrs"]["role"] == "img"
        title, description = one["attrs"]["aria-labelledby"].split()
        assert (by_id[title]["tag"], by_id[description]["tag"]) == ("title", "desc")
        assert by_id[title]["text"]
        assert by_id[description]["text"]


def test_colours_and_marks_of_pictures_are_the_pages(page):
    """No colour is fixed, and everything pointed at is there: an own palette would be lost in the dark."""
    ids = {one["attrs"]["id"] for one in page.elements if "id" in one["attrs"]}
    for one in page.elements:
        if "svg" in one["path"]:
            styled = f"{one['attrs'].get('style', '')} {one['attrs'].get('fill', '')} {one['attrs'].get('stroke', '')}"
            assert not re.search("#[0-9a-f]{6}|font-family", styled), one
            pointed = [*re.findall(r"url\(#([^)]+)\)", f"{one['attrs']}"), one["attrs"].get("href", "#main")[1:]]
            assert set(pointed) <= ids, one


def test_scores_errors_rows_and_cost_are_those_of_the_tables(page, warehouse):
    ensure_catalog(warehouse)
    with connect(warehouse) as sql:
        sql.execute("SET VARIABLE as_of = now() + INTERVAL 1 HOUR")
        found = sql.execute("SELECT * FROM rounds ORDER BY round")
        names = [column[0] for column in found.description]
        rounds = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        funnel = sql.execute(
            "SELECT asset, gate, sum(rejected)::INT, sum(accepted)::INT FROM funnel GROUP BY ALL"
        ).fetchall()
    header, *scores = page.table("Scores by round")
    for row, cells in zip(rounds, scores, strict=True):
        shown = dict(zip(header, cells, strict=True))
        assert shown["round"] == str(row["round"])
        assert shown["errors"] == str(row["errors"])
        for split, name in (("steer", "steering"), ("select", "held-out"), ("test", "test")):
            assert shown[f"{name} gold, %"] == f"{100 * row[f'{split}_accuracy']:.1f}"
            low, high = map(float, shown[f"{name} gold, 95%"].split(" to "))
            assert low < 100 * row[f"{split}_accuracy"] < high
    header, *counted = page.table("Rows by round")
    for asset, cells in zip(("seed_set", "extrapolated_set"), counted, strict=True):
        shown = dict(zip(header, cells, strict=True))
        for place, gate, rejected, accepted in funnel:
            if place == asset:
                assert shown["accepted" if gate == "accepted" else f"refused: {gate}"] == str(rejected + accepted)
    # The rows of round 1 were asked for in round 0, by another step.
    asked = [int(cells[1]) for cells in counted]
    assert sum(asked) == sum(row["rows_requested"] for row in rounds)
    header, *paid = page.table("Cost by round")
    assert sum(int(dict(zip(header, cells, strict=True))["calls"]) for cells in paid) == sum(r["calls"] for r in rounds)
    assert [cells[header.index("dollars")] for cells in paid] == ["0.0000", "0.0000"]
    gained = 100 * (rounds[1]["test_accuracy"] - rounds[0]["test_accuracy"])
    assert paid[1][header.index("points gained")] == f"{gained:+.1f}"
    assert paid[1][header.index("points per 100 asked")] == f"{100 * gained / asked[1]:+.2f}"


def test_drift_is_told_by_metric_label_and_round(page, task, warehouse):
    header, *rows = page.table("Drift by metric")
    stored = pl.concat([part(warehouse, "drift", task, round_) for round_ in range(2)])
    assert len(rows) == stored.height
    shown = {(row[0], row[1], row[2], row[3]): row[header.index("value")] for row in rows}
    for row in stored.filter(reference="gold_steer", metric="length_wasserstein").to_dicts():
        key = ("length_wasserstein", "seed set against steering gold", row["label"] or "all", str(row["round"]))
        assert float(shown[key]) == pytest.approx(row["value"], abs=5e-4)


def test_the_head_says_who_taught_and_that_it_was_simulated(page, task):
    said = dict(zip([one["text"] for one in page.all("dt")], [one["text"] for one in page.all("dd")], strict=True))
    assert said["made"] == "2026-03-04 05:06:07 UTC"
    assert said["strategy, seed"] == "s3_shown, 0"
    assert said["rounds"] == "0 to 1"
    assert said["teacher id"].startswith("embedded:")
    assert said["labels"] == "positive, negative"
    assert said["student"].startswith(task.spec.student.weights)
    assert "a grammar without a model" in page.text
    assert "Not an LLM result" in page.text


def test_it_can_be_traced_to_its_parts(page, task, warehouse):
    _, *rows = page.table("Parts the report")
    found = {(row[0], row[1]): row for row in rows}
    for round_ in range(2):
        live = warehouse.live("seed_set", loop_key(task, round_).columns())
        assert found["seed_set", str(round_)][2:] == [live.part_id, "live", live.metadata()["input_fingerprint"]]
    assert ("extrapolated_set", "1") not in found


def test_what_is_stale_is_named(page, page_without_vectors):
    """Drift by vectors is another declaration than that of the parts."""
    assert "drift of round 1 (its inputs, its declaration or the version of s3-assets changed)" in page.text
    assert "Inputs of these changed" not in page_without_vectors.text


def test_the_map_shows_steering_gold_and_the_rows_that_rounds_added(page, task, warehouse):
    steer = warehouse.live("gold", {"task": "small"}).read().filter(split="steer")
    errors = part(warehouse, "error_set", task, 1)
    rows = part(warehouse, "seed_set", task, 1)
    points = [one["text"].split("\n") for one in page.all("title") if "g" in one["path"]]
    heads = [lines[0] for lines in points]
    assert len(points) == steer.height + rows.height
    assert heads.count("Steering gold, error in round 1") == errors.height
    assert heads.count("Steering gold") == steer.height - errors.height
    for round_ in range(2):
        assert heads.count(f"Added by round {round_}") == rows.filter(first_round=round_).height
    one = errors.row(0, named=True)
    said = f"label: {one['label']}; round 1 says {one['prediction']} ({one['probability']:.2f})"
    assert ["Steering gold, error in round 1", said, one["text"]] in points


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


def test_what_a_review_left_out_is_read_from_the_part(task, warehouse, tmp_path):
    found = Warehouse(tmp_path / "warehouse")
    make_gold(task, found)
    seed_set = warehouse.live("seed_set", loop_key(task, 0).columns())
    notes = {"numbers": json.dumps({"excluded_by_review": 3})}
    found.write("seed_set", loop_key(task, 0).columns(), seed_set.read(), notes)
    (one,) = read_facts(task, found).rounds
    assert (one.excluded, one.asked) == (3, None)
    assert read_facts(task, warehouse).rounds[0].excluded == 0


def test_errors_are_followed_through_the_rounds(page, task, warehouse):
    predictions = pl.concat([part(warehouse, "predictions", task, round_) for round_ in range(2)]).filter(split="steer")
    right = (
        predictions.group_by("gold_id").agg(pl.col("correct").sort_by("round")).filter(~pl.col("correct").list.first())
    )
    titles = [one["text"].split(". ", 1)[1] for one in page.all("h3")]
    fixed = right.filter(pl.col("correct").list.last()).height
    assert titles.count("Missed by round 0, right in the last") == min(3, fixed)
    assert titles.count("Missed by every round") == min(3, right.height - fixed)
    written = part(warehouse, "extrapolated_set", task, 0)
    gold = dict(warehouse.live("gold", {"task": "small"}).read().select("text", "gold_id").iter_rows())
    for one in page.all("article"):
        (text,) = [text for text in gold if f"\n{text}\n" in one["text"]]
        assert not predictions.filter(gold_id=gold[text], round=0)["correct"].item()
        mine = written.filter(gold_id=gold[text])["text"].to_list()
        assert sum(text in one["text"] for text in mine) >= min(3, len(mine))


def test_predictions_of_an_earlier_version_are_read_beside_new_ones(task, warehouse, tmp_path):
    found = Warehouse(tmp_path / "warehouse")
    found.write("gold", {"task": "small"}, warehouse.live("gold", {"task": "small"}).read())
    for round_ in range(2):
        key, said = loop_key(task, round_).columns(), part(warehouse, "predictions", task, round_)
        written = found.write("predictions", key, said)
        if round_ == 0:
            said.drop("margin").write_parquet(written.path)
            found.write("extrapolated_set", key, part(warehouse, "extrapolated_set", task, round_))
    assert read_examples(task, found, [0, 1]) == read_examples(task, warehouse, [0, 1]) != []


def test_no_text_of_test_or_selecting_gold_is_on_it(page, warehouse):
    gold = warehouse.live("gold", {"task": "small"}).read()
    held = gold.filter(pl.col("split") != "steer")["text"].to_list()
    assert not [text for text in held if text in page.text]
    assert [text for text in gold.filter(split="steer")["text"] if text in page.text]


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


def test_nothing_is_asked_of_anyone(page, markup):
    (policy,) = [one["attrs"]["content"] for one in page.all("meta") if "http-equiv" in one["attrs"]]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    for one in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert one["attrs"].get(name, "#").startswith(("#", "data:image/png;base64,")), one
    assert "@import" not in markup
    assert not re.search(r"url\((?!#)", markup)
    # The SVG namespace is a name, not an address that is asked.
    assert set(re.findall("https?://[^\"' ]+", markup)) <= {"http://www.w3.org/2000/svg"}


def test_the_same_warehouse_gives_the_same_page(markup, task, warehouse):
    later = render(read_report(embedded(task), warehouse), NOW.replace(second=8))
    assert markup.replace("05:06:07", "05:06:08") == later


def test_without_vectors_the_map_says_why_it_is_left_out(page_without_vectors):
    shown = page_without_vectors
    assert "Left out: The task declares drift.embeddings: false" in shown.text
    assert [one["attrs"]["id"] for one in shown.all("h2") if one["attrs"]["id"] != "novelty"] == SECTIONS
    assert "map-series" not in {one["attrs"].get("id") for one in shown.elements}


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


def test_a_leaderboard_is_shown_with_its_picture(task, warehouse, tmp_path):
    rows = rows_of(GOLD_ONLY, GOLDGEN, S3)
    found = Warehouse(tmp_path / "warehouse")
    make_gold(task, found)
    make_seed_set(task, found, 0)
    for one in rows.partition_by("arm", "seed"):
        found.write("experiment", one.select("task", "arm", "seed").row(0, named=True), one)
    board = leaderboard("small", rows)
    found.write("leaderboard", {"task": "small"}, board, {"inputs": json.dumps({"all": None})})
    shown = page_of(task, found)
    header, *arms = shown.table("Arms, with")
    assert [row[0] for row in arms] == board["arm"].to_list()
    assert arms[0][header.index("mean test score, %")] == f"{100 * board['score_mean'][0]:.1f}"
    (picture,) = shown.all("img")
    assert base64.b64decode(picture["attrs"]["src"].partition(",")[2]).startswith(b"\x89PNG")
    assert picture["attrs"]["alt"]


def test_the_command_writes_one_file_and_names_it(command, place, warehouse, monkeypatch, tmp_path):
    monkeypatch.setenv("S3_ASSETS_TASKS", str(place / "tasks"))
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(warehouse.root))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert command("report", "small") == (0, "report_small.html\n", "")
    assert [one.name for one in (tmp_path / "here").iterdir()] == ["report_small.html"]
    assert Page((tmp_path / "here" / "report_small.html").read_text()).problems == []
    with monkeypatch.context() as nothing_read:
        nothing_read.setattr("s3_assets.report.page.read_report", None)
        for folder in (".", "", "/", str(tmp_path)):
            code, _, said = command("report", "small", "--to", folder)
            assert (code, said) == (2, f"{Path(folder)}: is a folder; give --to a file\n")
        code, _, said = command("report", "small", "--to", str(tmp_path / "nowhere" / "a.html"))
    assert code == 2
    assert "a.html: cannot be written (No such file or directory); give --to a file in a folder that exists" in said
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path / "empty"))
    code, _, said = command("report", "small")
    assert code == 2
    assert said == "small has no rounds yet, so there is nothing to report; run `s3-assets run small`\n"


def test_a_page_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path):
    file = tmp_path / "report.html"
    write_page(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_page(file, "\ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_the_ui_shows_of_the_report(task, warehouse, instance):
    definitions = task_definitions(task, WarehouseResource(path=str(warehouse.root)))
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "report"])])
    (event,) = done.get_asset_materialization_events()
    shown = event.materialization.metadata
    file = warehouse.root / shown["file"].value
    assert shown["file"].value == "reports/small.html"
    assert shown["bytes"].value == file.stat().st_size
    assert Page(file.read_text()).problems == []
    assert shown["rounds"].value == 2
    model = part(warehouse, "trained_model", task, 1).row(0, named=True)
    assert shown["test_score"].value == pytest.approx(model["test_accuracy"], abs=1e-4)
    # No map: the task's texts have no vectors.
    assert "map" not in shown
    for name in ("accuracy", "drift", "rows"):
        start = f"![{name}](data:image/png;base64,"
        assert shown[name].value.startswith(start)
        assert base64.b64decode(shown[name].value[len(start) : -1]).startswith(b"\x89PNG")


def test_a_report_of_nothing_says_what_to_run(task, tmp_path, instance):
    definitions = task_definitions(task, WarehouseResource(path=str(tmp_path / "empty")))
    job = definitions.resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.Failure, match="run `s3-assets run small`"):
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "report"])])


def test_the_asset_has_no_table_and_stands_with_what_compares(task):
    (found,) = [one for one in task_definitions(task, WarehouseResource()).assets if one.key.path[-1] == "report"]
    spec = found.specs_by_key[found.key]
    assert spec.group_name == "small_compared"
    assert {key.path[-1] for dep in spec.deps for key in [dep.asset_key]} == {"error_set", "drift"}
    assert "dagster/column_schema" not in spec.metadata
    assert "select * from" not in spec.description
    assert spec.kinds == {"html", "matplotlib"}
    assert found.partitions_def is None


def test_a_report_is_made_without_torch(place, task, warehouse):
    code = f"""
from datetime import UTC, datetime
from pathlib import Path
from s3_assets.report.examples import read_examples
from s3_assets.report.facts import read_facts
from s3_assets.report.map import read_map
from s3_assets.report.page import read_report, render
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import load_task
task, warehouse = load_task(Path({str(task.folder)!r})), Warehouse(Path({str(warehouse.root)!r}))
render(read_report(task, warehouse), datetime.now(UTC))"""
    assert not imported_by(code) & {"torch", "transformers", "dagster", "openai"}
