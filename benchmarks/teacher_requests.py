"""What the scripts that measure clients of a teacher share: the requests, the arguments and the line of results.

``teacher_curator.py`` and ``teacher_openai_sdk.py`` ask the same requests, each in the environment of its own client.

Belongs here: what all of them must have alike, in plain Python, as none of those environments has the product. Does not
belong here: a client, the endpoint they ask (``mock_endpoint.py``).
"""

import argparse
import json
import resource
import time
from types import TracebackType
from typing import Any, Self

MODEL = "mock-teacher"

# About 400 characters.
SYSTEM = (
    "You write training data for a small text classifier. You are given the task, its labels and some rows that the "
    "classifier got wrong, and you write new rows of the same kind. Every row is one review as a viewer would type it: "
    "no quotation marks around it, no numbering, no remark on the task. Rows differ in length, tone and subject, and "
    "no row repeats one that you were shown. Answer with JSON in the form given."
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["examples"],
    "additionalProperties": False,
}

# About 1,200 characters with the request's number.
_USER = (
    "Request {number}. The task: say whether a short film review is positive or negative. The label to write for is "
    "negative: the writer would not recommend the film, whatever they liked in it. The classifier took these rows for "
    "positive:\n\n"
    "- The costumes are splendid and the score is better than that, which leaves two hours of people explaining the "
    "plot to each other in front of them.\n"
    "- I laughed four times, three of them in the trailer, and the fourth was at a line nobody meant to be funny.\n"
    "- A good director, a good cast, a story everyone knows: it takes some doing to make so little of it.\n"
    "- You will want to see it twice, the first time because you fell asleep after the opening and missed the rest.\n"
    "- Critics called it brave. Brave is what you have to be to sit through the middle hour without looking at your "
    "watch.\n\n"
    "What these have in common is praise for one thing that serves to say how poor the rest is; the classifier reads "
    "the praise and stops. Write rows that do the same in other words: other films, other parts of a film that get the "
    "praise, other ways to take it back. Some of them should be one clause long and some four sentences. Keep the "
    "names of real films and people out of it."
)


def messages(number: int) -> list[dict[str, str]]:
    """System and user message of one request; only the number differs between requests."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": _USER.format(number=number)}]


def request(number: int) -> dict[str, Any]:
    """The body of one chat completion, ready for an OpenAI client."""
    wanted = {"type": "json_schema", "json_schema": {"name": "examples", "strict": True, "schema": SCHEMA}}
    return {"model": MODEL, "messages": messages(number), "response_format": wanted}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that every script takes."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--url", required=True, help="base URL of the endpoint, ending in /v1")
    found.add_argument("--calls", type=int, default=2500)
    found.add_argument("--concurrency", type=int, default=64, help="requests under way at once, at most")
    found.add_argument("--working-dir", required=True, help="where the client keeps its answers, if it keeps them")
    return found


class Stopwatch:
    """Wall time (``seconds``) and CPU time (``cpu_seconds``) of a ``with`` block; 0 when it was never entered."""

    seconds = cpu_seconds = 0.0

    def __enter__(self) -> Self:
        self._began, self._cpu_before = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self.cpu_seconds = cpu_seconds() - self._cpu_before


def cpu_seconds() -> float:
    """User and system time of this process and the children it has waited for, since it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def print_result(calls: int, answers: int, asking: Stopwatch, whole: Stopwatch | None = None) -> None:
    """One line of JSON.

    ``seconds`` and ``asking_cpu_seconds`` are of asking, from the first request to the last answer and keeping it;
    ``whole_seconds`` is with what the client does before and after, where it does anything. ``cpu_seconds`` is of the
    process, so with imports.
    """
    found = {
        "calls": calls,
        "seconds": round(asking.seconds, 3),
        "whole_seconds": round((whole or asking).seconds, 3),
        "cpu_seconds": round(cpu_seconds(), 3),
        "asking_cpu_seconds": round(asking.cpu_seconds, 3),
        "answers": answers,
    }
    print(json.dumps(found), flush=True)
