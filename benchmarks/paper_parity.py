"""Every strategy and control on real text with the simulated teacher, and the student on rows GPT-3.5 wrote.

    .venv/bin/python benchmarks/paper_parity.py --packs /path/to/packs

For each pack: all arms by ``s3-assets compare``, same teacher, student and sizes, then the leaderboard in Markdown.
For ``nli_rte`` also ``gpt35``: the student trained with and without the rows that GPT-3.5 wrote for the paper's rounds.
The teacher is simulated (what it "writes" are real rows of the pack): no arm's figure is an LLM result. 100 gold rows
steer and select, the pack's test file is test.

Belongs here: declaring and running the comparisons, the GPT-3.5 table. Does not belong here: arms and leaderboard
(``s3_assets/experiment``), the simulated teacher as a process (``s3_assets_tests/simulated_teacher.py``).
"""

import argparse
import time
from pathlib import Path

import polars as pl
from packs import folder_of_packs, pack_task, place_of_data, versions
from rich.console import Console

from s3_assets import settings
from s3_assets.cli.compare import compare_arms, parse_arms
from s3_assets.cli.leaderboard import markdown
from s3_assets.experiment.arms import arm_task
from s3_assets.experiment.leaderboard import estimate
from s3_assets.loop.fingerprints import SEED_SET, loop_key
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task
from s3_assets.tasks.split import normalise
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.simulated_teacher import PACKS_VARIABLE, simulated_teacher

GPT35_PACK = "nli_rte"


def main() -> None:
    options = _options()
    packs = folder_of_packs(options.packs)
    with place_of_data(options.keep, "paper-parity") as place:
        console = Console(width=110)
        for pack in options.pack:
            began = time.monotonic()
            with simulated_teacher(packs, pack) as teacher:
                task = _task(place, packs / pack, teacher.url, options)
                compare_arms(console, task, parse_arms(options.arms, task), options.seeds)
            board = settings.warehouse().live("leaderboard", {"task": pack})
            if board is not None:
                console.print(f"\n### {pack}\n", markdown(board.read()), highlight=False, soft_wrap=True, markup=False)
            if pack == GPT35_PACK:
                console.print(_gpt35(task, packs / pack, options.seeds), highlight=False, soft_wrap=True, markup=False)
            console.print(f"\n{pack}: {time.monotonic() - began:.0f} s. {_setting(options)}", highlight=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", help=f"folder of packs (default: {PACKS_VARIABLE})")
    parser.add_argument("--pack", nargs="+", default=["sentiment_mr", "nli_rte"])
    parser.add_argument("--arms", help="separated by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed-rows", type=int, default=400)
    parser.add_argument("--per-round", type=int, default=200)
    parser.add_argument("--refill", action="store_true", help="equal rows instead of equal teacher budgets")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--min-steps", type=int, default=StudentSpec().min_steps)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--keep", help="keep data here; the same command then goes on where it was")
    return parser.parse_args()


def _task(place: Path, pack: Path, url: str, options: argparse.Namespace) -> Task:
    return pack_task(
        place,
        pack,
        url,
        rows={"seed": options.seed_rows, "per_round": options.per_round, "refill": options.refill},
        student={"max_length": options.max_length, "epochs": options.epochs, "min_steps": options.min_steps},
        experiment={"rounds": 2, "seeds": options.seeds},
    )


def _gpt35(task: Task, pack: Path, seeds: int) -> str:
    """The student on the seed set alone, and with the rows GPT-3.5 wrote for the paper's two rounds."""
    warehouse = settings.warehouse()
    gold_part = warehouse.live("gold", {"task": task.name})
    assert gold_part is not None
    gold = gold_part.read()
    rounds = [_written_by_gpt35(pack / f"gpt35_extrapolated_{number}.parquet", gold) for number in (1, 2)]
    sets: dict[str, list[pl.DataFrame]] = {
        "seed set": [],
        "seed set, rounds 1 and 2": [rounds[0][1], rounds[1][1]],
    }
    lines = ["| trained on | rows | test % | sd | by seed |", "|---|---:|---:|---:|---|"]
    for name, added in sets.items():
        trainings = [pl.concat([_seed_rows(task, warehouse, seed), *added]) for seed in range(seeds)]
        scores = [_score(task, training, gold, seed) for seed, training in enumerate(trainings)]
        found = estimate(scores)
        sd = "-" if found.sd is None else f"{100 * found.sd:.1f}"
        each = ", ".join(f"{100 * score:.1f}" for score in scores)
        lines.append(f"| {name} | {trainings[0].height} | {100 * (found.mean or 0):.1f} | {sd} | {each} |")
    read, kept = sum(count for count, _ in rounds), sum(rows.height for _, rows in rounds)
    return "\n".join(
        [
            f"\n### {task.name}: rows that GPT-3.5 wrote for the paper's rounds\n",
            *lines,
            f"\n{read} rows read, {kept} used: the others have a first text that is in gold.",
        ]
    )


def _written_by_gpt35(file: Path, gold: pl.DataFrame) -> tuple[int, pl.DataFrame]:
    """Rows of a file that share no first text with gold, as training rows, and how many there were."""
    rows = pl.read_parquet(file)
    known = {normalise(text) for text in gold["text"]}
    kept = rows.filter(~pl.Series([normalise(text) in known for text in rows["text"]], dtype=pl.Boolean))
    return rows.height, _training(kept)


def _seed_rows(task: Task, warehouse: Warehouse, seed: int) -> pl.DataFrame:
    part = warehouse.live(SEED_SET, loop_key(arm_task(task, "seed_only", seed), 0).columns())
    assert part is not None, "run the arm seed_only first"
    return _training(part.read())


def _training(rows: pl.DataFrame) -> pl.DataFrame:
    absent = {"answer": pl.String, "answer_start": pl.Int64}
    return rows.select("text", "text2", "label", *(pl.lit(None, dtype).alias(name) for name, dtype in absent.items()))


def _score(task: Task, training: pl.DataFrame, gold: pl.DataFrame, seed: int) -> float:
    from s3_assets.student.train import train_student

    split = pl.col("split")
    trained = train_student(training, gold.filter(split == "select"), list(task.spec.labels), task.spec.student, seed)
    return float(trained.student.predict(gold.filter(split == "test"))["correct"].cast(pl.Float64).to_numpy().mean())


def _setting(options: argparse.Namespace) -> str:
    return (
        f"Teacher: simulated, no LLM. {options.seed_rows} seed rows, {options.per_round} a round, 2 rounds, "
        f"{'refused rows asked for again' if options.refill else 'each row asked for once'}, MiniLM, "
        f"{options.epochs} epochs or {options.min_steps} steps, {options.max_length} tokens, "
        f"{versions()}."
    )


if __name__ == "__main__":
    main()
