"""The project's strategy against its controls over three packs of real text, with the simulated teacher.

    .venv/bin/python benchmarks/strategy.py --packs /path/to/packs --seeds 5 --keep /path/to/data

For each pack: the arms by ``s3-assets compare``, the leaderboard in Markdown. Then over packs: mean test score of each
arm, paired differences of ``default`` to its controls, and which bars hold. ``random_gold`` is the schedule and gold
of ``default``, its rounds written from random steering gold. What ``default`` gains over ``goldgen`` is of schedule,
gold that is learned and aiming; over ``goldgen+gold`` of schedule and aiming; over ``random_gold`` of aiming alone.
The teacher is simulated (what it "writes" are real rows of the pack): no figure is an LLM result. 100 gold rows steer
and select; the pack's test file is test.

Belongs here: declaring and running the comparison, tables over packs, the bars. Does not belong here: arms and
leaderboard (``s3_assets/experiment``), packs as tasks (``packs.py``).
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from packs import folder_of_packs, pack_task, place_of_data, versions
from rich.console import Console

from s3_assets import settings
from s3_assets.cli.compare import compare_arms, parse_arms
from s3_assets.cli.leaderboard import markdown
from s3_assets.experiment.arms import live_rows
from s3_assets.experiment.leaderboard import Estimate, estimate
from s3_assets.experiment.plan import BUDGET_TOLERANCE
from s3_assets.experiment.publish import make_leaderboard
from s3_assets.tasks.load import Task
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.simulated_teacher import GOLD_ROWS, PACKS_VARIABLE, simulated_teacher

ARMS = "gold_only,seed_only,more_seed,goldgen,goldgen+gold,random_gold,s3,default,frugal"
PACKS = ("sentiment_mr", "nli_sick", "topic_clinc10")
DEFAULT, FRUGAL, S3, RANDOM_GOLD, GOLD_TOO = "default", "frugal", "s3", "random_gold", "goldgen+gold"
CONTROLS = ("goldgen", GOLD_TOO, RANDOM_GOLD, S3, "more_seed", "gold_only", "seed_only")
DEARER = "†"

# The control that shares everything with default but what rows are written from.
OWN: Mapping[str, Mapping[str, object]] = {
    RANDOM_GOLD: {"base": DEFAULT, "extrapolates": "gold", "by": "all", "explore": 0.0, "shows": ["contrast"]},
}

# What else was tried, each as default with other options (``--variants``).
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "by_loss": {"by": "loss", "keep": 0.5},
    "by_margin": {"by": "margin", "keep": 0.5},
    "by_cluster": {"by": "cluster"},
    "explore_half": {"explore": 0.5},
    "skips": {"by": "all", "skips": ["never_learned", "mislabelled"]},
    "prior_gold": {"prior": "gold"},
    "seed_5": {"seed_share": 0.05},
    "seed_25": {"seed_share": 0.25},
    "seed_50": {"seed_share": 0.5},
    "one_step": {"steps": 1},
    "five_steps": {"steps": 5},
    "growing": {"growth": 2.0},
    "diagnosed": {"shows": ["prediction", "contrast", "diagnosis"]},
    "verify_students": {"verify": "students", "cross_fit": 0, "gold": "none"},
    "verify_teacher": {"verify": "teacher"},
    "weights_quality": {"weights": "quality"},
    "weights_usefulness": {"weights": "usefulness"},
    "distilled": {"distil": True},
    "together": {"ensemble": True},
    "five_folds": {"cross_fit": 5},
    "without_gold": {"gold": "none"},
}

# Figures by pack, arm and seed: test scores in percent, teacher budgets.
Figures = Mapping[str, Mapping[str, Mapping[int, float]]]


def main() -> None:
    options = _options()
    packs = folder_of_packs(options.packs)
    found: dict[str, pl.DataFrame] = {}
    with place_of_data(options.keep, "strategy") as place:
        console = Console(width=110)

        def say(text: str) -> None:
            console.print(text, highlight=False, soft_wrap=True, markup=False)

        for pack in options.pack:
            began = time.monotonic()
            with simulated_teacher(packs, pack) as teacher:
                task = _task(place, packs / pack, teacher.url, options)
                more = ["ablations"] * options.ablations + list(VARIANTS) * options.variants
                arms = parse_arms(",".join([options.arms, *more]), task)
                compare_arms(console, task, arms, options.seeds)
            warehouse = settings.warehouse()
            rows, _ = live_rows(task, warehouse)
            found[pack] = rows.filter(pl.col("arm").is_in(arms), pl.col("seed") < options.seeds)
            made = make_leaderboard(task, warehouse)
            say(f"\n### {pack}\n\n{markdown(made.result.rows)}\n")
            say("\n".join(f"- {note}." for note in made.notes))
            say(f"\n{pack}: {time.monotonic() - began:.0f} s.")
    scores = {pack: scores_of(rows) for pack, rows in found.items()}
    budgets = {pack: budgets_of(rows) for pack, rows in found.items()}
    say(f"\n### Over packs\n\n{table_of_means(scores, budgets)}\n")
    if all(DEFAULT in of_pack for of_pack in scores.values()):
        say(f"### {DEFAULT} less each control\n\n{table_of_differences(scores, budgets)}\n")
        say("\n".join(bars(scores)))
    say(f"\n{_setting(options)}")


def scores_of(rows: pl.DataFrame) -> dict[str, dict[int, float]]:
    """Test scores of rows of table ``experiment``, by arm and seed, in percent."""
    return {arm: {seed: 100 * one for seed, one in found.items()} for arm, found in _by_arm(rows, "test_score").items()}


def budgets_of(rows: pl.DataFrame) -> dict[str, dict[int, float]]:
    """Teacher budgets of rows of table ``experiment``, by arm and seed."""
    return _by_arm(rows, "teacher_budget")


def difference(scores: Figures, arm: str, control: str, packs: Sequence[str]) -> Estimate:
    """``arm`` less ``control`` in points, paired by seed; over several packs the mean of the packs for each seed."""
    pairs = [(scores[pack].get(arm, {}), scores[pack].get(control, {})) for pack in packs]
    seeds = sorted(set.intersection(*(set(ours) & set(theirs) for ours, theirs in pairs))) if pairs else []
    return estimate([sum(ours[seed] - theirs[seed] for ours, theirs in pairs) / len(pairs) for seed in seeds])


def dearer(budgets: Figures, arm: str, control: str, packs: Sequence[str]) -> bool:
    """Whether ``arm`` asked for over 5% more than ``control`` on any of the packs, over the seeds both have.

    Never of a control that asked for nothing.
    """
    for pack in packs:
        ours, theirs = budgets[pack].get(arm, {}), budgets[pack].get(control, {})
        seeds = set(ours) & set(theirs)
        asked, of_control = sum(ours[seed] for seed in seeds), sum(theirs[seed] for seed in seeds)
        if of_control and asked > (1 + BUDGET_TOLERANCE) * of_control:
            return True
    return False


def table_of_means(scores: Figures, budgets: Figures) -> str:
    """Mean test score of each arm per pack and over packs, best first."""
    arms = list(dict.fromkeys(arm for of_pack in scores.values() for arm in of_pack))
    rows = []
    for arm in arms:
        means = [estimate(list(of_pack.get(arm, {}).values())).mean for of_pack in scores.values()]
        known = [mean for mean in means if mean is not None]
        over = sum(known) / len(known) if len(known) == len(means) else None
        asked = [one for of_pack in budgets.values() for one in of_pack.get(arm, {}).values()]
        budget = "-" if not asked else f"{sum(asked) / len(asked):,.0f}"
        rows.append((-1.0 if over is None else over, [arm, budget, *map(_score, means), _score(over)]))
    lines = [["arm", "budget", *scores, "mean of packs"], ["---", *["---:"] * (len(scores) + 2)]]
    lines += [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of_differences(scores: Figures, budgets: Figures) -> str:
    """``default`` less each control, per pack and over packs; a line below says which are not at equal budget."""
    places = [*([pack] for pack in scores), list(scores)]
    lines = [["less", *scores, "mean of packs"], ["---", *["---:"] * len(places)]]
    lines += [
        [
            control,
            *(
                _difference(difference(scores, DEFAULT, control, packs))
                + (f" {DEARER}" if dearer(budgets, DEFAULT, control, packs) else "")
                for packs in places
            ),
        ]
        for control in CONTROLS
        if all(control in of_pack for of_pack in scores.values())
    ]
    shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = f"\n\n{DEARER} {DEFAULT} asked for over 5% more than it: not at equal budget."
    return shown + (below if DEARER in shown else "")


def bars(scores: Figures) -> list[str]:
    """What is asked of ``default`` and ``frugal``, each with its number and whether it holds.

    Not measured where a control is missing, or an interval that it would take to tell.
    """
    packs = list(scores)
    by_pack = {control: {pack: difference(scores, DEFAULT, control, [pack]) for pack in packs} for control in CONTROLS}
    over = {control: difference(scores, DEFAULT, control, packs).mean for control in CONTROLS}
    lows = [one.low for one in by_pack["goldgen"].values()]
    above, needed = sum(low is not None and low > 0 for low in lows), min(2, len(packs))
    counted = None if above < needed and None in lows else float(above)
    lowest = {control: _lowest(list(by_pack[control].values())) for control in CONTROLS}
    frugal = difference(scores, FRUGAL, S3, packs).mean
    asked = [
        ("default at least 5 points over goldgen, mean of packs", over["goldgen"], 5.0),
        (f"default over goldgen with interval above 0 on {needed} packs or more", counted, float(needed)),
        ("default at least 3 points over s3, mean of packs", over[S3], 3.0),
        ("default at least 6 points over more_seed, mean of packs", over["more_seed"], 6.0),
        ("default above gold_only on each pack (lowest)", lowest["gold_only"], 0.0),
        ("default not more than 1 point below seed_only on any pack (lowest)", lowest["seed_only"], -1.0),
        ("frugal, on half the budget, not below s3, mean of packs", frugal, 0.0),
    ]
    said = []
    for what, value, least in asked:
        if value is None:
            said.append(f"- not measured: {what}")
            continue
        strict = "above" in what and least == 0.0
        holds = value > least if strict else value >= least
        said.append(f"- {'holds' if holds else 'DOES NOT HOLD'}: {what}: {value:+.1f} (asked: {least:+.1f})")
    return said


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", help=f"folder of packs (default: {PACKS_VARIABLE})")
    parser.add_argument("--pack", nargs="+", default=list(PACKS))
    parser.add_argument("--arms", default=ARMS, help="separated by commas (default: %(default)s)")
    parser.add_argument("--ablations", action="store_true", help="also default without each of its options")
    parser.add_argument("--variants", action="store_true", help="also what else was tried: default, changed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--student", choices=["frozen", "fine_tuned"], default="fine_tuned")
    parser.add_argument("--seed-rows", type=int, default=640)
    parser.add_argument("--per-round", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=StudentSpec().learning_rate)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--test-rows", type=int, help="only the first rows of the test file (default: all)")
    parser.add_argument("--keep", help="keep data here; the same command then goes on where it was")
    return parser.parse_args()


def _task(place: Path, pack: Path, url: str, options: argparse.Namespace) -> Task:
    limit = {"dev": GOLD_ROWS} | ({"test": options.test_rows} if options.test_rows else {})
    return pack_task(
        place,
        pack,
        url,
        gold={"limit": limit},
        rows={"seed": options.seed_rows, "per_round": options.per_round},
        student={
            "max_length": options.max_length,
            "epochs": options.epochs,
            "learning_rate": options.learning_rate,
            **({"kind": "frozen"} if options.student == "frozen" else {}),
        },
        drift={"embeddings": False},
        strategies={name: dict(changes) for name, changes in {**OWN, **VARIANTS}.items()},
        experiment={"rounds": 2, "seeds": options.seeds},
    )


def _by_arm(rows: pl.DataFrame, column: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for arm, seed, value in rows.select("arm", "seed", column).drop_nulls().iter_rows():
        found.setdefault(arm, {})[seed] = value
    return found


def _lowest(found: Sequence[Estimate]) -> float | None:
    means = [one.mean for one in found if one.mean is not None]
    return min(means, default=None) if len(means) == len(found) else None


def _score(mean: float | None) -> str:
    return "-" if mean is None else f"{mean:.1f}"


def _difference(one: Estimate) -> str:
    if one.mean is None:
        return "-"
    return f"{one.mean:+.1f}" + ("" if one.low is None or one.high is None else f" [{one.low:+.1f}, {one.high:+.1f}]")


def _setting(options: argparse.Namespace) -> str:
    trained = "frozen MiniLM" if options.student == "frozen" else f"MiniLM, {options.epochs} epochs"
    return (
        f"Teacher: simulated, no LLM. {GOLD_ROWS} gold rows, {options.test_rows or 'all'} test rows. Budget "
        f"{options.seed_rows} + 2 x {options.per_round} rows. {trained}, {options.max_length} tokens, learning rate "
        f"{options.learning_rate}, {options.seeds} seeds, {versions()}. Intervals are over seeds: packs, gold and "
        "test rows are held fixed. Which options default has was chosen with the test rows of these packs in view."
    )


if __name__ == "__main__":
    main()
