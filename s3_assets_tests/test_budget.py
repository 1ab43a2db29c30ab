"""Money: prices, reservations, limits of task, round and run; nothing is overshot."""

import asyncio
import json

import pytest

from s3_assets.generation.answers import read_answer
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.budget import Amounts, Budget, BudgetExhausted, Limit, limits_of
from s3_assets.teacher.ledger import CALLS, Spent, spent
from s3_assets.teacher.money import price_of
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.asking import KEY, ask, logged, online, requests
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task

OPENAI = "https://api.openai.com/v1"
PRICE = {"input": 1.0, "output": 10.0}


def test_known_prices_come_from_the_table_with_its_version(tmp_path):
    price = price_of(write_task(tmp_path, teacher={"model": "gpt-4o-mini"}), OPENAI)
    assert price.version.startswith("genai-prices ")
    # Published by the provider: $0.15 and $0.60 per million tokens, $0.075 for cached ones.
    assert price.cost(1_000_000, 0) == pytest.approx(0.15)
    assert price.cost(0, 1_000_000) == pytest.approx(0.60)
    assert price.cost(1_000_000, 0, 1_000_000) == pytest.approx(0.075)


@pytest.mark.parametrize(("model", "url"), [("gpt-4o-mini", "http://127.0.0.1:1/v1"), ("my-own-model", OPENAI)])
def test_an_unknown_price_is_none_and_not_zero(tmp_path, model, url):
    assert price_of(write_task(tmp_path, teacher={"model": model}), url) is None


def test_a_declared_price_is_used_and_changes_the_version(tmp_path):
    task = write_task(tmp_path, teacher={"model": "mine", "price": PRICE})
    price = price_of(task, "http://127.0.0.1:1/v1")
    assert price.cost(1000, 100) == pytest.approx(0.002)
    assert price.cost(1000, 100, 1000) == pytest.approx(0.002)
    cheaper = write_task(tmp_path, teacher={"model": "mine", "price": {**PRICE, "cached_input": 0.1}})
    assert price_of(cheaper, OPENAI).cost(1000, 100, 1000) == pytest.approx(0.0011)
    assert price_of(cheaper, OPENAI).version != price.version


def test_models_on_this_machine_cost_nothing(tmp_path):
    assert price_of(write_task(tmp_path), "http://127.0.0.1/v1").cost(1000, 1000) == 0


def test_money_cannot_be_limited_where_the_price_is_not_known(tmp_path):
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url, budget={"money": 5})
        with pytest.raises(TaskError, match=r"budget\.money limits money, but the price of model .* is not known"):
            ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 1))
        assert not teacher.bodies


def test_the_default_of_ten_dollars_counts_only_where_the_price_is_known(tmp_path):
    task = write_task(tmp_path, teacher={"model": "gpt-4o-mini"})
    priced = limits_of(task, price_of(task, OPENAI), {})
    assert [(limit.unit, limit.most) for limit in priced] == [("calls", 10_000), ("money", 10.0)]
    assert [limit.unit for limit in limits_of(task, None, {})] == ["calls"]
    # Paid before without a known price: what is left of ten dollars cannot be said.
    assert [limit.unit for limit in limits_of(task, price_of(task, OPENAI), {"task": Spent(3, 9, None)})] == ["calls"]


def test_a_reservation_waits_for_attempts_that_may_turn_out_cheaper():
    async def scenario():
        budget = Budget("small", [Limit("the task", "budget.tokens", "tokens", 100, 0)])
        await budget.reserve(Amounts(1, 80))
        second = asyncio.create_task(budget.reserve(Amounts(1, 80)))
        await asyncio.sleep(0.01)
        assert not second.done()
        budget.settle(Amounts(1, 80), Amounts(1, 15))
        await asyncio.wait_for(second, 1)
        third = asyncio.create_task(budget.reserve(Amounts(1, 80)))
        await asyncio.sleep(0.01)
        budget.settle(Amounts(1, 80), Amounts(1, 80))
        with pytest.raises(BudgetExhausted, match=r"100 teacher tokens for the task is spent: 5 left.* may take 80"):
            await third

    asyncio.run(scenario())


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    ("budget", "unit"),
    [({"tokens": 6000}, "tokens"), ({"money": 0.06}, "US dollars"), ({"calls": 7}, "calls")],
)
def test_no_limit_is_overshot(tmp_path, concurrency, budget, unit):
    warehouse = Warehouse(tmp_path / "warehouse")
    teacher = {"concurrency": concurrency, "max_tokens": 1000, "price": PRICE}
    with scripted_teacher(obliging, usage={"prompt_tokens": 10, "completion_tokens": 1000}) as endpoint:
        task = online(tmp_path, endpoint.url, teacher=teacher, budget=budget)
        with pytest.raises(BudgetExhausted, match=unit):
            ask(task, warehouse, requests(task, 12))
        asked = len(endpoint.bodies)
    paid = spent(warehouse, {"task": "small"})
    assert asked == paid.calls
    assert paid.tokens <= budget.get("tokens", 10**9)
    assert paid.money <= budget.get("money", 10**9)
    assert paid.calls <= budget.get("calls", 10**9)
    # And not far below: the next call would not have fitted.
    assert paid.calls in (4, 5, 7)


def test_failed_and_unusable_attempts_count(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")

    def script(body, number):
        return (500, "oops") if number == 0 else (200, "nothing of use")

    with scripted_teacher(script) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"attempts": 9}, budget={"calls": 4})
        with pytest.raises(BudgetExhausted):
            ask(task, warehouse, requests(task, 1))
        assert len(endpoint.bodies) == 4
    assert logged(warehouse, CALLS).sort("attempt")["outcome"].to_list() == ["failed", *["answered"] * 3]


@pytest.mark.parametrize("scope", ["per_round", "per_run"])
def test_rounds_and_runs_have_limits_of_their_own(tmp_path, scope):
    warehouse = Warehouse(tmp_path / "warehouse")

    def asking(task, round_, run_id, sample):
        with teacher_session(task, warehouse, KEY.at(round_), "seed_set", run_id) as session:
            return session.ask(requests(task, 2, sample), read_answer)

    with scripted_teacher(obliging) as endpoint:
        task = online(tmp_path, endpoint.url, budget={scope: {"calls": 3}})
        asking(task, 0, "one", 0)
        with pytest.raises(BudgetExhausted, match=scope.partition("_")[2]):
            asking(task, 0, "one", 1)
        # Another round of another run begins anew; what was answered is free.
        asking(task, 1, "two", 2)
        assert all(answer.from_ledger for answer in asking(task, 0, "one", 0))
    assert spent(warehouse, {"run_id": "two"}).calls == 2


def test_the_ledger_says_what_each_call_cost(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
    price = {"input": 1.0, "output": 10.0, "cached_input": 0.5}
    with scripted_teacher(obliging, usage=usage) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"price": price})
        _, tally = ask(task, warehouse, requests(task, 1))
    call = logged(warehouse, CALLS).row(0, named=True)
    assert call["cached_tokens"] == 400
    assert call["cost"] == pytest.approx((600 * 1.0 + 400 * 0.5 + 100 * 10.0) / 1e6)
    assert call["price_version"].startswith("task.yaml ")
    assert tally.numbers()["cost_usd"] == pytest.approx(call["cost"])
    assert json.loads(call["request"])["model"] == "gpt-4o-mini"


def test_the_round_key_of_another_arm_is_another_round(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as endpoint:
        task = online(tmp_path, endpoint.url, budget={"per_round": {"calls": 2}})
        ask(task, warehouse, requests(task, 2))
        ask(task, warehouse, requests(task, 2, sample=1), RoundKey("small", "goldgen", 0, 0))
    assert spent(warehouse, {"arm": "goldgen"}).calls == 2
