"""The rows of a step that asks the teacher, from the gates to what is stored beside its part.

Belongs here: a task's own rows through the gates, second opinions, remedies against shortcuts, the tables ``rejected``,
``verdicts`` and ``shortcuts``. Does not belong here: asking (``generation/``), the order of a step's work
(``steps.py``), what gates and remedies do (``quality/``).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from s3_assets.generation.filling import Verify, Written, refused_row
from s3_assets.generation.seed import read_seed_rows
from s3_assets.generation.verdicts import verdict_numbers
from s3_assets.generation.verify import judging, verifier
from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET
from s3_assets.loop.publish import Numbers
from s3_assets.quality.candidate import Candidate
from s3_assets.quality.gates import Gates
from s3_assets.quality.overlap import GoldOverlap
from s3_assets.quality.remedies import SHORTCUT, remedy
from s3_assets.store.identity import example_id
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.load import Task
from s3_assets.teacher.session import TeacherSession

# Tables that the steps of a round write beside the parts of their assets.
BESIDE_ROUND, BESIDE_STEP = ("predictions", "shortcuts", "sources"), ("rejected", "verdicts")


@contextmanager
def writing(warehouse: Warehouse, asset: str, key: RoundKey) -> Iterator[Written]:
    """Rows to be filled. On leaving, even by an error, what was refused and the verdicts are stored."""
    written = Written()
    step = {**key.columns(), "asset": asset}
    try:
        yield written
    finally:
        for name, rows in (("rejected", written.rejected), ("verdicts", written.verdicts)):
            warehouse.write(name, step, frame_of(name, rows, step))


@contextmanager
def second_opinions(
    task: Task,
    warehouse: Warehouse,
    key: RoundKey,
    asset: str,
    run_id: str | None,
    session: TeacherSession,
    gold: pl.DataFrame,
    seen: pl.DataFrame | None,
    written: Written,
) -> Iterator[Verify | None]:
    """What verifies the labels of a step's rows; None where the task wants nobody's second opinion."""
    with judging(task, warehouse, key, asset, run_id, session) as judge:
        yield verifier(task, judge, gold, seen, written, _verdicts_on_gold(warehouse, key, asset))
        if judge is not None and judge is not session:
            written.judge = {f"judge_{name}": value for name, value in judge.tally.numbers().items()}


def own_rows(task: Task, gates: Gates, written: Written) -> None:
    """The task's own seed rows through the same gates as a teacher's. Their labels are a person's, not verified."""
    nobody: Mapping[str, Any] = {"gold_id": None, "request_id": None, "item": None}
    for row in read_seed_rows(task):
        judged = gates.judge(row, row["label"])
        if judged.refusal is None:
            texts = [judged.item["text"], judged.item["text2"], row["label"], row["answer"]]
            repairs = ", ".join(judged.repairs) or None
            own = {"example_id": example_id(*texts), "repairs": repairs, "confidence": None}
            written.accepted.append({**judged.item, **own, **nobody})
        else:
            refusal = judged.refusal
            written.rejected.append(refused_row({**row, **nobody}, refusal.gate, refusal.reason, refusal.value))


def against_shortcuts(task: Task, written: Written, gold: pl.DataFrame) -> None:
    """Strip or rebalance the accepted rows where the task says so; rows refused for it move to the rejected ones."""
    spec, fields = task.spec, task.spec.text_fields
    steer = gold.filter(pl.col("split") == "steer")
    kept, refused = remedy(spec.shortcuts, written.accepted, steer, list(spec.labels), spec.fields_written, spec.seed)
    if any(SHORTCUT in (row["repairs"] or "") for row in kept):
        # A text without its mark may be one of gold's.
        overlap, left = GoldOverlap(gold, fields, spec.fields_written, spec.gates.echo), []
        for row in kept:
            texts = {name: row[name] for name in fields}
            changed = SHORTCUT in (row["repairs"] or "")
            refusal = overlap.refuse(Candidate(texts, spec.fields_written, row["label"])) if changed else None
            if refusal is None:
                left.append(row)
            else:
                refused.append(refused_row(row, refusal.gate, refusal.reason, refusal.value))
        kept = left
    written.accepted[:] = kept
    written.rejected.extend(refused)


def note_shortcuts(
    task: Task, warehouse: Warehouse, key: RoundKey, rows: pl.DataFrame, gold: pl.DataFrame
) -> pl.DataFrame:
    """Shortcuts of a seed set, also stored as the round's part of table ``shortcuts``."""
    from s3_assets.quality.shortcuts import find_shortcuts  # numpy, 0.2 s

    steer, spec = gold.filter(pl.col("split") == "steer"), task.spec
    found = find_shortcuts(rows, steer, list(spec.labels), spec.fields_written, spec.shortcuts.excess)
    warehouse.write("shortcuts", key.columns(), frame_of("shortcuts", found.to_dicts(), key.columns()))
    return found


def frame_of(name: str, rows: Sequence[Mapping[str, Any]], constants: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of table ``name`` as a frame, every one with ``constants``."""
    return pl.DataFrame([{**constants, **row} for row in rows], schema=table(name).schema)


def counts(rows: pl.DataFrame, written: Written) -> Numbers:
    """Numbers worth plotting of a step that asked."""
    shortfall = sum(written.shortfall.values())
    repaired = rows["repairs"].count()
    found: Numbers = {"rows": rows.height, "rejected_rows": len(written.rejected), "shortfall": shortfall}
    verified = verdict_numbers(written.verdicts) if written.verdicts else {}
    return found | {"repaired_rows": repaired} | verified | written.judge


def _verdicts_on_gold(warehouse: Warehouse, key: RoundKey, asset: str) -> pl.DataFrame | None:
    """Verdicts of the first step of this arm that asked about gold, so that it is asked about once.

    Steps before this one only: they are live, so they asked the same judge the same way.
    """
    before = (SEED_SET,) if key.round == 0 else (SEED_SET, EXTRAPOLATED_SET)
    for name in before if asset == EXTRAPOLATED_SET else ():
        part = warehouse.live("verdicts", {**key.at(0).columns(), "asset": name})
        if part is not None:
            found = part.read()
            if not found.filter(pl.col("kind") == "gold").is_empty():
                return found
    return None
