"""What may be spent: each attempt reserves the most it can cost, then settles what it did.

Belongs here: limits of task, round and run, in calls, tokens and US dollars, and reservations. Does not belong here:
prices (``money.py``), what was paid in earlier steps (``ledger.py``).
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.teacher_spec import LimitSpec
from s3_assets.teacher.ledger import Spent, spent
from s3_assets.teacher.money import Price

_UNIT = {"calls": "calls", "tokens": "tokens", "money": "US dollars"}


class BudgetExhausted(RuntimeError):
    """The budget does not allow another call. Everything received so far is kept."""


@dataclass(frozen=True)
class Amounts:
    """An amount in every unit that is limited; ``money`` is 0 where the price is not known."""

    calls: int = 0
    tokens: int = 0
    money: float = 0.0


@dataclass
class Limit:
    """One limit: ``scope`` and ``key`` say whose and which line of the YAML sets it."""

    scope: str
    key: str
    unit: str
    most: float
    spent: float
    reserved: float = field(default=0.0)


class Budget:
    """Limits of one session. ``reserve`` waits while attempts under way may still turn out cheaper."""

    def __init__(self, task: str, limits: list[Limit]) -> None:
        self._task, self._limits = task, limits
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._under_way = 0

    async def reserve(self, amounts: Amounts) -> None:
        """Set ``amounts`` aside; ``BudgetExhausted`` when that is not possible whatever the others come to."""
        while (short := self._short(amounts)) is not None:
            if self._under_way == 0:
                raise BudgetExhausted(self._explain(short, amounts))
            freed = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        self.book(amounts)

    def fits(self, amounts: Amounts) -> None:
        """``BudgetExhausted`` when ``amounts`` cannot be reserved now."""
        short = self._short(amounts)
        if short is not None:
            raise BudgetExhausted(self._explain(short, amounts))

    def share(self, other: "Budget") -> None:
        """Count what is spent here together with ``other``, which was opened for the same step.

        The two must not be asked at once: one does not wait for what the other has under way.
        """
        same = {limit.key: limit for limit in other._limits}
        self._limits = [same.get(limit.key, limit) for limit in self._limits]

    def book(self, amounts: Amounts) -> None:
        """Set ``amounts`` aside without asking."""
        for limit in self._limits:
            limit.reserved += getattr(amounts, limit.unit)
        self._under_way += 1

    def settle(self, reserved: Amounts, actual: Amounts) -> None:
        """Replace a reservation by what was spent."""
        for limit in self._limits:
            limit.reserved -= getattr(reserved, limit.unit)
            limit.spent += getattr(actual, limit.unit)
        self._under_way -= 1
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)

    def _short(self, amounts: Amounts) -> Limit | None:
        for limit in self._limits:
            # Sums of dollars carry rounding errors far below a cent.
            if limit.spent + limit.reserved + getattr(amounts, limit.unit) > limit.most + 1e-9:
                return limit
        return None

    def _explain(self, limit: Limit, amounts: Amounts) -> str:
        left, needed = max(0.0, limit.most - limit.spent), getattr(amounts, limit.unit)
        return (
            f"task {self._task}: the budget of {_shown(limit.most)} teacher {_UNIT[limit.unit]} for {limit.scope} is "
            f"spent: {_shown(left)} left, the next call may take {_shown(needed)}. Answers so far are kept; raise "
            f"{limit.key} in its task.yaml to go on."
        )


def open_budget(task: Task, price: Price | None, warehouse: Warehouse, key: RoundKey, run_id: str | None) -> Budget:
    """The budget of one step, with what was paid before. ``run_id`` names what ``budget.per_run`` is counted by."""
    before = {"task": spent(warehouse, {"task": key.task}), "round": spent(warehouse, key.columns())}
    if run_id is not None:
        before["run"] = spent(warehouse, {"task": key.task, "run_id": run_id})
    return Budget(task.name, limits_of(task, price, before))


def limits_of(task: Task, price: Price | None, spent: Mapping[str, Spent]) -> list[Limit]:
    """The limits a task declares. ``spent`` holds what was paid before, for ``task``, ``round`` and ``run``.

    ``TaskError`` when money is limited and cannot be counted, because the price is not known.
    """
    budget, limits = task.spec.budget, []
    scopes: list[tuple[str, str, LimitSpec]] = [
        ("task", "budget", budget),
        ("round", "budget.per_round", budget.per_round),
        ("run", "budget.per_run", budget.per_run),
    ]
    for name, section, declared in scopes:
        before = spent.get(name, Spent())
        for unit in _UNIT:
            most = getattr(declared, unit)
            if most is None:
                continue
            key = f"{section}.{unit}"
            if unit == "money" and (price is None or before.money is None):
                if unit not in declared.model_fields_set:
                    continue
                raise TaskError(_unpriced(task, key, price is None))
            limits.append(Limit(f"the {name}", key, unit, most, getattr(before, unit)))
    return limits


def _unpriced(task: Task, key: str, now: bool) -> str:
    model = task.spec.teacher.model
    what = (
        f"the price of model {model!r} at its endpoint is not known" if now else "some calls paid before have no price"
    )
    return (
        f"task {task.name}: {key} limits money, but {what}. Declare it under teacher.price (US dollars per million "
        "tokens: input, output), or limit budget.tokens or budget.calls instead and remove the limit on money"
    )


def _shown(amount: float) -> str:
    return f"{amount:,.0f}" if amount == int(amount) else f"{amount:,.4f}"
