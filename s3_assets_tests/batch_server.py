"""A provider of batches on this machine: files and batches in the OpenAI wire format, and plain chat completions.

Belongs here: the server and the knobs by which tests make it slow, busy, failing or deaf. Does not belong here: tests.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from s3_assets_tests.fakes import Reply, obliging

Json = dict[str, Any]


@dataclass
class BatchServer:
    """What the server was sent and how it behaves.

    A batch ends in ``outcome`` after ``looks`` looks. ``row`` answers a request of a batch (status 0 leaves it out),
    ``script`` a plain one. ``busy`` holds statuses given to the next calls of files and batches, 0 closing the
    connection. ``gate`` is asked before and after every such call with its name ("upload", "before create", ...); the
    connection is closed without an answer when it says False.
    """

    row: Callable[[Json, int], Reply] = obliging
    script: Callable[[Json, int], Reply] = obliging
    looks: int = 1
    outcome: str = "completed"
    errors: list[Json] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    busy_with: str = "slow down"
    gate: Callable[[str], bool] = lambda place: True
    page: int = 100
    url: str = ""
    calls: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Json] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    chats: list[Json] = field(default_factory=list)
    answered: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def lines(self) -> list[Json]:
        """Requests of all batches begun."""
        inputs = [self.files[batch["input_file_id"]] for batch in self.batches.values()]
        return [json.loads(line) for text in inputs for line in text.splitlines()]

    def count(self, call: str) -> int:
        """How often a call was made: upload, create, list, look, read, chat."""
        return self.calls.count(call)

    def keep(self, content: bytes) -> Json:
        """Keep a file."""
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": 0,
            "filename": "f",
            "purpose": "batch",
        }

    def begin(self, asked: Json) -> Json:
        """Begin a batch."""
        batch = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "created_at": int(time.time()),
            "status": "validating",
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            **asked,
        }
        self.batches[batch["id"]] = batch
        return batch

    def look(self, batch: Json) -> Json:
        """The batch, further on than at the last look."""
        self.looked[batch["id"]] = self.looked.get(batch["id"], 0) + 1
        if self.looked[batch["id"]] < self.looks or batch["status"] not in ("validating", "in_progress"):
            batch["status"] = "in_progress" if batch["status"] == "validating" else batch["status"]
            return batch
        batch["status"] = self.outcome
        if self.outcome == "failed":
            batch["errors"] = {"object": "list", "data": self.errors}
            return batch
        batch[f"{self.outcome}_at"] = batch["created_at"] + 60
        results: dict[str, list[bytes]] = {"output_file_id": [], "error_file_id": []}
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            status, content = self.row(asked["body"], self.answered)
            self.answered += 1
            if status == 0:
                continue
            body = envelope(content) if status == 200 else {"error": {"message": content}}
            said = {
                "id": f"batch_req_{self.answered}",
                "custom_id": asked["custom_id"],
                "response": {"status_code": status, "request_id": "", "body": body},
                "error": None,
            }
            if status == 408:
                said |= {"response": None, "error": {"code": "batch_expired", "message": content}}
            results["output_file_id" if status == 200 else "error_file_id"].append(json.dumps(said).encode() + b"\n")
        for name, rows in results.items():
            if rows:
                # Providers do not keep the order.
                batch[name] = self.keep(b"".join(reversed(rows)))["id"]
        return batch

    def listed(self, after: str | None) -> Json:
        """A page of batches, newest first."""
        newest = list(reversed(self.batches.values()))
        ids = [batch["id"] for batch in newest]
        rest = newest[ids.index(after) + 1 :] if after else newest
        return {"object": "list", "data": rest[: self.page], "has_more": len(rest) > self.page}


def envelope(content: Any) -> Json:
    """A chat completion billed at 7 tokens read and 5 written."""
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


@contextlib.contextmanager
def batch_server(**knobs: Any) -> Iterator[BatchServer]:
    """A server with these fields of ``BatchServer``."""
    server = BatchServer(**knobs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if found := re.fullmatch(r"/v1/files/(.+)/content", parts.path):
                self._answer("read", lambda: server.files[found[1]])
            elif parts.path == "/v1/batches":
                self._answer("list", lambda: server.listed(parse_qs(parts.query).get("after", [None])[0]))
            elif found := re.fullmatch(r"/v1/batches/(.+)", parts.path):
                self._answer("look", lambda: server.look(server.batches[found[1]]))

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/v1/files":
                self._answer("upload", lambda: server.keep(_part(body, "file")))
                return
            said = json.loads(body)
            if self.path == "/v1/batches":
                self._answer("create", lambda: server.begin(said))
                return
            with server.lock:
                server.calls.append("chat")
                server.chats.append(said)
                status, content = server.script(said, 1000 + len(server.chats))
            self._send(status, envelope(content) if status == 200 else {"error": {"message": content}})

        def _answer(self, call: str, do: Callable[[], Json | bytes]) -> None:
            if not server.gate(f"before {call}"):
                self._hang_up()
                return
            with server.lock:
                server.calls.append(call)
                status = server.busy.pop(0) if server.busy else 200
                try:
                    result = do() if status == 200 else {"error": {"message": server.busy_with}}
                except KeyError:
                    status, result = 404, {"error": {"message": "no such thing"}}
                # As text: the next look changes it.
                result = result if isinstance(result, bytes) else json.dumps(result).encode()
            if status == 0 or not server.gate(call):
                self._hang_up()
            else:
                self._send(status, result)

        def _body(self) -> bytes:
            if "content-length" in self.headers:
                return self.rfile.read(int(self.headers["content-length"]))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def _send(self, status: int, payload: Json | bytes) -> None:
            encoded = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            self.send_header("retry-after", "0")
            self.end_headers()
            with contextlib.suppress(OSError):
                # The client may have been killed.
                self.wfile.write(encoded)

        def _hang_up(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _part(body: bytes, name: str) -> bytes:
    """Content of one field of a multipart body."""
    boundary = body.split(b"\r\n", 1)[0]
    for part in body.split(boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if f'name="{name}"'.encode() in head:
            return content.removesuffix(b"\r\n")
    raise KeyError(name)
