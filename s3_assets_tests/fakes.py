"""Stand-ins for what tests must not depend on: a scripted chat endpoint and small tasks.

Belongs here: fakes used by more than one test module. Does not belong here: tests.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from s3_assets.tasks.load import Task, load_task

# What a script gives for one request: HTTP status, then message content, error text or the error itself.
Reply = tuple[int, str | dict[str, Any]]
REPOSITORY = Path(__file__).resolve().parent.parent
DEMO_FOLDER = REPOSITORY / "data" / "tasks" / "film_reviews"


@dataclass
class ScriptedTeacher:
    """A chat endpoint that answers by ``script(body, n)``, n counting requests from 0, and keeps every body."""

    script: Callable[[dict[str, Any], int], Reply]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def scripted_teacher(
    script: Callable[[dict[str, Any], int], Reply], usage: dict[str, Any] | None = None
) -> Iterator[ScriptedTeacher]:
    """``usage`` is what every answer is billed, 7 tokens read and 5 written unless told."""
    teacher = ScriptedTeacher(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with teacher.lock:
                number = len(teacher.bodies)
                teacher.bodies.append(body)
                status, content = teacher.script(body, number)
            self._send(status, _envelope(content, usage) if status == 200 else {"error": _error(content)})

        def _send(self, status: int, payload: dict[str, Any]) -> None:
            encoded = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    teacher.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield teacher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def facts(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON block of a request's last user message."""
    return json.loads(body["messages"][-1]["content"].rsplit("```json", 1)[1].split("```")[0])


def obliging(body: dict[str, Any], number: int) -> Reply:
    """Answers every request as asked, each text of words that no other has."""
    asked = facts(body)
    if body["response_format"]["json_schema"]["name"] == "rationales":
        return 200, json.dumps({"rationales": [f"reason {place}" for place in range(asked["count"])]})
    source = asked.get("example", asked.get("given", {})).get("text", "nothing")
    label = asked.get("label", "question")
    # About as long as what was shown.
    seen, count = "".join(source.split()[-1:]), 2 + len(source) // 10
    texts = [
        f"{label} text {number}.{place} after {seen} " + " ".join(f"w{number}x{place}x{word}" for word in range(count))
        for place in range(asked.get("count", 0))
    ]
    schema = body["response_format"]["json_schema"]["schema"]["properties"]
    if "label" in schema:
        return 200, json.dumps({"label": schema["label"]["enum"][0]})
    fields = schema["examples"]["items"]["required"]
    rows = [dict.fromkeys(fields, text) for text in texts]
    if "answer" in fields:
        # The answer asked for, or the first word of the context.
        rows = [row | {"answer": asked["given"].get("answer", source.split()[0])} for row in rows]
    return 200, json.dumps({"examples": rows})


# No gate that learns from gold's texts what rows look like, nor one that reads words.
LOOSE = {
    **dict.fromkeys(("repair", "refusal", "meta_talk", "language", "label_words", "answer_given"), False),
    **dict.fromkeys(("length", "echo", "near_duplicate")),
}


def write_task(folder: Path, rows_csv: str | None = None, **keys: Any) -> Task:
    """A task called ``small`` in ``folder``: the demo's gold, grammar and labels unless told otherwise.

    ``rows_csv`` is written as its gold file; its texts say nothing of what rows look like, so gates that learn from
    them are off. Other keys replace those of the YAML, None leaves a key out.
    """
    place = folder / "small"
    place.mkdir(parents=True, exist_ok=True)
    if rows_csv is not None:
        (place / "gold.csv").write_text(rows_csv, encoding="utf-8")
    declared = {
        "name": "small",
        "fields": {"text": "review", "label": "verdict"},
        "labels": {"positive": "The writer recommends the film.", "negative": "The writer advises against it."},
        "gold": "gold.csv" if rows_csv is not None else str(DEMO_FOLDER / "gold.csv"),
        "teacher": {"backend": "embedded", "grammar": str(DEMO_FOLDER / "grammar.yaml")},
        "strategy": "s3_shown",
        "rows": {"seed": 24, "per_error": 2, "per_call": 4, "per_round": 20, "refill": True},
        "rationales": {"per_label": 6, "per_request": 2},
        "drift": {"embeddings": False},
        **({"gates": LOOSE} if rows_csv is not None else {}),
        **keys,
    }
    declared = {key: value for key, value in declared.items() if value is not None}
    (place / "task.yaml").write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    return load_task(place)


def _error(content: str | dict[str, Any]) -> dict[str, Any]:
    return content if isinstance(content, dict) else {"message": content}


def _envelope(content: str, usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": usage or {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }
