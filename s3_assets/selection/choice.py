"""What a round's choice of gold rows rests on, and what it is.

Belongs here: the values that the choice takes and gives. Does not belong here: choosing (``choose.py``), reading what
it rests on (``loop/sources.py``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ERROR: Final = "error"
DOUBTED: Final = "doubted"
EXPLORED: Final = "explored"
SKIPPED: Final = "skipped"
Why = Literal["error", "doubted", "explored", "skipped"]


@dataclass(frozen=True)
class Basis:
    """What is known of steering gold when a round chooses among it. Neither selecting nor test gold is in any of it.

    ``steer`` has the columns of ``gold`` and holds the rows that may be written from; ``errors`` those of
    ``error_set``, for some of its rows. ``said`` holds the predictions on ``steer``, where doubt decides. ``vectors``
    are of ``steer``, in its order, of shape (rows, width), each of length 1; None where no option needs them.
    ``skipped`` gives the reason of each error that is passed over, ``folds`` the fold of each row where what it is
    shown with must be of its fold, ``shares`` the rows of steering gold by label.
    """

    steer: pl.DataFrame
    errors: pl.DataFrame
    said: pl.DataFrame | None = None
    vectors: "NDArray[np.float32] | None" = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> pl.DataFrame:
        """``steer`` with the wrong ``prediction`` and its ``probability``, null for what the student gets right."""
        absent = [name for name in ("prediction", "probability") if name not in self.errors.columns]
        wrong = self.errors.with_columns(pl.lit(None).alias(name) for name in absent)
        wrong = wrong.select("gold_id", pl.col("prediction").cast(pl.String), pl.col("probability").cast(pl.Float64))
        return self.steer.join(wrong, on="gold_id", how="left", maintain_order="left")


@dataclass(frozen=True)
class Source:
    """A gold row that a round considered: why, its share, how many rows are asked for, what the teacher is shown."""

    gold_id: str
    label: str
    why: Why
    reason: str | None = None
    cluster: int | None = None
    weight: float = 1.0
    rows_requested: int = 0
    contrast_id: str | None = None
    diagnosis: str | None = None


@dataclass(frozen=True)
class Choice:
    """The rows considered, in the order in which they are asked about. ``explored`` counts rows given at random."""

    sources: tuple[Source, ...]
    explored: int = 0

    def wanted(self) -> dict[str, int]:
        """Rows to ask for by gold id."""
        return {source.gold_id: source.rows_requested for source in self.sources if source.why != SKIPPED}

    def shown(self) -> dict[str, Source]:
        """Sources that rows are asked from, by gold id."""
        return {source.gold_id: source for source in self.sources if source.rows_requested}

    def with_diagnoses(self, by_cluster: Mapping[int, str]) -> "Choice":
        """The same choice, its errors with the diagnosis of their cluster."""

        def diagnosed(source: Source) -> Source:
            said = by_cluster.get(source.cluster) if source.cluster is not None else None
            return replace(source, diagnosis=said) if said is not None and source.rows_requested else source

        return replace(self, sources=tuple(map(diagnosed, self.sources)))

    def records(self) -> list[dict[str, Any]]:
        """Rows of table ``sources`` without its leading round columns."""
        return [asdict(source) for source in self.sources]

    def numbers(self) -> dict[str, int]:
        """Numbers worth plotting."""
        skipped = sum(source.why == SKIPPED for source in self.sources)
        found = {"sources": len(self.sources) - skipped}
        if skipped:
            found["sources_skipped"] = skipped
        if self.explored:
            found["rows_explored"] = self.explored
        return found
