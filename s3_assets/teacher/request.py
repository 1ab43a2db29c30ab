"""What a teacher is asked, and the key an answer is kept under.

Belongs here: the request value, teacher identity, the request key. Does not belong here: how prompts are worded
(``prompting/``), sending (``client.py``), keeping answers (``ledger.py``).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from s3_assets.store.identity import digest
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.teacher_spec import TeacherSpec

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Raised when the embedded teacher's code changes what it answers, so that old answers are not taken for new ones.
EMBEDDED_VERSION = 1


@dataclass(frozen=True)
class TeacherRequest:
    """One question to a teacher.

    ``kind`` is the schema's name (rationales, examples, label). ``sample`` tells independent answers to the same
    prompt apart. The other fields say what the question is for and are no part of its key: ``keeps`` holds fields that
    every row has whatever the teacher writes, as the context of a pair, and ``near`` the place in the context where the
    answer of a question is looked for first.
    """

    kind: str
    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any]
    sample: int
    slot: str
    label: str
    gold_id: str | None = None
    rows_requested: int = 0
    sublabel: str | None = None
    keeps: Mapping[str, str] = field(default_factory=dict)
    near: int | None = None

    @property
    def response_format(self) -> dict[str, Any]:
        """The structured output asked for, in the OpenAI wire format."""
        return {"type": "json_schema", "json_schema": {"name": self.kind, "strict": True, "schema": dict(self.schema)}}


def sampling(spec: TeacherSpec) -> dict[str, Any]:
    """Sampling parameters sent with every request; those not set are left to the endpoint."""
    asked = {"temperature": spec.temperature, "top_p": spec.top_p, "max_tokens": spec.max_tokens, **spec.extra}
    return {name: value for name, value in asked.items() if value is not None}


def request_body(request: TeacherRequest, spec: TeacherSpec) -> str:
    """The request as JSON in the wire format of chat completions, as the ledger keeps it beside its answer."""
    said = {
        "model": spec.model,
        "messages": [dict(message) for message in request.messages],
        **sampling(spec),
        "response_format": request.response_format,
    }
    return json.dumps(said, ensure_ascii=False)


def request_id(request: TeacherRequest, teacher_id: str, spec: TeacherSpec) -> str:
    """Key of a request: teacher id, model, messages, sampling parameters, schema, sample; nothing else."""
    content = [
        teacher_id,
        spec.model,
        [dict(message) for message in request.messages],
        sampling(spec),
        request.kind,
        dict(request.schema),
        request.sample,
    ]
    return f"r_{digest(content)}"


def teacher_id(task: Task, base_url: str) -> str:
    """Declared name of the teacher, or host and path of its endpoint. A loopback port is left out: it may change."""
    spec = task.spec.teacher
    if spec.backend == "embedded":
        return f"embedded:{EMBEDDED_VERSION}:{grammar_digest(task)}"
    if spec.name is not None:
        return spec.name
    if spec.backend == "transformers":
        # Who answers is the model, which is part of the key.
        return "transformers"
    place = urlsplit(base_url)
    port = "" if place.port is None or place.hostname in LOOPBACK else f":{place.port}"
    return f"{place.hostname}{port}{place.path.rstrip('/')}"


def grammar_digest(task: Task) -> str:
    """Hash of the embedded teacher's grammar; ``TaskError`` when the task has none."""
    file = task.path(task.spec.teacher.grammar)
    if not file.is_file():
        raise TaskError(
            f"{file}: no such file; the embedded teacher has no grammar for task {task.name}. Write one "
            "(data/tasks/film_reviews/grammar.yaml shows how) or name another teacher in task.yaml"
        )
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
