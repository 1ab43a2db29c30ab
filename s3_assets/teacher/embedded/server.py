"""Serves the embedded teacher on loopback, over the OpenAI chat-completions wire format.

Belongs here: HTTP, token counts, telling one arrival of a request from the next. Does not belong here: what is
answered (``answers.py``).

The embedded teacher is a stand-in without a model: it lets the pipeline run with its real client, and needs no key,
network or weights.

    with embedded_teacher(Path("data/tasks/film_reviews/grammar.yaml")) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="none")
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3_assets.teacher.embedded.answers import EmbeddedTeacher, Refusal
from s3_assets.teacher.embedded.grammar import load_grammar

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse

MODEL = "embedded"
SAMPLE_HEADER = "x-s3-sample"
START_SECONDS = 30.0
STOP_SECONDS = 5


@contextmanager
def embedded_teacher(grammar_path: Path) -> Iterator[str]:
    """Serve the grammar at a free port of 127.0.0.1 until the block ends; yields the base URL for a client."""
    import uvicorn  # about 0.3 s

    app = build_app(EmbeddedTeacher(load_grammar(grammar_path)))
    config = uvicorn.Config(
        app,
        access_log=False,
        lifespan="off",
        log_config=None,  # leave the process's logging alone
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
    )
    server = uvicorn.Server(config)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), name="embedded-teacher", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS + 1)


def build_app(teacher: EmbeddedTeacher) -> Starlette:
    """The web application: POST /v1/chat/completions and GET /v1/models."""
    from starlette.applications import Starlette  # about 0.2 s
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    arrivals: Counter[bytes] = Counter()

    async def chat(request: Request) -> JSONResponse:
        raw = await request.body()
        try:
            body = _read_body(raw)
            sample = _sample(request.headers.get(SAMPLE_HEADER))
            if sample is None:
                digest = hashlib.blake2b(raw, digest_size=16).digest()
                sample = arrivals[digest]
                arrivals[digest] += 1
            replies = [teacher.answer(body, f"{sample} {i}") for i in range(int(body.get("n") or 1))]
        except Refusal as refusal:
            return JSONResponse(_error(str(refusal), refusal.param), status_code=400)
        return JSONResponse(_completion(body, replies))

    async def models(_: Request) -> JSONResponse:
        return JSONResponse(
            {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "s3_assets"}]}
        )

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
        ]
    )


def _wait_until_started(server: Any, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The embedded teacher did not start on 127.0.0.1; see the log of uvicorn.")
        time.sleep(0.005)


def _read_body(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise Refusal(f"The request's body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal("The request's body is not a JSON object.")
    if body.get("stream"):
        raise Refusal("The embedded teacher does not stream; leave stream out.", "stream")
    return body


def _sample(header: str | None) -> int | None:
    if header is None:
        return None
    if not (header.isascii() and header.isdigit()):
        raise Refusal(f"The header {SAMPLE_HEADER} is {header!r}; allowed: whole numbers from 0.", SAMPLE_HEADER)
    return int(header)


def _error(message: str, param: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


def _completion(body: dict[str, Any], replies: list[str]) -> dict[str, Any]:
    """A chat completion; tokens are counted as a quarter of the characters."""
    prompt_tokens = sum(len(str(m.get("content") or "")) // 4 + 4 for m in body["messages"])
    completion_tokens = sum(len(reply) // 4 + 1 for reply in replies)
    digest = hashlib.blake2b("\n".join(replies).encode(), digest_size=12).hexdigest()
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") or MODEL,
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": reply, "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
            for i, reply in enumerate(replies)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
