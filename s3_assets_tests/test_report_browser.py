"""The report as a person reads it: headless Chromium on a page with a map, in light, in the dark, narrow and on paper.

Run by ``make test-ui``.
"""

import os
import shutil

import pytest

from s3_assets.report.page import read_report, render, write_page
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import write_task
from s3_assets_tests.report_pages import NOW, Page, embedded, make_rounds, part, write_vectors

pytestmark = pytest.mark.ui

# WCAG's relative luminance and contrast, of the text and the first background behind it that is not transparent.
CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = channels(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor, parts = channels(colour);
      if (parts.length < 4 || parts[3] > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    if (node.closest("title, desc, script, [aria-hidden]")) continue;
    const style = getComputedStyle(node), colour = node.closest("svg") ? style.fill : style.color;
    const [one, other] = [light(colour), light(behind(node))].sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), node.tagName, node.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory, tiny_student):
    place = tmp_path_factory.mktemp("browser")
    task = write_task(place / "tasks", student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0}, rounds=3)
    warehouse = Warehouse(place / "warehouse")
    make_rounds(task, warehouse, 2)
    gold = warehouse.live("gold", {"task": "small"}).read()
    write_vectors(warehouse, task, [gold, part(warehouse, "seed_set", task, 1)])
    write_page(place / "report.html", render(read_report(embedded(task), warehouse), NOW))
    return place / "report.html"


@pytest.fixture(scope="module")
def chromium(file):
    # After the file: playwright runs a loop in this thread, and a step that asks the teacher could not run its own.
    from playwright.sync_api import sync_playwright

    program = os.environ.get("S3_ASSETS_CHROMIUM") or shutil.which("chromium")
    assert program, "no chromium on the PATH: install it, or name it in S3_ASSETS_CHROMIUM"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program) as started:
        yield started


@pytest.fixture
def show(chromium, file):
    """Opens the report; afterwards nothing was said in the console and nothing but the file was asked for."""
    said, asked, contexts = [], [], []

    def opened(**context):
        contexts.append(chromium.new_context(**context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == {file.as_uri()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(show, scheme):
    page = show(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    ratio, tag, text = page.evaluate(CONTRAST)
    assert ratio >= 4.5, (tag, text)
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_wider_than_the_window(show, width):
    page = show(viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("main").bounding_box()["width"] <= 72 * 16


def test_a_long_label_without_spaces_and_one_that_turns_the_line_around_stay_in_their_place(show):
    page = show(viewport={"width": 360, "height": 800})
    for attack in ("https://example.org/" + "x" * 80, "\u202eright to left"):
        found = page.evaluate(
            """(label) => {
              const named = document.querySelectorAll("article strong, article bdi, article .label, article .text, dd");
              for (const one of named) one.textContent = label;
              return [...named].map((one) => getComputedStyle(one).unicodeBidi);
            }""",
            attack,
        )
        assert len(found) > 10
        assert set(found) <= {"isolate", "plaintext"}
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_map_is_one_stop_that_arrows_move_in(show):
    page = show()
    stops = page.locator('.point[tabindex="0"]')
    assert stops.count() == 1
    last = page.locator("#map-series input").last
    last.focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    tip = page.locator("#map-tip")
    first = page.evaluate(focused)
    assert first.startswith("Steering gold, error in round 1. label: ")
    assert tip.inner_text().replace("\n", ". ") == first
    place = "(() => { const mark = document.activeElement.querySelector('use'); return +mark.getAttribute('x') })()"
    before = page.evaluate(place)
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) != first
    assert page.evaluate(place) < before
    assert stops.count() == 1
    page.keyboard.press("Home")
    assert page.evaluate(focused).startswith("Added by round 0")
    page.keyboard.press("PageDown")
    assert page.evaluate(focused) == page.locator(".point").nth(1).get_attribute("aria-label")
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    # On to what follows the map, not through its points.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('svg')") is None


def test_pointing_at_a_mark_shows_its_text_and_series_can_be_hidden(show):
    page = show(viewport={"width": 1200, "height": 900})
    page.locator("#map-keys").scroll_into_view_if_needed()
    mark = page.locator(".point").last
    mark.scroll_into_view_if_needed()
    box, label = mark.bounding_box(), mark.get_attribute("aria-label")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#map-tip")
    assert tip.inner_text().replace("\n", ". ") == label
    for kind in page.locator("#map-series input").all()[1:]:
        kind.uncheck()
    assert tip.is_hidden()
    assert mark.is_hidden()
    assert page.locator('.point[tabindex="0"]').get_attribute("aria-label").startswith("Added by round 0")
    page.locator('.point[tabindex="0"]').focus()
    for key in ("End", "ArrowUp", "ArrowRight", "ArrowDown", "PageUp"):
        page.keyboard.press(key)
        assert tip.inner_text().startswith("Added by round 0")


def test_it_is_whole_without_scripts(show, file):
    page = show(java_script_enabled=False)
    assert page.locator("#map-series").is_hidden()
    assert page.locator("#map-keys").is_hidden()
    assert page.locator("svg").count() == len(Page(file.read_text()).all("svg"))
    page.get_by_text("The numbers").first.click()
    assert page.get_by_text("Scores by round").is_visible()


def test_on_paper_tables_are_open_and_controls_gone(show):
    page = show(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')").strip() == "#000"
    for hidden in ("nav", "#map-series", "#map-keys", ".skip"):
        assert page.locator(hidden).is_hidden()
    for table in page.locator("section table").all():
        assert table.bounding_box()["height"] > 20
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_skip_link_leads_to_the_report(show):
    page = show()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
