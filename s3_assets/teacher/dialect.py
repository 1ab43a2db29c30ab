"""Which form of a request an endpoint accepts: found out once, by asking, and noted with every answer.

Belongs here: the forms, from best to plainest, and which refusal asks for a plainer one. Does not belong here: sending
(``client.py``), the request itself and its key (``request.py``), which do not depend on the form.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

Structured = Literal["json_schema", "json_object", "text"]

# Name of the limit on written tokens that newer OpenAI models ask for.
NEWER_LIMIT = "max_completion_tokens"

_ABOUT_FORMAT = ("response_format", "json_schema", "json_object", "guided", "structured output")


@dataclass(frozen=True)
class Dialect:
    """How answers are kept to their schema, and what the limit on tokens is called."""

    structured: Structured
    newer_limit: bool = False

    def __str__(self) -> str:
        return self.structured + (f"+{NEWER_LIMIT}" if self.newer_limit else "")

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The dialect noted as ``text``; None when it is not one."""
        structured, _, limit = (text or "").partition("+")
        known = next((form for form in get_args(Structured) if form == structured), None)
        return cls(known, limit == NEWER_LIMIT) if known else None

    def plainer(self, refusal: str, fixed: bool) -> "Dialect | None":
        """The next form to try after an endpoint's ``refusal`` in words; None when the form is not what it minds.

        ``fixed`` says that the task declares how answers are structured.
        """
        said = refusal.lower()
        if not self.newer_limit and NEWER_LIMIT in said:
            return replace(self, newer_limit=True)
        if not fixed and self.structured != "text" and any(word in said for word in _ABOUT_FORMAT):
            forms = get_args(Structured)
            return replace(self, structured=forms[forms.index(self.structured) + 1])
        return None

    def speak(self, body: str) -> bytes:
        """``body`` in this form, as it is sent."""
        if self.structured == "json_schema" and not self.newer_limit:
            return body.encode()
        said: dict[str, Any] = json.loads(body)
        if self.newer_limit:
            said[NEWER_LIMIT] = said.pop("max_tokens")
        if self.structured != "json_schema":
            schema = said.pop("response_format")["json_schema"]["schema"]
            said["messages"] = with_schema(said["messages"], schema)
            if self.structured == "json_object":
                said["response_format"] = {"type": "json_object"}
        return json.dumps(said, ensure_ascii=False).encode()


def with_schema(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """``messages`` with the schema in words, in the first of them: for teachers that are not held to it."""
    first, *others = [dict(message) for message in messages]
    first["content"] += (
        f"\nAnswer with one JSON object that fits this JSON Schema, and nothing else: {json.dumps(schema)}"
    )
    return [first, *others]
