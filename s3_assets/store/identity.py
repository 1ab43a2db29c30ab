"""Identities that follow from content: row ids, content hashes, input fingerprints.

Belongs here: pure hashing of values and frames. Does not belong here: what goes into a step's fingerprint
(``loop/fingerprints.py``) or where anything is stored (``parts.py``).
"""

import hashlib
import json
from typing import Any

import polars as pl

# Between the texts of a row that are one identity. Different pairs could share one only if a text holds this control
# character.
SEPARATOR = "\x1f"


def digest(value: Any, size: int = 16) -> str:
    """Hex hash of a JSON value (``size`` bytes). Key order does not matter; types do."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(canonical.encode(), digest_size=size).hexdigest()


def gold_id(text: str, text2: str | None) -> str:
    """Identity of a gold row: its texts, so that relabelling keeps it."""
    return f"g_{digest([text, text2], 8)}"


def example_id(text: str, text2: str | None, label: str, answer: str | None = None) -> str:
    """Identity of a synthetic row: its texts, label and answer."""
    return f"x_{digest([text, text2, label] if answer is None else [text, text2, label, answer], 8)}"


def text_id(*texts: str | None) -> str:
    """Identity of a text, or of the texts of a row together; those that are None do not count. Same as in SQL."""
    # MD5 and this separator: what DuckDB can compute from the columns too (``store/embedding_views.py``).
    joined = SEPARATOR.join(text for text in texts if text is not None)
    return f"t_{hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:16]}"


def frame_digest(frame: pl.DataFrame) -> str:
    """Hex content hash of a frame: column names, values and row order."""
    content = hashlib.blake2b(digest_size=16)
    content.update(json.dumps(frame.columns).encode())
    content.update(frame.write_ndjson().encode())
    return content.hexdigest()
