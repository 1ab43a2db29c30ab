"""What each kind of student makes of 100 rows of gold alone, without a teacher.

    .venv/bin/python benchmarks/few_rows.py --packs /path/to/packs --seeds 3
    .venv/bin/python benchmarks/few_rows.py --packs /path/to/packs --pack nli_sick --rows 300 --kinds contrastive

For each pack of real text and each seed so many rows are drawn of its gold, every kind is trained on the same rows with
the options a task has without saying anything, but for the length of texts, and asked about test rows. No row selects.

Belongs here: drawing rows, the table. Does not belong here: what more rows cost (``student.py``), rows that a teacher
writes (``strategy.py``).
"""

import argparse
import time
from pathlib import Path
from statistics import fmean

import polars as pl
from packs import folder_of_packs, versions
from rich import box
from rich.console import Console
from rich.table import Table

from s3_assets.student.train import train_student
from s3_assets.tasks.student_spec import StudentSpec

KINDS = ("fine_tuned", "contrastive", "frozen")
PACKS = ("sentiment_mr", "nli_sick", "topic_clinc10")


def main() -> None:
    asked, console = _asked(), Console(width=110)
    folder = folder_of_packs(asked.packs)
    shown = Table("pack", "kind", "test accuracy % by seed", "mean", "seconds", box=box.SIMPLE)
    means: dict[str, list[float]] = {kind: [] for kind in asked.kinds}
    for pack in asked.pack:
        gold, test = _read(folder / pack, "gold_val"), _read(folder / pack, "gold_test").head(asked.tested)
        labels = sorted(test["label"].unique())
        accuracies: dict[str, list[float]] = {kind: [] for kind in asked.kinds}
        seconds: dict[str, list[float]] = {kind: [] for kind in asked.kinds}
        for seed in range(asked.seeds):
            rows = gold.sample(asked.rows, seed=seed, shuffle=True)
            for kind in asked.kinds:
                began = time.perf_counter()
                spec = StudentSpec(kind=kind, max_length=asked.max_length)
                student = train_student(rows, rows.clear(), labels, spec, seed).student
                seconds[kind].append(time.perf_counter() - began)
                accuracies[kind].append(100 * student.predict(test)["correct"].to_numpy().mean())
                console.print(f"{pack}, seed {seed}: {kind} {accuracies[kind][-1]:.1f}", highlight=False)
        for kind in asked.kinds:
            means[kind].append(fmean(accuracies[kind]))
            by_seed = ", ".join(f"{one:.1f}" for one in accuracies[kind])
            shown.add_row(pack, kind, by_seed, f"{means[kind][-1]:.1f}", f"{fmean(seconds[kind]):.0f}")
    for kind in asked.kinds:
        shown.add_row("mean of packs", kind, "", f"{fmean(means[kind]):.1f}", "")
    console.print(shown)
    console.print(
        f"{asked.rows} rows of gold, {asked.tested} test rows at most, {asked.max_length} tokens, {versions()}.",
        highlight=False,
    )


def _read(pack: Path, name: str) -> pl.DataFrame:
    rows = pl.read_parquet(pack / f"{name}.parquet")
    second = pl.col("text2") if "text2" in rows.columns else pl.lit(None, pl.String).alias("text2")
    return rows.select("text", second, "label")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", help="folder of packs (default: S3_ASSETS_PACKS)")
    parser.add_argument("--pack", nargs="+", default=list(PACKS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tested", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
