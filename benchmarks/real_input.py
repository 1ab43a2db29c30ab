"""The loop on real text: rounds 0-2 of a pack with the simulated teacher, for several seeds.

    S3_ASSETS_PACKS=/path/to/packs .venv/bin/python benchmarks/real_input.py --seeds 0 1

100 gold rows steer and select, the pack's whole test file is reported on; MiniLM; 800 seed rows, 3 rows an error. Every
seed is a task and a simulated teacher of its own, run as ``s3-assets run`` runs a task. The teacher is simulated: what
it "writes" are real rows of the pack, so nothing here is an LLM result.

Belongs here: declaring and running the tasks, mean and spread over seeds. Does not belong here: figures of a round
(``s3_assets/loop/progress.py``), the simulated teacher as a process (``s3_assets_tests/simulated_teacher.py``).
"""

import argparse
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

# The tests' helper for the simulated teacher is not installed with the package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from s3_assets import settings
from s3_assets.cli.figures import percent
from s3_assets.cli.run import run_rounds
from s3_assets.loop.fingerprints import TRAINED_MODEL, loop_key
from s3_assets.loop.progress import RoundFigures, round_figures
from s3_assets.tasks.load import Task
from s3_assets_tests.simulated_teacher import (
    GOLD_ROWS,
    PACKS_VARIABLE,
    packs_folder,
    simulated_teacher,
    write_pack_task,
)

PACKAGES = ("s3-assets", "dagster", "torch", "transformers", "polars", "duckdb", "openai")


def main() -> None:
    options = _options()
    if options.packs:
        os.environ[PACKS_VARIABLE] = options.packs
    packs = packs_folder()
    with tempfile.TemporaryDirectory(prefix="real-input-") as scratch:
        place = Path(scratch)
        os.environ["S3_ASSETS_WAREHOUSE"] = options.warehouse or str(place / "warehouse")
        # A home of its own: these runs are no part of what the project's UI shows.
        os.environ["DAGSTER_HOME"] = str(place / "home")
        (place / "home").mkdir()
        shutil.copy(settings.project_root() / "dagster_home" / "dagster.yaml", place / "home")
        console = Console(width=110)
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("s3_assets").setLevel(logging.INFO)
        began = time.monotonic()
        by_seed: dict[int, list[RoundFigures]] = {}
        for seed in options.seeds:
            with simulated_teacher(packs, options.pack, seed=seed) as teacher:
                task = write_pack_task(
                    place / "tasks",
                    packs / options.pack,
                    f"{options.pack}_seed{seed}",
                    teacher.url,
                    # An identity of its own, so that no seed is served another's answers.
                    teacher={"name": f"simulated-{options.pack}-{seed}"},
                    rows={"seed": options.seed_rows, "per_error": options.per_error},
                    rounds=options.rounds,
                    seed=seed,
                )
                run_rounds(console, task, 0, options.rounds - 1)
            by_seed[seed] = [round_figures(task, settings.warehouse(), round_) for round_ in range(options.rounds)]
            console.print(_training(task, by_seed[seed]), "\n")
        _print_means(console, options.pack, by_seed)
        console.print(
            f"wall time {time.monotonic() - began:.0f} s for seeds {', '.join(map(str, by_seed))}", highlight=False
        )
        console.print(_setting(options), highlight=False, soft_wrap=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", help=f"folder of packs (default: {PACKS_VARIABLE})")
    parser.add_argument("--pack", default="sentiment_mr")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=3, help="how many, from round 0")
    parser.add_argument("--seed-rows", type=int, default=800)
    parser.add_argument("--per-error", type=int, default=3)
    parser.add_argument("--warehouse", help="keep the data in this folder (default: a temporary one)")
    return parser.parse_args()


def _training(task: Task, rounds: Sequence[RoundFigures]) -> str:
    warehouse = settings.warehouse()
    model = warehouse.live(TRAINED_MODEL, loop_key(task, 0).columns())
    device = model.read()["device"][0] if model else "unknown device"
    each = ", ".join(f"{figures.train_seconds or 0:.0f}" for figures in rounds)
    return f"training alone: {each} s by round, on {device}"


def _print_means(console: Console, pack: str, by_seed: dict[int, list[RoundFigures]]) -> None:
    """Mean over seeds, with the lowest and the highest: two or three seeds are too few for a standard deviation."""
    seeds = ", ".join(map(str, by_seed))
    table = Table(
        *("round", "rows", "errors", "select %", "test %", "drift"),
        box=box.SIMPLE,
        title=f"{pack}: mean over seeds {seeds} \\[lowest-highest]",
    )
    for rounds in zip(*by_seed.values(), strict=True):
        table.add_row(
            str(rounds[0].round),
            _spread([figures.rows for figures in rounds], 0),
            _spread([figures.errors or 0 for figures in rounds], 1),
            _spread([100 * figures.select.share for figures in rounds if figures.select], 1),
            _spread([100 * figures.test.share for figures in rounds if figures.test], 1),
            _spread([figures.drift for figures in rounds if figures.drift is not None], 3),
        )
    console.print(table)
    for seed, rounds in by_seed.items():
        gains = [f"{100 * (b.test.share - a.test.share):+.1f}" for a, b in pairwise(rounds) if a.test and b.test]
        console.print(
            f"seed {seed}: test {percent(rounds[0].test)} in round 0, then by round {', '.join(gains)} points",
            highlight=False,
        )


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    return rf"{fmean(values):.{digits}f} \[{min(values):.{digits}f}-{max(values):.{digits}f}]"


def _setting(options: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        "Teacher: simulated (real rows of the pack served over an LLM's wire, with wrong labels, refusals, copies and\n"
        f"cut JSON). Not an LLM result. Gold: {GOLD_ROWS} rows steer and select, the pack's test file is test.\n"
        f"Asked for: {options.seed_rows} seed rows, {options.per_error} rows an error. Student: minilm as it ships.\n"
        f"{os.cpu_count()} cores, Python {platform.python_version()},\n{versions}."
    )


if __name__ == "__main__":
    main()
