"""How fast an endpoint is asked: rates, giving way to refusals, what headers say."""

import asyncio
import time

import pytest

from s3_assets.teacher.limits import LATEST, Pace, Rate, asked_pause, asked_wait


def test_a_rate_spreads_a_minute_evenly_after_a_short_burst():
    now = [100.0]
    rate = Rate(60, clock=lambda: now[0])
    # A second's worth at once, then one a second.
    assert [round(rate.wait(1), 6) for _ in range(4)] == [0, 1, 2, 3]
    now[0] += 10
    assert rate.wait(1) == 0


def test_a_rate_is_corrected_by_what_was_really_used():
    now = [100.0]
    rate = Rate(600, clock=lambda: now[0])
    rate.wait(10)
    rate.correct(-8)
    assert rate.wait(5) == 0
    rate.correct(20)
    assert rate.wait(1) == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_a_server_asks_for(headers, seconds):
    assert asked_wait(headers) == seconds


def test_a_date_in_the_future_is_a_wait():
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert 25 < asked_wait({"retry-after": date}) <= 30


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0.5s"}, 360.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "2s",
            },
            2,
        ),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({}, None),
    ],
)
def test_the_pause_headers_ask_for(headers, seconds):
    assert asked_pause(headers) == seconds


def in_flight_at_most(pace: Pace, count: int) -> int:
    """The largest number of turns held at once by ``count`` requests of 10 ms."""
    most = 0

    async def one():
        nonlocal most
        await pace.begin(10)
        most = max(most, pace.in_flight)
        await asyncio.sleep(0.01)
        pace.end(0)

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(count)))

    asyncio.run(all_of_them())
    return most


def test_no_more_in_flight_than_allowed():
    assert in_flight_at_most(Pace(4, None, None), 20) == 4
    assert in_flight_at_most(Pace(50, None, None), 20) == 20


def test_sporadic_refusals_slow_nobody_else():
    pace = Pace(64, None, None)
    for number in range(LATEST):
        if number % 20:
            pace.answered(None)
        else:
            pace.failed(1.0, refused=True)
    assert pace.allowed == 64


def test_many_refusals_halve_what_is_in_flight_and_answers_raise_it_again():
    pace = Pace(64, None, None)
    for _ in range(LATEST // 2):
        pace.failed(0.01, refused=True)
    # Once for each wait asked for, however many were in flight.
    assert pace.allowed == 32
    pace._eased_until = 0
    for _ in range(40):
        pace.answered(None)
    assert 33 < pace.allowed < 34


def test_a_failing_endpoint_is_silent_from_its_first_failure_on():
    pace = Pace(4, None, None)
    assert pace.failed(1, refused=False) < 0.01
    time.sleep(0.05)
    assert pace.failed(1, refused=False) >= 0.05
    pace.answered(None)
    assert pace.failed(1, refused=False) < 0.01
    # Failures that are no refusals say nothing about being too fast.
    assert pace.allowed == 4


def test_a_turn_given_up_while_waiting_is_not_lost():
    async def scenario():
        pace = Pace(1, None, None)
        await pace.begin(1)
        waiting = asyncio.create_task(pace.begin(1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pace.end(0)
        await asyncio.wait_for(pace.begin(1), 1)
        assert pace.in_flight == 1

    asyncio.run(scenario())
