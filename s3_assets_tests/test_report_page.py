"""The report of two rounds: its numbers against the tables, what is left out and why, what must never be on it."""

import base64
import itertools
import json
import re

import polars as pl
import pytest

from s3_assets.experiment.leaderboard import leaderboard
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.report.examples import read_examples
from s3_assets.report.facts import read_facts
from s3_assets.report.page import read_report, render
from s3_assets.store.catalog import connect, ensure_catalog
from s3_assets.store.parts import Warehouse
from s3_assets_tests.boards import GOLD_ONLY, GOLDGEN, S3, rows_of
from s3_assets_tests.fakes import write_task
from s3_assets_tests.report_pages import NOW, Page, embedded, page_of, part, two_rounds

SECTIONS = ["accuracy", "drift", "map", "funnel", "cost", "examples", "sources"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def task(place, tiny_student):
    return write_task(place / "tasks", student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0}, rounds=3)


@pytest.fixture(scope="module")
def warehouse(place, task):
    return two_rounds(task, place / "warehouse")


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
