"""``s3-assets estimate``. Only the printed table belongs here; the figures are in ``generation/estimate.py``."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s3_assets import settings
from s3_assets.cli.run import wanted_rounds
from s3_assets.generation.estimate import LONGER, SPENT, beyond_budget, estimate_rounds, total
from s3_assets.generation.imagined import Cost
from s3_assets.generation.rates import CHARACTERS_PER_TOKEN, measured_rates
from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET
from s3_assets.prompting.contract import EXAMPLES
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task, get_task
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.ledger import spent
from s3_assets.teacher.money import price_of


def estimate(
    task: Annotated[str, typer.Argument(help="Task to estimate.")],
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", help="Rounds to estimate, as 0-2 or 3; default all that the strategy has a budget for."
        ),
    ] = None,
) -> None:
    """Say what rounds will cost in calls, tokens and money, and what made ones did cost. Asks nothing."""
    declared, warehouse = get_task(task, settings.task_folders()), settings.warehouse()
    first, last = wanted_rounds(rounds, declared)
    console = Console(highlight=False)
    estimated = estimate_rounds(declared, warehouse, first, last)
    shown = Table(title=f"{declared.name}: what rounds cost", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("round", "calls", "tokens read", "written", "US dollars"):
        shown.add_column(Text(heading), justify="right")
    shown.add_column(Text("ground"))
    for one in estimated:
        recalled = f", {one.from_ledger:,} answers from the ledger" if one.from_ledger else ""
        shown.add_row(str(one.round), *_figures(one.cost), one.ground + recalled)
    shown.add_section()
    ahead = [one for one in estimated if one.ground != SPENT]
    shown.add_row("ahead", *_figures(total(ahead)), "")
    shown.add_row("all", *_figures(total(estimated)), "")
    console.print(shown)
    for line in _explained(declared, warehouse):
        console.print(line, soft_wrap=True, markup=False)
    exceeded = beyond_budget(declared, warehouse, estimated)
    for line in exceeded:
        console.print(f"over budget: {line}", soft_wrap=True, markup=False)
    if not exceeded:
        console.print("budget: what is ahead fits", soft_wrap=True)


def _figures(cost: Cost) -> list[str]:
    amounts = [f"{amount:,.0f}" for amount in (cost.calls, cost.read, cost.written)]
    return [*amounts, "unknown" if cost.money is None else f"{cost.money:,.4f}"]


def _explained(task: Task, warehouse: Warehouse) -> Iterator[str]:
    yield "of a round: what is paid for the rows its seed set adds; those of round 1 are extrapolated in round 0"
    rates = measured_rates(task, warehouse)
    seed, extrapolated = rates[SEED_SET, EXAMPLES], rates[EXTRAPOLATED_SET, EXAMPLES]
    if extrapolated.measured:
        yield (
            f"measured on calls of this task: {1 / extrapolated.read:.1f} characters read and "
            f"{1 / extrapolated.written:.1f} written per token, {extrapolated.calls:.2f} calls per request, accepted "
            f"{seed.accepted_share:.0%} of seed rows and {extrapolated.accepted_share:.0%} of extrapolated rows"
        )
    else:
        yield (
            f"assumed, as this task has asked nothing yet: {CHARACTERS_PER_TOKEN:g} characters per token, rows as long "
            "as gold's, every answer usable"
        )
    if extrapolated.repeated:
        repeats = f"{extrapolated.repeated:.0%} of them repeats"
        yield f"assumed until enough rows are extrapolated: {repeats}, each {LONGER:g} times as long as its error"
    url, model = base_url(task), task.spec.teacher.model
    price = price_of(task, url)
    if price is None:
        yield (
            f"price: unknown, the price table has no model {model!r} at {url}; declare it under teacher.price in the "
            "task's YAML"
        )
    else:
        batch = (
            f", times {task.spec.teacher.batch_price_factor:g} in batches" if task.spec.teacher.mode == "batch" else ""
        )
        yield f"price: ${price.input:g} per million tokens read, ${price.output:g} written ({price.version}){batch}"
    paid = spent(warehouse, {"task": task.name})
    money = "" if paid.money is None else f", ${paid.money:,.4f}"
    yield f"paid for this task so far: {paid.calls:,} calls, {paid.tokens:,} tokens{money}"
