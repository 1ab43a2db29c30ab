"""How fast Bespoke Curator asks, with its cache on: what it keeps on disk is its ledger.

    .venv/bin/python benchmarks/mock_endpoint.py --latency 0.2
    /path/to/curator/bin/python benchmarks/teacher_curator.py --url http://127.0.0.1:PORT/v1 --working-dir scratch

Runs with the Python of an environment that has ``bespokelabs-curator`` (written for 0.1.31), which needs other versions
than the product. Prints one line of JSON: ``whole_seconds`` is the time of ``llm(dataset)``, ``seconds`` what asking
and keeping the answers takes of it, without trying the endpoint, writing the request file and building the dataset. In
a working directory that has answers it asks only for the missing ones. Besides the calls it sends two requests of its
own: one without messages for rate limits, one to try JSON schemas.

The settings are those that make it fastest: the OpenAI backend (its own aiohttp client, not LiteLLM's), limits per
minute that are never reached, a model without a price, no progress display, no log line per call.

Belongs here: Curator as its documentation uses it. Does not belong here: the requests (``teacher_requests.py``).
"""

import logging
import os
from importlib.util import find_spec
from pathlib import Path

import teacher_requests

# Of requests or tokens, per minute.
UNREACHED = 10**9


def main() -> None:
    options = teacher_requests.parser(__doc__).parse_args()
    place = Path(options.working_dir).resolve()
    place.mkdir(parents=True, exist_ok=True)
    _set_environment(place)
    _measure(options.url, options.calls, options.concurrency, place)


def _set_environment(place: Path) -> None:
    """Before the imports, which read it."""
    os.environ |= {
        "TELEMETRY_ENABLED": "false",
        "CURATOR_VIEWER": "false",
        # The other display, tqdm's, can be turned off altogether; it would draw three times a call.
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "TQDM_DISABLE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        # Prices from the package, not fetched.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
        # It counts tokens with a table that it would fetch; LiteLLM, which it needs, brings the table.
        "TIKTOKEN_CACHE_DIR": str(_folder("litellm") / "litellm_core_utils" / "tokenizers"),
        # Importing Curator writes to ~/.cache.
        "HOME": str(place),
    }
    os.environ.pop("CURATOR_DISABLE_CACHE", None)


def _folder(package: str) -> Path:
    """Where a package is installed, without importing it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: run this with the Python of an environment that has Curator")
    return Path(found.origin).parent


def _measure(url: str, calls: int, concurrency: int, place: Path) -> None:
    from bespokelabs import curator
    from datasets import Dataset
    from pydantic import BaseModel

    class Example(BaseModel):
        text: str

    class Examples(BaseModel):
        examples: list[Example]

    class Teacher(curator.LLM):
        def prompt(self, input: dict[str, int]) -> list[dict[str, str]]:  # noqa: A002 - Curator's name for it.
            return teacher_requests.messages(input["number"])

    # Otherwise one line per call in a file.
    logging.getLogger("curator").setLevel(logging.WARNING)
    llm = Teacher(
        model_name=teacher_requests.MODEL,
        response_format=Examples,
        backend="openai",
        backend_params={
            "base_url": url,
            "api_key": "none",
            "max_concurrent_requests": concurrency,
            "max_requests_per_minute": UNREACHED,
            "max_tokens_per_minute": UNREACHED * 1000,
        },
    )
    processor, asking = llm._request_processor, teacher_requests.Stopwatch()
    requests_to_responses = processor.requests_to_responses

    def timed(files: list[str]) -> None:
        with asking:
            requests_to_responses(files)

    processor.requests_to_responses = timed
    asked = Dataset.from_list([{"number": number} for number in range(calls)])
    with teacher_requests.Stopwatch() as whole:
        answered = llm(asked, working_dir=str(place))
    # A row is an answer as the default parse() gives it.
    answers = sum(bool(row["examples"]) for row in answered.dataset)
    teacher_requests.print_result(calls, answers, asking, whole)


if __name__ == "__main__":
    main()
