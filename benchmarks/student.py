"""What a fine-tuned student costs: training against the paper's way and ``Trainer``, memory, predicting, starting.

    .venv/bin/pip install accelerate
    .venv/bin/python benchmarks/student.py --packs /path/to/packs
    .venv/bin/python benchmarks/student.py --packs /path/to/packs --rows 64 --epochs 1 --seeds 1 --predicted 200

Rows are drawn from the pool of a pack of real text, gold is the pack's. Every measurement is a process of its own; for
each seed the ways take turns. All train minilm on the same rows with the same batch size, epochs and learning rate, and
are timed from the loaded checkpoint to the trained model, tokenising included:

* ours: ``train_student``, which also scores selecting gold (100 rows) after each epoch, keeps one, calibrates it;
* Trainer: transformers' ``Trainer`` with ``DataCollatorWithPadding`` and defaults for all else: dynamic padding, rows
  in random order, texts cut where ours are. It needs accelerate and is left out without it;
* the paper's: every row padded to 512 tokens, float32, a loop of its own. ``--steps`` of them are timed (0: all), the
  rest is taken to last as long. Its accuracy is that of the same loop with rows padded to the longest of their batch,
  trained through: what a mask hides does not change what is computed.

Beside them: the largest memory that our training had, predicting short rows, a frozen student's training on vectors
that are there, and the time from the start of a step to its first batch, in a process as Dagster's.

Belongs here: turns, ratios, the report. Does not belong here: what is timed (``student_parts.py``), what aiming at
errors brings (``strategy.py``).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median

from rich import box
from rich.console import Console
from rich.table import Table

# Benchmarks are scripts: their folder is on the path.
from student_parts import OURS, PAPER, PAPER_THROUGH, PARTS, TRAINER, Found, Rows

PACKS_VARIABLE = "S3_ASSETS_PACKS"
BAR_PAPER, BAR_TRAINER, BAR_GIGABYTES, BAR_PREDICTED, BAR_HEAD, BAR_START = 6.0, 1.3, 2.5, 60.0, 3.0, 8.0
WITHOUT_TRAINER = "Trainer is left out: it needs accelerate; `.venv/bin/pip install accelerate`"


def measured(part: str, asked: argparse.Namespace, seed: int, number: int = 0) -> Found:
    """One part in a process of its own; its answer is the last line it prints."""
    words = ["--part", part, "--number", str(number), "--seed", str(seed)]
    for name in ("packs", "pack", "rows", "epochs", "tested"):
        words += [f"--{name}", str(getattr(asked, name))]
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{part} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    asked = _asked()
    if asked.part:
        pack = Path(asked.packs) / asked.pack
        rows = Rows(pack, asked.rows, asked.tested, asked.epochs, asked.seed)
        print(json.dumps(PARTS[asked.part](rows, asked.number)))
        return
    console = Console(width=110)
    ways = [OURS, *([TRAINER] if find_spec("accelerate") else []), PAPER]
    if asked.paper_through:
        ways.append(PAPER_THROUGH)
    runs: dict[str, list[Found]] = {way: [] for way in ways}
    for seed in range(asked.seeds):
        for way in ways if seed % 2 == 0 else reversed(ways):
            runs[way].append(measured(way, asked, seed, asked.steps))
        took = ", ".join(f"{way} {runs[way][-1]['seconds']:.1f} s" for way in ways)
        console.print(f"seed {seed}: {took}", highlight=False)
    beside = {
        "predicting": [measured("predicting", asked, 0, asked.predicted) for _ in range(asked.repeats)],
        "head": [measured("head", asked, seed) for seed in range(asked.repeats)],
        "starting": [measured("starting", asked, 0) for _ in range(asked.repeats)],
    }
    _report(console, asked, runs, beside)


def _report(
    console: Console, asked: argparse.Namespace, runs: dict[str, list[Found]], beside: dict[str, list[Found]]
) -> None:
    taken = asked.rows * asked.epochs
    heads = ("rows/s", "seconds", "ours is faster by", "test accuracy % [lowest-highest]", "GB at most")
    shown = Table("", *heads, box=box.SIMPLE, title=f"{asked.pack}: {asked.rows:,} rows, {asked.epochs} epochs")
    ratios: dict[str, float] = {}
    for way, found in runs.items():
        seconds = median(run["seconds"] for run in found)
        each = [other["seconds"] / own["seconds"] for other, own in zip(found, runs[OURS], strict=True)]
        ratios[way] = median(each)
        spread = f"{ratios[way]:.2f} [{min(each):.2f}-{max(each):.2f}]" if way != OURS else ""
        gigabytes = f"{max(run['gigabytes'] for run in found):.2f}"
        shown.add_row(way, f"{taken / seconds:,.1f}", f"{seconds:,.1f}", spread, _accuracy(found), gigabytes)
    console.print(shown)
    said = [*_verdicts(ratios, runs, beside), "", *_notes(asked, runs, beside)]
    console.print("\n".join(said), highlight=False, soft_wrap=True)


def _accuracy(found: list[Found]) -> str:
    shares = [100 * run["accuracy"] for run in found if run["accuracy"] is not None]
    return rf"{fmean(shares):.1f} \[{min(shares):.1f}-{max(shares):.1f}]" if shares else ""


def _verdicts(ratios: dict[str, float], runs: dict[str, list[Found]], beside: dict[str, list[Found]]) -> Iterator[str]:
    def said(what: str, value: float, bar: float, unit: str, *, least: bool = False) -> str:
        met = value >= bar if least else value <= bar
        return f"{what}: {value:.2f}{unit}, bar {bar:g}{unit}: {'met' if met else 'NOT met'}"

    yield said("throughput over the paper's way", ratios[PAPER], BAR_PAPER, "x", least=True)
    if TRAINER in ratios:
        yield said("throughput over Trainer", ratios[TRAINER], BAR_TRAINER, "x", least=True)
    else:
        yield WITHOUT_TRAINER
    yield said("largest memory of our training", max(run["gigabytes"] for run in runs[OURS]), BAR_GIGABYTES, " GB")
    seconds = {name: median(run["seconds"] for run in found) for name, found in beside.items()}
    rows = beside["predicting"][0]["rows"]
    yield said(f"predicting {rows:,} rows", seconds["predicting"], BAR_PREDICTED, " s")
    yield said("a frozen student on vectors that are there, imports included", seconds["head"], BAR_HEAD, " s")
    loading = median(run["loading"] for run in beside["starting"])
    yield said(
        f"from the step's start to its first batch (loading the code location before it {loading:.2f} s)",
        seconds["starting"],
        BAR_START,
        " s",
    )


def _notes(asked: argparse.Namespace, runs: dict[str, list[Found]], beside: dict[str, list[Found]]) -> Iterator[str]:
    own, theirs = runs[OURS][0], runs[PAPER][0]
    if "timed" in theirs:
        yield f"The paper's way: {theirs['timed']} of {theirs['of']} steps timed, the others taken to last as long."
    temperatures = ", ".join(f"{run['temperature']:.2f}" for run in runs[OURS])
    yield f"Ours on {own['device']}, logits divided by {temperatures}."
    yield f"Frozen student: test accuracy {_accuracy(beside['head']).replace(chr(92), '')} %."
    named = [name for name in ("torch", "transformers", "accelerate") if find_spec(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in named)
    yield f"{asked.seeds} seeds, other parts {asked.repeats} times; medians, ratios by seed."
    yield f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", default=os.environ.get(PACKS_VARIABLE), help=f"folder of packs; {PACKS_VARIABLE}")
    parser.add_argument("--pack", default="sentiment_mr")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="steps of the paper's way that are timed; 0: all")
    parser.add_argument(
        "--paper-through", action=argparse.BooleanOptionalAction, default=True, help="its accuracy, which takes longest"
    )
    parser.add_argument("--predicted", type=int, default=10_000, help="rows that are predicted")
    parser.add_argument("--tested", type=int, default=2000, help="rows of test gold")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of the other parts")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.packs or not (Path(asked.packs) / asked.pack / "pool.parquet").is_file():
        parser.error(f"--packs, or {PACKS_VARIABLE}, must name a folder with {asked.pack}/pool.parquet")
    return asked


if __name__ == "__main__":
    main()
