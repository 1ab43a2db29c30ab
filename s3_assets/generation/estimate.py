"""What rounds would ask of the teacher, counted before anything is asked.

Belongs here: doing a step with answers that are imagined, what rounds come to, comparing that with the budget. Does
not belong here: how answers are expected to turn out (``rates.py``), prices (``teacher/money.py``).
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import polars as pl

from s3_assets.generation.assumed import ASSUMED_ERRORS, assumed, mistaken
from s3_assets.generation.contexts import read_contexts
from s3_assets.generation.diagnosis import diagnosed
from s3_assets.generation.extrapolate import write_extrapolated_set
from s3_assets.generation.filling import Verify, Written
from s3_assets.generation.imagined import Cost, Imagined, Known, imagined_students, without_warnings
from s3_assets.generation.rates import Rates, measured_rates
from s3_assets.generation.schedule import seed_size
from s3_assets.generation.seed import write_seed_set
from s3_assets.generation.sublabels import count_sublabels
from s3_assets.generation.verdicts import GOLD, calibrating_gold
from s3_assets.generation.verify import verifier
from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET, SEED_SET, loop_key
from s3_assets.loop.reviews import read_reviewed_gold
from s3_assets.loop.sources import read_basis
from s3_assets.loop.state import Board
from s3_assets.loop.uses import gold_in_use
from s3_assets.prompting.contract import DIAGNOSIS, written_fields
from s3_assets.quality.gates import Gates, open_gates
from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.quality_spec import GatesSpec
from s3_assets.teacher.budget import limits_of
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.ledger import CALLS, Ledger, Spent, scan, spent
from s3_assets.teacher.money import Price, price_of
from s3_assets.teacher.session import TeacherSession

# Of an answer, with its JSON: a sentence.
CHARACTERS_PER_DIAGNOSIS = 150.0

# Chance decides which rows are accepted, so small steps are imagined more often.
REQUESTS_TO_IMAGINE, MOST_RUNS = 1000, 20

# How much longer extrapolated rows are taken to be than their error, until it is known: teachers measured so far wrote
# between as much and half as much again.
LONGER = 1.05

SPENT, OWN_ROWS, FIRST, REPLAY = "spent", "own rows", "before any error", "replay"

# Characters of JSON around each field of a row, and around the row, with its share of what is around all.
_AROUND_FIELD, _AROUND_ROW = 13, 6


_Step = Callable[[TeacherSession, Gates, Written, Verify | None], None]

_NO_WORDS_READ = GatesSpec(
    repair=False,
    refusal=False,
    meta_talk=False,
    language=False,
    length=None,
    label_words=False,
    echo=None,
    near_duplicate=None,
    answer_given=False,
)


@dataclass(frozen=True)
class RoundEstimate:
    """What the rows that a round's seed set adds cost, or will.

    ``ground`` says what that rests on. ``from_ledger`` counts requests that are answered already and cost nothing.
    """

    round: int
    cost: Cost
    ground: str
    from_ledger: int = 0

    @property
    def asked_in(self) -> int:
        """The round whose step asks, and whose budget pays: rows are extrapolated in the round before."""
        return max(0, self.round - 1)


def estimate_rounds(task: Task, warehouse: Warehouse, first: int, last: int) -> list[RoundEstimate]:
    """What rounds ``first`` to ``last`` cost or will. Nothing is asked.

    Errors are known where an error set is live. For later rounds there are taken to be as many as in the last known
    one; before any training, ``ASSUMED_ERRORS`` of steering gold.
    """
    with _forecast(task, warehouse) as ahead:
        return [ahead.round(round_) for round_ in range(first, last + 1)]


def beyond_budget(task: Task, warehouse: Warehouse, rounds: Sequence[RoundEstimate]) -> list[str]:
    """Each limit that the rounds still to be asked exceed, in words. Each limit is said once, for its first round."""
    ahead = [one for one in rounds if one.ground != SPENT]
    price = price_of(task, base_url(task))
    before = {"task": spent(warehouse, {"task": task.name})}
    said: dict[str, str] = {}
    for asked_in in sorted({one.asked_in for one in ahead}):
        asked = spent(warehouse, loop_key(task, asked_in).columns())
        try:
            limits = limits_of(task, price, {**before, "round": asked, "run": Spent()})
        except TaskError as error:
            return [str(error)]
        for limit in limits:
            of_round = limit.scope == "the round"
            needed = total(one for one in ahead if not of_round or one.asked_in == asked_in)
            amount, left = getattr(needed, limit.unit), max(0.0, limit.most - limit.spent)
            if amount is not None and amount > left:
                who = f"what round {asked_in} asks" if of_round else "what is still to be asked"
                said.setdefault(
                    limit.key,
                    f"{who} takes about {_amount(limit.unit, amount)}; {limit.key} leaves {_amount(limit.unit, left)}",
                )
    return list(said.values())


def total(rounds: Iterable[RoundEstimate]) -> Cost:
    """All of the rounds together."""
    return sum((one.cost for one in rounds), Cost())


def _amount(unit: str, amount: float) -> str:
    return f"${amount:,.4f}" if unit == "money" else f"{amount:,.0f} {unit}"


@contextmanager
def _forecast(task: Task, warehouse: Warehouse) -> Iterator["_Forecast"]:
    # Opened where there is a warehouse: answers that a killed run left in its journal count too.
    with Ledger(warehouse) if warehouse.root.is_dir() else nullcontext() as ledger:
        yield _Forecast(task, warehouse, ledger)


class _Forecast:
    """What is known of a task before its rounds are asked for."""

    def __init__(self, task: Task, warehouse: Warehouse, ledger: Ledger | None) -> None:
        self._task, self._warehouse = task, warehouse
        self._board = Board(task, warehouse)
        self._gold = gold_in_use(task, read_reviewed_gold(task, warehouse)[0])
        self._steer = self._gold.filter(pl.col("split") == "steer")
        self._rates = measured_rates(task, warehouse)
        self._known, self._judge = Known(task, ledger), _Judge.of(task, ledger)
        self._lengths = _lengths(task, self._steer)
        self._price = price_of(task, base_url(task))

    @cached_property
    def _gates(self) -> Gates:
        """Those of any step. Imagined texts are not judged by their words: rates say how many rows are refused."""
        imaginary = replace(self._task, spec=self._task.spec.model_copy(update={"gates": _NO_WORDS_READ}))
        return open_gates(imaginary, self._gold)

    def round(self, round_: int) -> RoundEstimate:
        """One round: what it cost if it is there, else what it will."""
        asset, asked_in = (SEED_SET, 0) if round_ == 0 else (EXTRAPOLATED_SET, round_ - 1)
        if round_ == 0 and self._task.spec.seed_rows is not None:
            return RoundEstimate(round_, Cost(), OWN_ROWS)
        key = loop_key(self._task, asked_in)
        if self._board.is_live(asset, asked_in):
            return RoundEstimate(round_, _paid(self._warehouse, key, asset), SPENT)
        if self._task.spec.teacher.mode == "replay":
            return RoundEstimate(round_, Cost(), REPLAY)
        if round_ == 0:
            contexts = read_contexts(self._task, self._gold)

            def seed(session: TeacherSession, gates: Gates, written: Written, verify: Verify | None) -> None:
                sublabels = count_sublabels(self._task, session, self._steer, written)
                write_seed_set(self._task, session, contexts, gates, written, sublabels, verify, self._steer)

            requests = math.ceil(seed_size(self._task) / self._task.spec.rows.per_call)
            cost, known = self._imagine(asset, 0, requests, seed)
            return RoundEstimate(round_, cost, FIRST, known)
        basis, ground = self._basis(asked_in)
        cost, known = self._imagine_sources(basis, asked_in)
        return RoundEstimate(round_, cost, ground, known)

    def _basis(self, round_: int) -> tuple[Basis, str]:
        """What round ``round_`` chooses gold rows by, and how it is known."""
        task, warehouse = self._task, self._warehouse
        key = loop_key(task, round_)
        if task.spec.how.extrapolates == "gold":
            return read_basis(task, warehouse, key, self._gold, None, None, ahead=True), "all of steering gold"
        for earlier in range(round_, -1, -1):
            state = self._board.step(ERROR_SET, earlier)
            if self._board.is_live(ERROR_SET, earlier) and state.part is not None:
                said = "errors known" if earlier == round_ else f"assumed as many errors as in round {earlier}"
                known = read_basis(task, warehouse, key.at(earlier), self._gold, state.part.read(), None, ahead=True)
                return known, said
        count = math.ceil(ASSUMED_ERRORS * self._steer.height)
        errors = mistaken(task, self._steer.sample(count, seed=task.spec.seed))
        basis = read_basis(task, warehouse, key, self._gold, errors, None, ahead=True)
        return replace(basis, said=assumed(basis)), f"assumed {ASSUMED_ERRORS:.0%} errors"

    def _imagine_sources(self, basis: Basis, round_: int) -> tuple[Cost, int]:
        """Mean cost of the extrapolated set of a round."""
        task = self._task
        live = self._warehouse.live(SEED_SET, loop_key(task, round_).columns())
        seen = None if live is None else live.read()
        choice, sources = choose(task, basis, round_), basis.rows()

        def extrapolate(session: TeacherSession, gates: Gates, written: Written, verify: Verify | None) -> None:
            if seen is not None:
                gates.remember(seen)
            shown = diagnosed(task, session, choice, sources, round_, written)
            write_extrapolated_set(task, session, sources, round_, gates, written, verify, shown)

        rows = sum(choice.wanted().values())
        return self._imagine(EXTRAPOLATED_SET, round_, math.ceil(rows / task.spec.rows.per_call), extrapolate)

    def _imagine(self, asset: str, asked_in: int, requests: int, step: _Step) -> tuple[Cost, int]:
        """Mean cost of a step with about so many requests at first, and how many the ledger answers."""
        rates = {kind: found for (name, kind), found in self._rates.items() if name == asset}
        rates.setdefault(DIAGNOSIS, Rates(characters=CHARACTERS_PER_DIAGNOSIS))
        uncertain = any(found.accepted_share < 1 or found.repeated for found in rates.values())
        runs = min(MOST_RUNS, math.ceil(REQUESTS_TO_IMAGINE / max(1, requests))) if uncertain else 1
        costs, recalled = Cost(), 0
        for run in range(runs):
            session = Imagined(self._task, rates, self._known, self._lengths, random.Random(run))
            judge = session if self._judge is None else self._judge.session(rates, self._lengths, random.Random(run))
            # A step uses no more of a session than these have.
            asked, written = cast(TeacherSession, session), Written()
            verify = self._verify(cast(TeacherSession, judge), asset, asked_in, random.Random(run), written)
            with without_warnings():
                step(asked, self._gates.anew(), written, verify)
            costs += session.cost(self._price)
            recalled = session.recalled
            if self._judge is not None:
                costs += judge.cost(self._judge.price)
                recalled += judge.recalled
        return costs.shared(runs), recalled

    def _verify(
        self, judge: TeacherSession, asset: str, asked_in: int, rng: random.Random, written: Written
    ) -> Verify | None:
        """The label questions of a step. Students alone cost nothing."""
        if self._task.spec.verifying.by == "students":
            return None
        of_gold = calibrating_gold(self._gold)
        # An arm asks about gold once, in its first step.
        first = EXTRAPOLATED_SET if self._task.spec.seed_rows is not None else SEED_SET
        known = None if (asset, asked_in) == (first, 0) else _agreed(of_gold)
        students = imagined_students(rng, of_gold.height)
        return verifier(self._task, judge, self._gold, None, written, known, students)


@dataclass(frozen=True)
class _Judge:
    """Another teacher who is asked for labels: the task with it, its answers in the ledger, its price."""

    task: Task
    known: Known
    price: Price | None

    @classmethod
    def of(cls, task: Task, ledger: Ledger | None) -> "_Judge | None":
        teacher = task.spec.verifying.teacher
        if teacher is None:
            return None
        asked = replace(task, spec=task.spec.model_copy(update={"teacher": teacher}))
        return cls(asked, Known(asked, ledger), price_of(asked, base_url(asked)))

    def session(self, rates: Mapping[str, Rates], lengths: Mapping[str | None, float], rng: random.Random) -> Imagined:
        return Imagined(self.task, rates, self.known, lengths, rng)


def _agreed(of_gold: pl.DataFrame) -> pl.DataFrame:
    """Verdicts on gold as if the judge had said its labels at once."""
    votes = pl.concat_list("label")
    return of_gold.select(
        pl.lit(GOLD).alias("kind"), pl.col("gold_id").alias("row_id"), "label", votes=votes, requests=votes
    )


def _lengths(task: Task, steer: pl.DataFrame) -> dict[str | None, float]:
    """Characters an answer is expected to take for a row: by the error it is written from, or (None) without one."""
    fields = written_fields(task)
    each = steer.select("gold_id", pl.sum_horizontal(pl.col(name).str.len_chars() for name in fields))
    around = _AROUND_FIELD * len(fields) + _AROUND_ROW
    lengths: dict[str, int] = dict(each.iter_rows())
    rows: dict[str | None, float] = {key: LONGER * length + around for key, length in lengths.items()}
    return {**rows, None: sum(lengths.values()) / len(lengths) + around}


def _paid(warehouse: Warehouse, key: RoundKey, asset: str) -> Cost:
    """What one step was billed, every attempt."""
    where = {**key.columns(), "asset": asset}
    paid = scan(warehouse, CALLS).filter(*(pl.col(name) == value for name, value in where.items()))
    unpriced = (pl.col("cost").is_null() & pl.col("response").is_not_null()).any()
    sums = pl.col("prompt_tokens", "completion_tokens", "cost").sum()
    calls, read, written, money, unknown = paid.select(pl.len(), sums, unpriced.alias("unknown")).collect().row(0)
    return Cost(calls, read, written, None if unknown else money)
