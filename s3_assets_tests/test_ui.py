"""The Dagster UI as a person uses it: a headless Chromium reads and clicks the pages of a real ``dg dev``.

Run by ``make test-ui``. The tests build on each other in the order they stand here.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest

from s3_assets.assets.common import CHECK_DESCRIPTIONS
from s3_assets.assets.gold import DESCRIPTION
from s3_assets.loop.checks import BLOCKING, ROWS_CHECKS, TRAINING_SET_CHECKS
from s3_assets.loop.quality_checks import BEATS_MAJORITY, ROWS_WARNINGS, SEED_SET_WARNINGS, SPLITS_APART
from s3_assets.store.parts import RoundKey
from s3_assets.store.tables import table
from s3_assets.tasks.presets import arms_with
from s3_assets_tests.dev_server import DevServer, small_task_server

pytestmark = pytest.mark.ui

UPSTREAM = {
    "gold": [],
    "seed_set": ["gold"],
    "trained_model": ["gold", "seed_set"],
    "error_set": ["gold", "trained_model"],
    "drift": ["gold", "seed_set"],
    "extrapolated_set": ["error_set", "gold", "seed_set"],
}
KINDS = {
    "gold": ["Parquet", "Polars"],
    "seed_set": ["embedded", "Parquet"],
    "trained_model": ["Hugging Face", "Parquet", "PyTorch"],
    "error_set": ["Parquet", "Polars"],
    "drift": ["Parquet", "SciPy"],
    "extrapolated_set": ["embedded", "Parquet"],
}
CHECKS = {
    "gold": [SPLITS_APART],
    "seed_set": [*TRAINING_SET_CHECKS, *SEED_SET_WARNINGS],
    "trained_model": [BEATS_MAJORITY],
    "extrapolated_set": [*ROWS_CHECKS, *ROWS_WARNINGS],
}
GRAPH = "/locations/__repository__@s3_assets/asset-groups/small"
ROUND = RoundKey("small", "s3_shown", 0, 0).columns()
RUN_SECONDS = 240


@dataclass
class Browser:
    """A page, and everything that went wrong on it."""

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> Any:
        self.page.goto(self.url + path)
        self.page.get_by_role("link", name="Deployment").wait_for()
        return self.page

    def row_count(self) -> str:
        """Row count of the asset without partitions whose page is open."""
        return self.page.get_by_text("Row count", exact=True).locator("..").inner_text().splitlines()[-1]

    def metadata(self, key: str) -> str:
        """Value of a metadata entry on the asset page that is open; tables as lines of cells parted by tabs."""
        # The columns above may have the same name; the name stands in a cell of its own.
        row = self.page.get_by_role("row").filter(
            has=self.page.get_by_role("cell", name=key, exact=True), has_text=re.compile(r"\d:\d\d [AP]M")
        )
        return row.get_by_role("cell").nth(2).inner_text().strip()

    def wait_for_run(self) -> None:
        """Go to the run that was just launched, and see it succeed."""
        self.page.get_by_text("Launched run").wait_for()
        self.page.get_by_text("View", exact=True).last.click()
        self.page.wait_for_url("**/runs/*")
        ended = self.page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
        ended.wait_for(timeout=RUN_SECONDS * 1000)
        assert ended.inner_text() == "Success", self.page.locator("body").inner_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[DevServer]:
    with small_task_server(tmp_path_factory.mktemp("ui")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(server) -> Iterator[Browser]:
    # Installed by `make test-ui`, not with the other tools.
    from playwright.sync_api import sync_playwright

    program = os.environ.get("S3_ASSETS_CHROMIUM") or shutil.which("chromium")
    assert program, "no chromium on the PATH: install it, or name it in S3_ASSETS_CHROMIUM"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program) as started:
        # High and wide enough for nodes of the graph to be drawn in full and pages to show all of their rows.
        page = started.new_page(viewport={"width": 2200, "height": 2600}, color_scheme="light")
        browser = Browser(page, server.url)
        page.on("console", lambda said: browser.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: browser.problems.append(str(error)))
        page.on("response", lambda got: browser.problems.append(got.url) if got.status >= 400 else None)
        browser.open("/")
        yield browser


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    chromium.problems.clear()
    yield chromium
    assert chromium.problems == []


def test_the_code_location_is_loaded_and_nothing_warns(browser):
    page = browser.open("/deployment/locations")
    page.get_by_text("Loaded", exact=True).wait_for()
    page.get_by_text("1 code location", exact=True).wait_for()
    assert page.get_by_text("s3_assets.definitions").count() > 0
    assert not re.findall("(?i).*(?:warning|error|failed).*", page.locator("body").inner_text())


def test_the_graph_shows_all_assets_kinds_and_edges(browser):
    page = browser.open(GRAPH)
    page.get_by_text("Asset Group in").wait_for()
    # The last thing drawn of the nodes of partitioned assets.
    page.get_by_text("0% filled").nth(4).wait_for()
    drawn = {}
    for node in page.locator("foreignObject > div").all():
        lines = node.inner_text().splitlines()
        if lines and lines[0] in UPSTREAM:
            drawn[lines[0]] = lines
    assert sorted(drawn) == sorted(UPSTREAM)
    for name, kinds in KINDS.items():
        assert sorted(drawn[name][-len(kinds) :], key=str.lower) == sorted(kinds, key=str.lower), drawn[name]
        assert ("3 partitions" in drawn[name]) == (name != "gold")
        checks = f"0 / {len(CHECKS[name])} Passed" if name in CHECKS else "\N{EN DASH}"
        assert drawn[name][drawn[name].index("Asset checks") + 1] == checks
    # Three more lead to the group that compares: from gold, and from what the report is made of.
    assert page.locator("path[marker-end]").count() == sum(map(len, UPSTREAM.values())) + 3


def test_comparing_is_a_group_of_its_own_with_a_partition_for_each_arm_and_seed(browser):
    page = browser.open(f"{GRAPH}_compared")
    page.get_by_text(f"{len(arms_with({})) * 3:,} partitions").wait_for()
    page.get_by_text("leaderboard", exact=True).first.wait_for()
    page = browser.open("/assets/small/experiment?view=partitions")
    for name in ("goldgen", "paper", "goldgen+gold", "seed_02"):
        page.get_by_text(name, exact=True).first.wait_for()


@pytest.mark.parametrize("name", UPSTREAM)
def test_an_asset_page_tells_group_and_edges(browser, name):
    page = browser.open(f"/assets/small/{name}")
    page.get_by_text("Upstream assets", exact=True).wait_for()
    shown = {}
    for title in ("Upstream assets", "Downstream assets", "Group"):
        links = page.get_by_text(title, exact=True).locator("..").get_by_role("link")
        shown[title] = [text.splitlines()[0].removeprefix("small / ") for text in links.all_inner_texts()]
    assert shown["Upstream assets"] == sorted(UPSTREAM[name])
    compared = {"gold": ["experiment"], "error_set": ["report"], "drift": ["report"]}.get(name, [])
    below = [below for below, above in UPSTREAM.items() if name in above]
    assert shown["Downstream assets"] == sorted(below + compared)
    assert shown["Group"] == ["small"]
    # Assets of two tasks write one table; they must not be taken for one another.
    assert page.get_by_text("Linked asset").count() == 0


def test_an_asset_page_describes_the_asset_and_its_columns(browser):
    page = browser.open("/assets/small/gold")
    page.get_by_text(DESCRIPTION.splitlines()[0], exact=True).wait_for()
    page.get_by_text("select * from gold where task = 'small'", exact=True).wait_for()
    for column in table("gold").columns:
        row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=column.name, exact=True))
        assert column.comment in row.inner_text()
    page = browser.open("/assets/small/seed_set?view=partitions")
    page.get_by_text("Missing (3)").wait_for()
    for round_ in ("round_00", "round_01", "round_02"):
        assert page.get_by_text(round_, exact=True).count() > 0


def test_gold_is_materialized_by_a_click(browser, server):
    page = browser.open("/assets/small/gold")
    page.get_by_role("button", name=re.compile("Materialize$")).click()
    browser.wait_for_run()
    gold = server.warehouse.live("gold", {"task": "small"}).read()
    browser.open("/assets/small/gold")
    assert browser.row_count() == str(gold.height)
    counts = gold["split"].value_counts()
    for split, rows in counts.iter_rows():
        assert browser.metadata(f"{split}_rows") == str(rows)
    assert gold["text"][0] in browser.metadata("sample")


def test_a_round_is_materialized_by_clicks(browser, server):
    page = browser.open(GRAPH)
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_text("Select a partition").click()
    page.get_by_text("round_00", exact=True).first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    browser.wait_for_run()
    assert "Succeeded (6)" in page.locator("body").inner_text()
    for name in UPSTREAM:
        assert server.warehouse.live(name, {"task": "small"} if name == "gold" else ROUND) is not None
    page = browser.open("/assets/small/seed_set?view=partitions")
    page.get_by_text("Materialized (1)").wait_for()
    # Gold was in the round's run, and still has no rounds.
    browser.open("/assets/small/gold")
    assert browser.row_count() == str(server.warehouse.live("gold", {"task": "small"}).read().height)
    assert browser.metadata("reused") == "true"


def test_the_model_page_shows_accuracies_and_confusions_and_plots_them(browser, server):
    model = server.warehouse.live("trained_model", ROUND).read().row(0, named=True)
    predictions = server.warehouse.live("predictions", ROUND).read().filter(pl.col("split") == "select")
    page = browser.open("/assets/small/trained_model")
    page.get_by_text("confusion_on_held_out_gold").wait_for()
    for split in ("steer", "select", "test"):
        assert float(browser.metadata(f"{split}_accuracy")) == round(model[f"{split}_accuracy"], 4)
    header, *rows = [line.split("\t") for line in browser.metadata("confusion_on_held_out_gold").splitlines()]
    assert header == ["gold \\ predicted", "positive", "negative"]
    counted = {(row[0], label): int(count) for row in rows for label, count in zip(header[1:], row[1:], strict=True)}
    for (gold, predicted), count in counted.items():
        assert predictions.filter(label=gold, prediction=predicted).height == count
    assert sum(counted.values()) == predictions.height
    # Nothing here says where the warehouse lies.
    assert str(server.warehouse.root) not in page.locator("body").inner_text()
    assert plots(page) >= {"dagster/partition_row_count", "select_accuracy", "test_accuracy", "train_seconds"}


def test_every_round_page_shows_rows_and_sample_or_table(browser, server):
    sets = {"seed_set": "sample", "error_set": "sample", "extrapolated_set": "sample", "drift": "against_gold"}
    for name, shown in sets.items():
        rows = server.warehouse.live(name, ROUND).read()
        page = browser.open(f"/assets/small/{name}")
        page.get_by_text("dagster/partition_row_count").wait_for()
        assert browser.metadata("dagster/partition_row_count") == str(rows.height)
        assert browser.metadata("reused") == "false"
        header, *lines = browser.metadata(shown).splitlines()
        assert len(lines) >= 2
        if name == "drift":
            assert header.split("\t") == ["metric", "value", "ci_low", "ci_high", "floor"]
            assert len(lines) == rows.filter(pl.col("label").is_null(), reference="gold_steer").height
        else:
            assert rows["text"][0][:100] in lines[0]
        assert "dagster/partition_row_count" in plots(page)


def test_the_report_is_materialized_by_a_click_and_shows_its_pictures(browser, server):
    page = browser.open("/assets/small/report")
    page.get_by_role("button", name=re.compile("Materialize$")).click()
    browser.wait_for_run()
    browser.open("/assets/small/report")
    page.get_by_text("bytes", exact=True).wait_for()
    assert browser.metadata("file") == "reports/small.html"
    written = server.warehouse.root / "reports" / "small.html"
    assert browser.metadata("bytes") == str(written.stat().st_size)
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="accuracy", exact=True))
    row.get_by_text("Show markdown", exact=False).last.click()
    picture = page.get_by_role("img", name="accuracy")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") == 900


@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_shown_with_what_they_say_and_the_round_they_are_about(browser, name):
    page = browser.open(f"/assets/small/{name}?view=checks")
    page.get_by_text(f"Checks ({len(CHECKS[name])})").wait_for()
    for check in CHECKS[name]:
        page.get_by_text(check, exact=True).first.click()
        # Names in backquotes are drawn in a box of their own.
        page.get_by_text(CHECK_DESCRIPTIONS[check].split("`")[0].strip()).wait_for()
        page.get_by_text("detail", exact=True).wait_for()
        kind = "blocking" if check in BLOCKING else "non-blocking"
        page.get_by_text("Evaluation result").wait_for()
        shown = page.locator("body").inner_text()
        assert f"This is a {kind} asset check." in shown
        assert re.search("Passed" if check in BLOCKING else "Passed|Failed", shown)
        # Gold has no rounds.
        assert ("round_00" in shown) == (name != "gold")


def plots(page: Any) -> set[str]:
    """Names of the numbers plotted by round on the asset page that is open."""
    page.get_by_role("button", name="Plots").click()
    page.get_by_text("When graphing values by partition").wait_for()
    canvases = page.locator("canvas").all()
    assert canvases
    # The title stands above its canvas, in the box that holds both.
    return {canvas.locator("xpath=ancestor::div[3]").inner_text().splitlines()[0] for canvas in canvases}
