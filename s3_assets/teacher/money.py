"""What a call costs.

Belongs here: the price of a teacher, from the task's declaration or the price table of the package ``genai-prices``,
and the cost of tokens at it. Does not belong here: limits on spending (``budget.py``), sums (``ledger.py``).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from s3_assets.store.identity import digest
from s3_assets.tasks.load import Task
from s3_assets.teacher.request import LOOPBACK

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation


@dataclass(frozen=True)
class Price:
    """Price of one teacher. ``version`` names the table it was read from. ``cost`` gives US dollars."""

    version: str
    input: float
    output: float
    _cost: Callable[[int, int, int], float]
    factor: float = 1.0

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """US dollars of one call. ``prompt_tokens`` include ``cached_tokens``."""
        return self.factor * self._cost(prompt_tokens, completion_tokens, cached_tokens)


def price_of(task: Task, url: str) -> Price | None:
    """Price of the task's teacher at ``url``; None when it is not known, which is not the same as free."""
    spec = task.spec.teacher
    if spec.price is not None:
        declared = spec.price
        cached = declared.input if declared.cached_input is None else declared.cached_input
        rates = (declared.input, declared.output, cached)
        return Price(
            f"task.yaml {digest(rates, 4)}", declared.input, declared.output, functools.partial(_linear, rates)
        )
    if spec.backend != "openai":
        return Price("own machine", 0.0, 0.0, functools.partial(_linear, (0.0, 0.0, 0.0)))
    if urlsplit(url).hostname in LOOPBACK:
        return None
    try:
        once = _from_table(spec.model, url, 1_000_000, 1_000_000, 0)
    except LookupError:
        return None
    return Price(
        f"genai-prices {version('genai-prices')}",
        float(once.input_price),
        float(once.output_price),
        lambda *tokens: float(_from_table(spec.model, url, *tokens).total_price),
    )


def _linear(rates: tuple[float, float, float], prompt: int, completion: int, cached: int) -> float:
    fresh, written, known = rates
    return ((prompt - cached) * fresh + completion * written + cached * known) / 1_000_000


def _from_table(model: str, url: str, prompt: int, completion: int, cached: int) -> "PriceCalculation":
    from genai_prices import Usage, calc_price  # about 0.3 s

    usage = Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached)
    return calc_price(usage, model, provider_api_url=url)
