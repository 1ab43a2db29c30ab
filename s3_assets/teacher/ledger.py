"""The ledger: every teacher answer, durable before it is used, found again by its request id.

Belongs here: cutting the journal into parts, looking answers up, what was spent. Does not belong here: the journal's
file (``journal.py``), deciding whether to ask (``session.py``), reading meaning into an answer
(``generation/answers.py``), moving answers between warehouses (``transfer.py``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.teacher.claims import Claims
from s3_assets.teacher.dialect import Dialect
from s3_assets.teacher.journal import Journal, Row, abandoned, read_rows

CALLS, USES = "teacher_calls", "teacher_uses"

# What an answer is read from; the other columns are for people.
_READ = ("request_id", "attempt", "response", "finish_reason", "outcome", "cause")


@dataclass(frozen=True)
class Spent:
    """What was paid: calls, tokens read and written, US dollars (None when the price of any of them is not known)."""

    calls: int = 0
    tokens: int = 0
    money: float | None = 0.0


class Ledger:
    """Answers of all teachers in one warehouse. Each open ledger writes a journal of its own.

    Journals of processes that died are cut into parts when the next ledger is opened.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._folder = warehouse.journal_folder
        self._journal: Journal | None = None
        self._index = pl.DataFrame(schema={"request_id": pl.String, "file": pl.UInt32})
        self._files: list[Path] = []
        self.claims = Claims(self._folder / "claims")

    def __enter__(self) -> Self:
        for left in abandoned(self._folder):
            self._write_parts(read_rows(left), check_known=True)
            left.unlink(missing_ok=True)
        self.claims.__enter__()
        self._journal = Journal(self._folder, self._write_parts)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.journal.close()
        self._journal = None
        self.claims.__exit__(kind, error, trace)

    @property
    def journal(self) -> Journal:
        """Where rows go; ``RuntimeError`` outside of a with statement."""
        if self._journal is None:
            raise RuntimeError("the ledger is not open; use it in a with statement")
        return self._journal

    def calls(self, request_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Attempts known for each request, oldest first, from parts and from the journals of all processes."""
        wanted = set(request_ids)
        # Journals before parts: rows move from the first to the second.
        rows = [row for name, row in self._journalled() if name == CALLS and row["request_id"] in wanted]
        rows += self._in_parts(wanted)
        known: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            known.setdefault(row["request_id"], {})[row["attempt"]] = row
        return {key: [attempts[number] for number in sorted(attempts)] for key, attempts in known.items()}

    def dialect(self, teacher_id: str, model: str) -> Dialect | None:
        """The form of request that the teacher last accepted; None when it was never asked."""
        noted = (
            scan(self._warehouse, CALLS)
            .filter((pl.col("teacher_id") == teacher_id) & (pl.col("model") == model) & pl.col("dialect").is_not_null())
            .sort("asked_at")
            .select(pl.col("dialect").last())
            .collect()
        )
        return Dialect.parse(noted.item() if noted.height else None)

    def _journalled(self) -> Iterable[Row]:
        own = self.journal
        for path in self._folder.glob("*.jsonl"):
            if not own.owns(path):
                yield from read_rows(path)
        yield from own.rows()

    def _in_parts(self, wanted: set[str]) -> list[dict[str, Any]]:
        """Attempts found in parts. Which part holds which request is remembered: parts never change."""
        listed = parts_of(self._warehouse, CALLS)
        fresh = sorted(set(listed) - set(self._files))
        if fresh:
            places = {str(path): place for place, path in enumerate(fresh, start=len(self._files))}
            found = pl.scan_parquet(fresh, hive_partitioning=False, include_file_paths="file", glob=False).select(
                "request_id", pl.col("file").replace_strict(places, return_dtype=pl.UInt32)
            )
            self._index = pl.concat([self._index, found.collect()])
            self._files += fresh
        holding = self._index.filter(pl.col("request_id").is_in(wanted))["file"].unique().sort().to_list()
        if not holding:
            return []
        files = [self._files[place] for place in holding]
        rows = pl.scan_parquet(files, hive_partitioning=False, glob=False).filter(pl.col("request_id").is_in(wanted))
        return rows.select(_READ).collect().to_dicts()

    def _write_parts(self, rows: list[Row], check_known: bool = False) -> None:
        uses = _typed(USES, [row for name, row in rows if name == USES])
        for keys, group in uses.group_by(ROUND_KEYS, maintain_order=True):
            where = dict(zip(ROUND_KEYS, keys, strict=True))
            fresh = self.unknown(USES, group) if check_known else group
            if not fresh.is_empty():
                self._warehouse.write(USES, where, fresh)
        calls = _typed(CALLS, [row for name, row in rows if name == CALLS])
        fresh = self.unknown(CALLS, calls) if check_known else calls
        if not fresh.is_empty():
            self._warehouse.write(CALLS, {}, fresh)

    def unknown(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows not in a part yet: a process may have died between writing a part and emptying its journal."""
        identity = ["request_id", "attempt", "asked_at"] if name == CALLS else ["request_id", "asset", "used_at"]
        return rows.join(scan(self._warehouse, name).select(identity).collect(), on=identity, how="anti")


def spent(warehouse: Warehouse, where: Mapping[str, str | int]) -> Spent:
    """What was paid for so far, every attempt, failed ones too. ``where`` gives columns of ``teacher_calls``."""
    paid = scan(warehouse, CALLS).filter(*(pl.col(name) == value for name, value in where.items()))
    return _sum(paid.select(_sums()).collect().row(0))


def paid_by_round(warehouse: Warehouse, key: RoundKey) -> dict[int, Spent]:
    """What the loop that ``key`` is a round of paid for the rows that each round's seed set added, by round.

    What an extrapolated set cost counts for the round after it, which is trained on it.
    """
    loop = [pl.col(name) == value for name, value in key.columns().items() if name != "round"]
    served = pl.col("round") + (pl.col("asset") == "extrapolated_set").cast(pl.Int64)
    summed = scan(warehouse, CALLS).filter(*loop).group_by(served.alias("served")).agg(_sums()).collect()
    return {row[0]: _sum(row[1:]) for row in summed.iter_rows()}


def parts_of(warehouse: Warehouse, name: str) -> list[Path]:
    """Files of a log table, the anchor without rows included."""
    return sorted((warehouse.root / name).glob("**/[0-9]*.parquet"))


def scan(warehouse: Warehouse, name: str) -> pl.LazyFrame:
    """All rows of a log table. Columns that older parts lack are null."""
    files = parts_of(warehouse, name)
    schema = table(name).schema
    if not files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(files, hive_partitioning=False, glob=False, schema=schema, missing_columns="insert")


def _sums() -> list[pl.Expr]:
    return [
        pl.len().alias("calls"),
        pl.sum_horizontal("prompt_tokens", "completion_tokens").sum().alias("tokens"),
        pl.col("cost").sum().alias("money"),
        # An attempt that brought nothing and was billed nothing has no cost to know.
        (pl.col("cost").is_null() & pl.col("response").is_not_null()).any().alias("unknown"),
    ]


def _sum(row: tuple[Any, ...]) -> Spent:
    calls, tokens, money, unknown = row
    return Spent(int(calls), int(tokens or 0), None if unknown else float(money or 0.0))


def _typed(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of the journal in the types of their table; times are milliseconds there."""
    schema = table(name).schema
    plain = {column: pl.Int64 if isinstance(dtype, pl.Datetime) else dtype for column, dtype in schema.items()}
    return pl.DataFrame(rows, schema=plain).with_columns(
        pl.col(column).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
        for column, dtype in schema.items()
        if isinstance(dtype, pl.Datetime)
    )
