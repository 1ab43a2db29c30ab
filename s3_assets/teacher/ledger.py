"""The ledger: every teacher answer, durable before it is used, found again by its request id.

Belongs here: the append-only journal, cutting it into parts, looking answers up. Does not belong here: deciding
whether to ask (``session.py``), reading meaning into an answer (``generation/answers.py``).
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import polars as pl

from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import ROUND_KEYS, table

CALLS, USES = "teacher_calls", "teacher_uses"

# Journal lines after which a step's answers are cut into a part, so that SQL sees them while the step goes on.
LINES_PER_CUT = 1000


class Ledger:
    """Answers of all teachers in one warehouse. Each open ledger writes a journal of its own, held by a file lock.

    Journals of processes that died are cut into parts when the next ledger is opened.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._folder = warehouse.journal_folder
        self._journal: TextIO | None = None
        self._lines = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in sorted(self._folder.glob("*.jsonl")):
            self._recover(left)
        self._journal = (self._folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}.jsonl").open("x")
        fcntl.flock(self._journal, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        journal = self._open_journal()
        Path(journal.name).unlink()
        journal.close()
        self._journal = None

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Add a row to ``teacher_calls`` or ``teacher_uses``. It is on disk when this returns."""
        journal = self._open_journal()
        journal.write(json.dumps({"table": name, "row": row}, ensure_ascii=False) + "\n")
        journal.flush()
        os.fsync(journal.fileno())
        self._lines += 1
        if self._lines >= LINES_PER_CUT:
            self.cut()

    def cut(self) -> None:
        """Turn what this process has journalled into parts, then empty the journal."""
        journal = self._open_journal()
        self._write_parts(_read_lines(Path(journal.name)))
        os.ftruncate(journal.fileno(), 0)
        journal.seek(0)
        self._lines = 0

    def calls(self, request_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Attempts known for each request, oldest first, from parts and from the journals of all processes."""
        wanted = set(request_ids)
        rows = _scan(self._warehouse, CALLS).filter(pl.col("request_id").is_in(wanted)).collect().to_dicts()
        for journal in self._folder.glob("*.jsonl"):
            rows += [
                line["row"]
                for line in _read_lines(journal)
                if line["table"] == CALLS and line["row"]["request_id"] in wanted
            ]
        known: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            known.setdefault(row["request_id"], {})[row["attempt"]] = row
        return {key: [attempts[number] for number in sorted(attempts)] for key, attempts in known.items()}

    def _recover(self, journal: Path) -> None:
        """Cut the journal of a process that died. One still held by its process is left alone."""
        try:
            held = journal.open("r+")
        except FileNotFoundError:
            return
        with held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if journal.exists():
                self._write_parts(_read_lines(journal), check_known=True)
                journal.unlink(missing_ok=True)

    def _write_parts(self, lines: list[dict[str, Any]], check_known: bool = False) -> None:
        # Uses first: a call without its use would look unpaid to the budget.
        uses = pl.DataFrame([line["row"] for line in lines if line["table"] == USES], schema=_plain_schema(USES))
        for keys, group in _typed(uses).group_by(ROUND_KEYS, maintain_order=True):
            where = dict(zip(ROUND_KEYS, keys, strict=True))
            fresh = self._unknown(USES, group, ["request_id", "asset", "used_at"]) if check_known else group
            if not fresh.is_empty():
                self._warehouse.write(USES, where, fresh)
        calls = _typed(
            pl.DataFrame([line["row"] for line in lines if line["table"] == CALLS], schema=_plain_schema(CALLS))
        )
        fresh = self._unknown(CALLS, calls, ["request_id", "attempt", "asked_at"]) if check_known else calls
        if not fresh.is_empty():
            self._warehouse.write(CALLS, {}, fresh)

    def _unknown(self, name: str, rows: pl.DataFrame, identity: list[str]) -> pl.DataFrame:
        """Rows not in a part yet: the process may have died between writing a part and emptying its journal."""
        return rows.join(_scan(self._warehouse, name).select(identity).collect(), on=identity, how="anti")

    def _open_journal(self) -> TextIO:
        if self._journal is None:
            raise RuntimeError("the ledger is not open; use it in a with statement")
        return self._journal


def spent(warehouse: Warehouse, task: str) -> tuple[int, int]:
    """Calls and tokens a task has paid for so far: attempts of the requests it did not take from the ledger."""
    uses = _scan(warehouse, USES).filter((pl.col("task") == task) & ~pl.col("from_ledger"))
    paid = uses.select("request_id").unique().join(_scan(warehouse, CALLS), on="request_id")
    tokens = pl.sum_horizontal("prompt_tokens", "completion_tokens")
    calls, total = paid.select(pl.len().alias("calls"), tokens.sum().alias("tokens")).collect().row(0)
    return int(calls), int(total or 0)


def paid_by_round(warehouse: Warehouse, task: str) -> dict[int, tuple[int, int]]:
    """Calls and tokens paid for the rows that each round's seed set added, by round.

    What an extrapolated set cost counts for the round after it, which is trained on it.
    """
    uses = _scan(warehouse, USES).filter((pl.col("task") == task) & ~pl.col("from_ledger"))
    served = pl.col("round") + (pl.col("asset") == "extrapolated_set").cast(pl.Int64)
    first_uses = uses.select("request_id", served.alias("served")).group_by("request_id").agg(pl.col("served").min())
    paid = first_uses.join(_scan(warehouse, CALLS), on="request_id")
    tokens = pl.sum_horizontal("prompt_tokens", "completion_tokens").sum()
    summed = paid.group_by("served").agg(pl.len().alias("calls"), tokens.alias("tokens")).collect()
    return {round_: (calls, tokens or 0) for round_, calls, tokens in summed.iter_rows()}


def _scan(warehouse: Warehouse, name: str) -> pl.LazyFrame:
    files = sorted((warehouse.root / name).glob("**/*.parquet"))
    if not files:
        return pl.LazyFrame(schema=table(name).schema)
    return pl.scan_parquet(files, hive_partitioning=False)


def _read_lines(journal: Path) -> list[dict[str, Any]]:
    """Whole lines of a journal. A torn last line was never used, so it is left out."""
    try:
        text = journal.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def _plain_schema(name: str) -> dict[str, Any]:
    """The table's schema with times as milliseconds, the way the journal writes them."""
    return {
        column: pl.Int64 if isinstance(dtype, pl.Datetime) else dtype for column, dtype in table(name).schema.items()
    }


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col(column).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
        for column in rows.columns
        if column.endswith("_at")
    )
