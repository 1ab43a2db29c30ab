"""A chat endpoint on this machine that answers after a fixed time: what clients of a teacher are measured against.

    .venv/bin/python benchmarks/mock_endpoint.py --port 0 --latency 0.2 --refuse 0.0 --retry-after 1

Its first line is its base URL; it serves until killed. Every ``POST /v1/chat/completions`` is answered after
``latency`` seconds with ``{"examples": [{"text": ...}, ...]}``. The texts come from the request's body: equal bodies
get equal texts, others get others. With ``--refuse 0.05`` every 20th request to arrive gets a 429 with ``Retry-After``
instead, at once. A request whose JSON schema has no "examples" gets an instance of its schema; some clients try the
endpoint with a schema of their own before they ask.

``GET /stats`` tells what arrived since the start or the last ``POST /reset``.

Belongs here: the endpoint, starting it in a process of its own, reading its counts. Does not belong here: what is asked
(``teacher_requests.py``), clients.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from aiohttp import web

# Stands in prebuilt answers for what differs between them; as long as what replaces it.
_HOLE = "~hash~of~it~"
_HASH_BYTES = len(_HOLE) // 2

_TEXT = "{hole}-{index}: the camera work is lovely, and for that alone they want two hours of your evening."


class Endpoint:
    """Answers and counts. ``refuse`` is a share of requests, ``latency`` and ``retry_after`` are in seconds."""

    def __init__(self, latency: float, refuse: float, retry_after: float, examples: int) -> None:
        self._latency, self._refuse = latency, refuse
        texts = [{"text": _TEXT.format(hole=_HOLE, index=index)} for index in range(examples)]
        self._answer = _completion({"examples": texts})
        error = {"message": "Rate limit reached", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        self._refusal = json.dumps({"error": error}).encode()
        self._refusal_headers = {"Content-Type": "application/json", "Retry-After": f"{retry_after:g}"}
        self._headers = {"Content-Type": "application/json"}
        self._hole = _HOLE.encode()
        self._under_way = 0
        self.reset()

    def reset(self) -> None:
        """Count from zero; what was answered before is forgotten."""
        self._requests = self._answered = self._refused = self._repeated = 0
        self._most_at_once = self._under_way
        self._seen: set[bytes] = set()
        self._done: set[bytes] = set()

    async def handle(self, asked: web.BaseRequest) -> web.StreamResponse:
        """One request of any kind, for ``web.Server``: no routes and no middleware, which would cost more."""
        if asked.method == "POST" and asked.path == "/v1/chat/completions":
            return await self._complete(asked)
        if asked.method == "GET" and asked.path == "/stats":
            return web.json_response(self._stats())
        if asked.method == "POST" and asked.path == "/reset":
            self.reset()
            return web.json_response(self._stats())
        return web.Response(status=404)

    async def _complete(self, asked: web.BaseRequest) -> web.StreamResponse:
        body = await asked.read()
        digest = blake2b(body, digest_size=_HASH_BYTES).digest()
        seen, done = self._seen, self._done  # Those of this count, should it be reset meanwhile.
        self._requests += 1
        seen.add(digest)
        self._repeated += digest in done
        # The small number keeps 0.05 * 20, and its like, from falling short of a whole.
        if int(self._requests * self._refuse + 1e-9) > int((self._requests - 1) * self._refuse + 1e-9):
            self._refused += 1
            return web.Response(status=429, body=self._refusal, headers=self._refusal_headers)
        self._under_way += 1
        self._most_at_once = max(self._most_at_once, self._under_way)
        try:
            await asyncio.sleep(self._latency)
        finally:
            self._under_way -= 1
        if b'"json_schema"' in body and b'"examples"' not in body:
            answer = _completion(_instance(json.loads(body)["response_format"]["json_schema"]["schema"]))
        else:
            answer = self._answer.replace(self._hole, digest.hex().encode())
        response = web.Response(body=answer, headers=self._headers)
        # Sent here and not by the caller, to know of a client that is gone: it was not answered.
        try:
            await response.prepare(asked)
            await response.write_eof()
        except ConnectionResetError:
            return response
        if done is self._done:
            done.add(digest)
            self._answered += 1
        return response

    def _stats(self) -> dict[str, int]:
        return {
            "requests": self._requests,
            "answered": self._answered,
            "refused": self._refused,
            "distinct_bodies": len(self._seen),
            # Requests that arrived when their exact body had been answered, to the last byte, before.
            "repeated_answered": self._repeated,
            "most_at_once": self._most_at_once,
        }


def _completion(content: Any) -> bytes:
    text = json.dumps(content)
    done = {
        "id": f"chatcmpl-{_HOLE}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "mock-teacher",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        # A constant that fits the requests; a token is taken for 4 characters.
        "usage": {"prompt_tokens": 400, "completion_tokens": len(text) // 4, "total_tokens": 400 + len(text) // 4},
    }
    return json.dumps(done).encode()


def _instance(schema: dict[str, Any]) -> Any:
    """A value of a plain schema, the least that it allows."""
    if schema.get("type") == "object":
        return {name: _instance(part) for name, part in schema.get("properties", {}).items()}
    return {"integer": 0, "number": 0, "boolean": False, "array": []}.get(schema.get("type", ""), "none")


def serve(
    port: int = 0, latency: float = 0.2, refuse: float = 0.0, retry_after: float = 1.0, examples: int = 5
) -> None:
    """Serve on the loopback interface until killed; port 0 takes a free one. The first line printed is the base URL."""
    asyncio.run(_serve(port, Endpoint(latency, refuse, retry_after, examples)))


async def _serve(port: int, endpoint: Endpoint) -> None:
    runner = web.ServerRunner(web.Server(endpoint.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


@contextmanager
def mock_endpoint(
    latency: float = 0.2, refuse: float = 0.0, retry_after: float = 1.0, examples: int = 5
) -> Iterator[str]:
    """The endpoint in a process of its own; yields the base URL, and ends the process afterwards."""
    command = [sys.executable, __file__, "--latency", latency, "--refuse", refuse]
    command += ["--retry-after", retry_after, "--examples", examples]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise RuntimeError(f"the mock endpoint did not start: exit status {process.wait()}")
            yield url
        finally:
            process.terminate()


def stats(url: str) -> dict[str, int]:
    """The counts of the endpoint whose base URL is ``url``."""
    counts: dict[str, int] = _read(urllib.request.Request(url.removesuffix("/v1") + "/stats"))
    return counts


def reset(url: str) -> None:
    """Let the endpoint whose base URL is ``url`` count from zero."""
    _read(urllib.request.Request(url.removesuffix("/v1") + "/reset", method="POST"))


def _read(request: urllib.request.Request) -> Any:
    # Without proxies: the endpoint is on this machine.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds to every answer")
    parser.add_argument("--refuse", type=float, default=0.0, help="share of requests that get a 429")
    parser.add_argument("--retry-after", type=float, default=1.0, help="seconds, as told with every 429")
    parser.add_argument("--examples", type=int, default=5, help="texts in every answer")
    serve(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
