"""The report's pictures and what they are drawn from, on rows made by hand."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from s3_assets.drift.names import GOLD_STEER, ROUNDS_BEFORE
from s3_assets.experiment.asked import Asked
from s3_assets.loop.progress import RoundFigures, Score
from s3_assets.report import drift_sections, sections
from s3_assets.report.drawing import markdown_picture, png, svg
from s3_assets.report.drift_picture import METRICS, NEARER, drift_figure, metrics_of
from s3_assets.report.facts import Facts, Rejections, RoundFacts
from s3_assets.report.map import Map, Point, project
from s3_assets.report.map_picture import LONGEST_TEXT, map_svg, point_text, series
from s3_assets.report.palette import PNG_WIDTH, VARIABLES, look
from s3_assets.report.pictures import accuracy_figure, cost_figure, funnel_figure, gates_shown
from s3_assets.store.tables import table
from s3_assets_tests.fakes import write_task
from s3_assets_tests.report_pages import Page

KEY = {"task": "small", "arm": "s3_shown", "seed": 0}
GATES = {"echo": 9, "duplicate": 4, "length": 3, "refusal": 2, "language": 1}


def round_facts(round_, shares, gates=None, asked=None, f1=None):
    scores = [None if share is None else Score(round(50 * share), 50) for share in shares]
    figures = RoundFigures(round_, 100, 5, *scores, None, None, 1.0, f1, f1)
    return RoundFacts(figures, f1, 80, asked, Rejections(gates or {}, {}))


def drift_rows(*rows):
    schema = table("drift").schema
    usual = {**KEY, "reference": GOLD_STEER, "label": None, "ci_low": None, "ci_high": None, "floor": 0.1}
    usual |= {"n_ref": 10, "n_syn": 20}
    return pl.DataFrame([{**usual, **row} for row in rows], schema=schema)


def facts(task, rounds, drift=None, **gold):
    counts = {"steer": 50, "select": 50, "test": 50, **gold}
    return Facts(task, counts, rounds, drift_rows() if drift is None else drift, [])


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


def lines_of(figure):
    return [line.get_ydata().tolist() for line in figure.axes[0].lines]


def test_intervals_and_scores_are_drawn_where_they_are():
    rounds = [round_facts(0, (0.5, 0.6, 0.7)), round_facts(1, (0.8, None, 0.9))]
    figure = accuracy_figure(rounds, "accuracy")
    drawn = lines_of(figure)
    low, high = Score(25, 50).interval()
    assert [100 * low, 100 * high] in drawn
    for scores in ([50, 80], [60], [70, 90]):
        assert any(np.allclose(line, scores) for line in drawn if len(line) == len(scores))
    assert figure.axes[0].get_ylabel() == "accuracy, %"
    assert accuracy_figure([round_facts(0, (None, None, None))], "accuracy") is None


def test_of_questions_exact_match_and_f1_are_shown(tmp_path):
    fields = {"text": "context", "text2": "question", "answer": "answers"}
    task = write_task(tmp_path, kind="qa", labels=None, fields=fields)
    rounds = [round_facts(0, (0.5, 0.6, 0.7), f1=0.75), round_facts(1, (0.8, 0.6, 0.9), f1=0.95)]
    block = sections.accuracy(facts(task, rounds))
    assert block.heading == "Exact match by round"
    (scores,) = block.tables
    assert scores.rows[1][scores.columns.index("test gold, F1 %")] == "95.0"
    assert scores.rows[1][scores.columns.index("test gold, %")] == "90.0"
    assert any("F1" in note for note in block.notes)
    # F1s are marks without a line.
    figure = accuracy_figure(rounds, "exact match")
    assert sum(np.allclose(line, [75, 95]) for line in lines_of(figure) if len(line) == 2) == 3


def test_gold_without_test_rows_is_said_and_has_no_columns(task):
    block = sections.accuracy(facts(task, [round_facts(0, (0.5, 0.6, None))], test=0))
    assert block.notes == ["There is no test gold."]
    assert not [column for column in block.tables[0].columns if "test" in column]
    assert "test gold" not in str(block.pictures[0].markup)


def test_gold_that_is_held_out_by_folds_has_no_line_of_its_own(tmp_path):
    rounds = [round_facts(0, (0.5, 0.5, 0.7)), round_facts(1, (0.8, 0.8, 0.9))]
    for strategy, said in (("default", "judged by students of folds"), ("default~cross_fit", "no gold is held out")):
        found = facts(write_task(tmp_path, strategy=strategy), rounds, select=0)
        assert found.splits == ["steer", "test"]
        block = sections.accuracy(found)
        assert said in block.says
        assert block.notes == []
        assert not [name for name in block.tables[0].columns if "held-out" in name]
        assert "held-out" not in str(block.pictures[0].markup)
    selects = facts(write_task(tmp_path, strategy="s3"), rounds)
    assert "held-out gold, which selects, chooses the epoch" in sections.accuracy(selects).says
    assert "held-out gold" in str(sections.accuracy(selects).pictures[0].markup)
    drawn = {len(accuracy_figure(rounds, "accuracy", one.splits).axes[0].lines) for one in (found, selects)}
    assert len(drawn) == 2


def test_the_commonest_gates_are_told_apart_and_the_rest_are_one():
    rounds = [round_facts(0, (0.5, 0.5, 0.5), gates=GATES, asked=Asked(rows_requested=100))]
    assert gates_shown(rounds) == ["echo", "duplicate", "length"]
    figure = funnel_figure(rounds)
    assert [patch.get_width() for patch in figure.axes[0].patches] == [80, 9, 4, 3, 3]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["accepted", "refused: echo", "refused: duplicate", "refused: length", "other gates", "asked for"]
    # A round whose parts do not say what was asked for.
    assert "asked for" not in [
        text.get_text() for text in funnel_figure([round_facts(0, (1, 1, 1))]).legends[0].get_texts()
    ]


def test_cost_goes_by_dollars_where_they_are_known_and_by_rows_where_not(task):
    def rounds(*costs):
        return [
            round_facts(place, (0.5, 0.5, 0.6 + 0.1 * place), asked=Asked(100, 20, 30, 1000, 500, cost))
            for place, cost in enumerate(costs)
        ]

    def cells(block):
        (found,) = block.tables
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    priced = cells(sections.cost(facts(task, rounds(0.5, 0.25))))
    assert priced[1]["dollars a point"] == "0.0250"
    assert priced[0]["dollars a point"] == "-"
    free = sections.cost(facts(task, rounds(0.0, 0.0)))
    assert cells(free)[1]["points per 100 asked"] == "+8.33"
    assert "No call cost anything" in free.notes[0]
    unknown = sections.cost(facts(task, rounds(0.5, None)))
    assert cells(unknown)[1]["dollars"] == "not known"
    assert cells(unknown)[1]["points per 100 asked"] == "+8.33"
    assert "teacher.price" in unknown.notes[0]
    figure = cost_figure(rounds(0.5, 0.25), "accuracy", dollars=True)
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines if len(line.get_xdata()) == 2] == [
        [0.5, 0.75]
    ] * 2
    silent = sections.cost(facts(task, [*rounds(0.5), round_facts(1, (0.5, 0.5, 0.5))]))
    assert "teacher.price" not in " ".join(silent.notes)
    assert "asked for round 1 and what it cost is not known" in silent.notes[0]
    # A round that does not say: there is no sum to draw.
    assert cost_figure([*rounds(0.5), round_facts(1, (0.5, 0.5, 0.5))], "accuracy", dollars=True) is None


def test_names_of_lines_stay_inside_and_apart_where_all_scores_are_at_the_top():
    figure = accuracy_figure([round_facts(0, (1, 1, 1)), round_facts(1, (1, 1, 1))], "accuracy")
    places = sorted(text.get_position()[1] for text in figure.axes[0].texts)
    assert len(places) == 3
    assert places[-1] <= 1
    assert np.diff(places).min() > 0.08


def test_of_many_rounds_the_first_last_and_best_are_named_beside_their_cost():
    def named(count, best):
        rounds = [
            round_facts(place, (0.5, None, 0.9 if place == best else 0.6), asked=Asked(100)) for place in range(count)
        ]
        texts = cost_figure(rounds, "accuracy", dollars=False).axes[0].texts
        return [text.get_text() for text in texts if text.get_text().isdigit()]

    assert named(10, 4) == [str(place) for place in range(10)]
    assert named(30, 17) == ["0", "17", "29"]


def test_rows_excluded_by_review_are_counted_where_there_are_any(task):
    one = round_facts(0, (0.5, 0.5, 0.5), asked=Asked(100))
    (plain,) = sections.funnel(facts(task, [one])).tables
    assert "excluded by review" not in plain.columns
    (reviewed,) = sections.funnel(facts(task, [dataclasses.replace(one, excluded=7)])).tables
    assert dict(zip(reviewed.columns, reviewed.rows[0], strict=True))["excluded by review"] == "7"


def test_where_a_metric_is_nearest_is_said_in_its_panel():
    def said(metric):
        (axes,) = drift_figure(drift_rows({"round": 0, "metric": metric, "value": 0.5})).axes
        return [text.get_text() for text in axes.texts]

    assert said("mmd2") == ["lower is nearer"]
    assert said("coverage") == ["higher is nearer"]
    assert said("vendi") == ["nearest at the line"]
    assert set(NEARER) == set(METRICS)


def test_metrics_that_are_there_are_drawn_over_all_labels_and_p_values_are_not():
    rows = drift_rows(
        {"round": 0, "metric": "vendi", "value": 3.0},
        {"round": 0, "metric": "label_js", "value": 0.1, "floor": None},
        {"round": 0, "metric": "mmd2_p", "value": 0.01},
        {"round": 0, "metric": "of_my_own", "value": -1.0},
        {"round": 0, "metric": "coverage", "value": None},
        {"round": 0, "metric": "density", "value": 0.5, "label": "positive"},
        {"round": 1, "metric": "mmd2", "value": 0.2, "ci_low": 0.1, "ci_high": 0.3, "reference": ROUNDS_BEFORE},
    )
    assert metrics_of(rows) == ["label_js", "vendi", "of_my_own"]
    assert metrics_of(rows, ROUNDS_BEFORE) == ["mmd2"]
    figure = drift_figure(rows)
    assert [axes.get_title(loc="left") for axes in figure.axes][1:] == ["Vendi score", "of_my_own"]
    with pytest.raises(ValueError, match="no metric of drift against gold_steer"):
        drift_figure(drift_rows())


def test_value_interval_and_floor_of_a_metric_are_in_its_picture():
    rows = drift_rows(
        {"round": 0, "metric": "mmd2", "value": 0.2, "ci_low": 0.15, "ci_high": 0.3, "floor": 0.01},
        {"round": 1, "metric": "mmd2", "value": -0.001, "floor": 0.02},
    )
    figure = drift_figure(rows)
    assert [0.15, 0.3] in lines_of(figure)
    assert [0.2, -0.001] in lines_of(figure)
    assert [0.01, 0.01] in lines_of(figure)
    assert [0.02, 0.02] in lines_of(figure)
    low, high = figure.axes[0].get_ylim()
    assert low < -0.001
    assert high > 0.3


def test_new_rows_against_older_ones_are_a_section_of_their_own(task):
    rounds = [round_facts(0, (0.5, 0.5, 0.5))]
    assert (
        drift_sections.novelty(facts(task, rounds, drift_rows({"round": 0, "metric": "vendi", "value": 3.0}))) is None
    )
    both = drift_rows({"round": 1, "metric": "vendi", "value": 3.0, "reference": ROUNDS_BEFORE})
    block = drift_sections.novelty(facts(task, rounds, both))
    assert len(block.pictures) == 1
    assert drift_sections.drift(facts(task, rounds, both)).left_out is not None


def test_pngs_are_as_wide_as_the_ui_shows_and_the_same_every_time():
    rounds = [round_facts(0, (0.5, 0.6, 0.7))]
    pictures = [png(accuracy_figure(rounds, "accuracy")) for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert int.from_bytes(pictures[0][16:20], "big") == PNG_WIDTH
    assert markdown_picture("scores", pictures[0]).startswith("![scores](data:image/png;base64,iVBOR")


def test_an_svg_takes_the_pages_colours_keeps_text_and_prefixes_what_it_points_at():
    figure = funnel_figure([round_facts(0, (1, 1, 1), gates=GATES, asked=Asked(rows_requested=100))])
    drawn = [str(svg(figure, "mine", "A <title>", 'Say "no" & go')) for _ in range(2)]
    assert drawn[0] == drawn[1]
    page = Page(f"<html>{drawn[0]}</html>")
    assert page.problems == []
    assert not re.search("#[0-9a-f]{6}", drawn[0])
    assert {f"var({name})" for name in VARIABLES.values()} >= set(re.findall(r"var\([^)]+\)", drawn[0]))
    assert [one["text"] for one in page.all("title")] == ["A <title>"]
    assert [one["text"] for one in page.all("desc")] == ['Say "no" & go']
    assert "refused: echo" in [one["text"].strip() for one in page.all("text")]
    ids = [one["attrs"]["id"] for one in page.elements if "id" in one["attrs"]]
    assert ids
    assert all(one.startswith("mine-") for one in ids)


def test_looks_differ_in_more_than_colour():
    looks = [look(place) for place in range(28)]
    assert len({(one.colour, one.mark) for one in looks}) == 28
    assert len({(one.mark, one.line) for one in looks[:4]}) == 4


def test_projection_keeps_the_directions_of_most_variance():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(60, 2)) * (5, 3)
    basis, _ = np.linalg.qr(rng.normal(size=(384, 2)))
    vectors = (plane @ basis.T + rng.normal(size=(60, 384)) * 0.01).astype(np.float32)
    places, explained = project(vectors)
    assert explained > 0.99
    between = np.linalg.norm(places[0] - places[1])
    assert between == pytest.approx(np.linalg.norm(plane[0] - plane[1]), rel=0.02)
    again, _ = project(vectors)
    assert (places == again).all()


def test_points_have_their_texts_and_no_markup_of_them():
    attack = '</title><script>alert("1")</script>'
    points = [
        Point(0, 0, ("right",), "positive", None, "positive", 0.9),
        Point(1, 1, (attack,), attack, None, "negative", 0.6, error=True),
        Point(2, 0, ("first", "x" * 400), "negative", 1),
        Point(2, 0, ("the same place",), "negative", 0),
    ]
    found = Map(points, 1, 0.5, 4)
    assert [(one.key, len(one.points)) for one in series(found)] == [
        ("round-0", 1),
        ("round-1", 1),
        ("gold", 1),
        ("errors", 1),
    ]
    page = Page(f"<html>{map_svg(found, 'Map', 'Points')}</html>")
    assert page.problems == []
    assert page.all("script") == []
    groups = [one for one in page.all("g") if one["attrs"].get("class") == "point"]
    assert len(groups) == len(points)
    assert sum(f"label: {attack}" in one["text"] for one in groups) == 1
    cut = point_text(points[2], 1).split("\n")
    assert cut[:2] == ["Added by round 1", "label: negative"]
    assert cut[2].startswith("first / xxx")
    assert len(cut[2]) == LONGEST_TEXT


def test_many_rounds_share_series_and_no_two_series_look_alike():
    def drawn(count):
        points = [Point(round_, 0, ("text",), "positive", round_) for round_ in range(count)]
        return series(Map(points, count - 1, 0.5, count))

    assert [one.key for one in drawn(8)] == [f"round-{round_}" for round_ in range(8)]
    many = drawn(31)
    assert [one.name for one in many][:2] == ["added by rounds 0-3", "added by rounds 4-7"]
    assert sum(len(one.points) for one in many) == 31
    assert len({(one.mark, one.colour) for one in many}) == len(many) == 8
    assert [one.name for one in drawn(9)][-1] == "added by round 8"
    page = Page(f"<html>{map_svg(Map([*many[0].points, *many[1].points], 30, 0.5, 31), 'Map', 'Points')}</html>")
    assert len([one for one in page.all("g") if one["attrs"].get("class") == "point"]) == 8


def test_errors_of_no_round_are_not_counted_where_no_student_is_trained(task):
    points = [Point(0, 0, ("one",), "positive", None), Point(1, 1, ("two",), "negative", 0)]
    block = sections.map_block(facts(task, [round_facts(0, (None, None, None))]), Map(points, None, 0.5, 2))
    assert "1 rows of steering gold and 1 rows that rounds added" in str(block.pictures[0].markup)
