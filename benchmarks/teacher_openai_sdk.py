"""How fast the bare ``openai`` client asks: no ledger, no budget, nothing read from the answers.

    .venv/bin/python benchmarks/mock_endpoint.py --latency 0.2
    .venv/bin/python benchmarks/teacher_openai_sdk.py --url http://127.0.0.1:PORT/v1 --working-dir scratch

Prints one line of JSON. ``--transport default`` is httpx, which ``AsyncOpenAI`` uses unless told otherwise; ``aiohttp``
is the transport of the extra ``openai[aiohttp]``. Runs with any Python that has ``openai``; nothing is written to the
working directory.

Belongs here: asking through the SDK's own method, with its own repeats. Does not belong here: the requests
(``teacher_requests.py``), other clients.
"""

import asyncio
from collections.abc import Iterator

import openai
import teacher_requests

# More than the SDK's 2: with refusals, a request should come through as it does in the other clients.
RETRIES = 10


def main() -> None:
    parser = teacher_requests.parser(__doc__)
    parser.add_argument("--transport", choices=("default", "aiohttp"), default="default")
    options = parser.parse_args()
    asyncio.run(_measure(options.url, options.calls, options.concurrency, options.transport))


async def _measure(url: str, calls: int, concurrency: int, transport: str) -> None:
    http = openai.DefaultAioHttpClient() if transport == "aiohttp" else None
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=RETRIES, http_client=http) as client:
        answers: list[str] = []
        numbers = iter(range(calls))
        with teacher_requests.Stopwatch() as asking:
            await asyncio.gather(*(_ask(client, numbers, answers) for _ in range(concurrency)))
    teacher_requests.print_result(calls, len(answers), asking)


async def _ask(client: openai.AsyncOpenAI, numbers: Iterator[int], answers: list[str]) -> None:
    """One of those that ask at once: takes the next number until there is none."""
    for number in numbers:
        done = await client.chat.completions.create(**teacher_requests.request(number))
        if done.choices[0].message.content:
            answers.append(done.choices[0].message.content)


if __name__ == "__main__":
    main()
