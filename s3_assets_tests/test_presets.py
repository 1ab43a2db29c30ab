"""Strategies that ship, a task's own, and those without an option: what they are, what messages say of bad ones."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from s3_assets.tasks.load import TaskError, load_task
from s3_assets.tasks.presets import ablations, arms_with, of_loops, presets
from s3_assets.tasks.strategy import Strategy
from s3_assets_tests.fakes import write_task

TASK = """\
name: mine
labels:
  a: first
  b: second
gold: gold.csv
strategies:
"""


def options(strategy: Strategy) -> dict[str, Any]:
    return strategy.model_dump(exclude={"summary"})


def test_shipped_ones_are_controls_the_papers_and_the_projects() -> None:
    shipped = presets()
    assert options(shipped["s3"]) == options(Strategy())
    assert shipped["gold_only"].synthetic is False
    differs = {
        name: {key for key, value in options(one).items() if value != options(Strategy())[key]}
        for name, one in shipped.items()
    }
    assert differs["s3_shown"] == {"shows"}
    assert differs["paper"] == {"one_each"}
    assert differs["goldgen"] == {"extrapolates"}
    assert differs["more_seed"] == {"extrapolates", "grown"}
    assert differs["zerogen"] == {"extrapolates", "grown", "rationales"}
    for name in ("seed_only", "more_seed", "goldgen", "s3"):
        assert options(shipped[f"{name}+gold"]) == options(shipped[name]) | {"gold": "added"}
    # Gold is learned by crossing it already.
    assert "default+gold" not in shipped
    assert shipped["frugal"].budget == 0.5
    assert len({one.summary for one in shipped.values()}) == len(shipped)


def test_an_ablation_differs_in_one_option_which_is_as_the_papers_rule_has_it() -> None:
    paper, default = options(Strategy()), options(presets()["default"])
    found = ablations("default", presets()["default"])
    assert {name.removeprefix("default~") for name in found} == {key for key in default if default[key] != paper[key]}
    for name, one in found.items():
        option = name.removeprefix("default~")
        gold = {"gold": "none"} if option == "cross_fit" else {}
        assert options(one) == default | {option: paper[option]} | gold
        assert one.summary == f"default without {option}"


def test_students_of_folds_go_with_what_uses_them() -> None:
    whole = Strategy(cross_fit=3, ensemble=True, distil=True, gold="crossed")
    without = ablations("mine", whole)["mine~cross_fit"]
    assert (without.cross_fit, without.ensemble, without.distil, without.gold) == (0, False, False, "none")
    added = ablations("mine", Strategy(cross_fit=3, gold="added"))["mine~cross_fit"]
    assert (added.cross_fit, added.gold) == (0, "added")
    assert ablations("mine", whole)["mine~ensemble"].cross_fit == 3


def test_what_is_no_strategy_without_an_option_is_no_arm() -> None:
    # Rows of all rounds in the seed set, and rounds.
    assert list(ablations("mine", presets()["more_seed"])) == ["mine~grown"]
    arms = arms_with({"mine": presets()["zerogen"]})
    assert [name for name in arms if name.startswith("mine")] == ["mine", "mine~rationales", "mine~grown"]


def test_arms_are_the_shipped_ones_then_own_then_ablations(tmp_path: Path) -> None:
    task = write_task(tmp_path, strategies={"mine": {"base": "s3", "explore": 0.25}, "bare": {}})
    arms = list(task.spec.arms)
    assert arms[: len(presets()) + 2] == [*presets(), "mine", "bare"]
    assert all("~" in name for name in arms[len(presets()) + 2 :])
    assert {"default~by", "mine~explore", "bare~by"} <= set(arms)
    assert "mine~by" not in arms
    assert options(task.spec.arms["mine"]) == options(presets()["s3"]) | {"explore": 0.25}
    assert options(task.spec.arms["bare"]) == options(presets()["default"])
    assert task.spec.arms["mine"].summary == "s3, changed by the task"


@pytest.mark.parametrize(
    "declared",
    [
        {"by": "loss", "keep": 0.5},
        {"one_each": True, "skips": ["never_learned"]},
        {"extrapolates": "gold", "growth": 2, "shows": ["contrast"], "prior": "gold"},
        {"verify": "teacher", "cross_fit": 2, "steers": "dev"},
        {"verify": "students", "steers": "dev"},
        {"shows": ["prediction", "probability"]},
    ],
)
def test_options_that_fit_each_other_are_not_refused(declared: dict[str, Any]) -> None:
    own = Strategy.model_validate(declared)
    # Whatever is valid without an option is an arm.
    for name, one in ablations("mine", own).items():
        assert options(one)[name.removeprefix("mine~")] == options(Strategy())[name.removeprefix("mine~")]


def test_what_makes_no_sense_without_an_option_is_left_out() -> None:
    assert list(ablations("mine", Strategy(by="loss", keep=0.5, explore=0.25))) == ["mine~keep", "mine~explore"]


def test_a_loop_follows_a_strategy_with_rounds_whose_students_gold_can_judge(tmp_path: Path) -> None:
    assert of_loops(presets()) == ["goldgen", "s3", "default", "s3_shown", "frugal", "paper"]
    mine = {"mine": {"base": "s3", "explore": 0.25}}
    assert write_task(tmp_path, strategies=mine, strategy="mine").spec.how.explore == 0.25
    assert write_task(tmp_path, strategies=mine, strategy="mine~explore").spec.how.explore == 0
    with pytest.raises(
        TaskError, match=r"yaml:\d+: strategy: no strategy of a loop\. Did you mean mine.*Allowed: goldgen"
    ):
        write_task(tmp_path, strategies=mine, strategy="mien")
    # It is a strategy, so no other name is meant.
    with pytest.raises(TaskError, match=r"strategy: no strategy of a loop\. Allowed: goldgen, s3, default, "):
        write_task(tmp_path, strategy="gold_only")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "  own:\n    explor: 0.5\n",
            "task.yaml:8: strategies.own.explor: unknown key, did you mean explore? Allowed: base, ",
        ),
        (
            "  own:\n    base: s3\n    explore: 2\n",
            "task.yaml:9: strategies.own.explore: Input should be less than or equal",
        ),
        (
            "  own:\n    shows: [contrst]\n",
            "task.yaml:8: strategies.own.shows.0: Input should be 'prediction', 'contrast', 'diagnosis' or",
        ),
        (
            "  own: {base: frugall}\n",
            "task.yaml:7: strategies.own: base: no strategy 'frugall' to start from. Did you mean frugal?",
        ),
        ("  own: {base: [s3]}\n", "task.yaml:7: strategies.own: base: no strategy ['s3'] to start from"),
        ("  own: s3\n", "task.yaml:7: strategies.own: must hold keys such as base and explore (it is 's3')"),
        (
            "  own:\n    base: s3\n    distil: true\n",
            "task.yaml:7: strategies.own: ensemble and distil use the students",
        ),
        (
            "  own:\n    base: default\n    extrapolates: gold\n",
            "task.yaml:7: strategies.own: by, skips and one_each choose among",
        ),
        ("  Own: {base: s3}\n", "task.yaml:7: strategies.Own: cannot name a strategy"),
        ("  s3: {explore: 0.5}\n", "task.yaml:7: strategies.s3: cannot name a strategy"),
        ("  all: {base: s3}\n", "task.yaml:7: strategies.all: cannot name a strategy"),
        ("  1: {base: s3}\n", "task.yaml:7: strategies.1: Input should be a valid string"),
        ("  - s3\n", "task.yaml:6: strategies: Input should be a valid dictionary"),
    ],
)
def test_messages_name_the_line_and_key_within_an_own_strategy(tmp_path: Path, lines: str, said: str) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "task.yaml").write_text(TASK + lines, encoding="utf-8")
    with pytest.raises(TaskError) as caught:
        load_task(place)
    (problem,) = str(caught.value).splitlines()
    assert said in problem


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"ensemble": True}, "set cross_fit to 2 or more"),
        ({"cross_fit": 1}, "2 folds or more"),
        ({"extrapolates": "gold", "skips": ["mislabelled"]}, "choose among errors"),
        ({"extrapolates": None, "steps": 2}, "there are no rounds"),
        ({"extrapolates": None, "growth": 2}, "there are no rounds"),
        ({"extrapolates": None, "shows": ["contrast"]}, "there are no rounds"),
        ({"gold": "alone"}, "nothing to extrapolate"),
        ({"keep": 0.5}, "loss or margin"),
        ({"keep": 0.5, "by": "doubt"}, "loss or margin"),
        ({"explore": 0.5, "extrapolates": "gold"}, "for random gold"),
        ({"explore": 0.5, "one_each": True}, "for random gold"),
        ({"explore": 0.5, "extrapolates": None}, "for random gold"),
        ({"one_each": True, "by": "loss"}, "choose nothing then"),
        ({"one_each": True, "prior": "gold"}, "choose nothing then"),
        ({"verify": "students", "cross_fit": 2}, "learn from all steering gold"),
        ({"gold": "crossed"}, "judged by students of folds; set cross_fit"),
        ({"verify": "both", "cross_fit": 2}, "learn from all steering gold"),
        ({"shows": ["probability"]}, "show prediction too"),
        ({"extrapolates": "gold", "shows": ["probability"]}, "are about errors"),
        ({"grown": True}, "set extrapolates: null"),
        ({"extrapolates": "gold", "shows": ["diagnosis"]}, "are about errors"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Strategy.model_validate(declared)
