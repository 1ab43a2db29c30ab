"""What tests of the report share: a page read as a browser would, rounds to report, vectors that need no encoder.

Belongs here: helpers of the modules ``test_report*.py``. Does not belong here: tests.
"""

import dataclasses
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import polars as pl

from s3_assets.drift.vectors import EMBEDDINGS, ENCODER
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.report.page import read_report, render
from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.identity import text_id
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.spec import DriftSpec

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements of a page in order, with what is wrong with it."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.problems, self._open = [], [], []
        self.feed(html)
        self.close()
        self.problems += [f"<{element['tag']}> is not closed" for element in self._open]

    def handle_starttag(self, tag, attrs):
        repeated = len(attrs) - len(dict(attrs))
        if repeated:
            self.problems.append(f"<{tag}> has an attribute twice")
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "path": [one["tag"] for one in self._open]}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if not self._open or self._open[-1]["tag"] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1]['tag'] if self._open else 'nothing'}")
            return
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    @property
    def text(self):
        return self.all("html")[0]["text"]

    def table(self, caption):
        """Cells of the table whose caption begins so, header first."""
        (found,) = [
            place
            for place, one in enumerate(self.elements)
            if one["tag"] == "caption" and one["text"].startswith(caption)
        ]
        rows = []
        for element in self.elements[found + 1 :]:
            if element["tag"] in {"table", "section", "details"}:
                break
            if element["tag"] == "tr":
                rows.append([])
            elif element["tag"] in {"th", "td"}:
                rows[-1].append(element["text"])
        return rows


def write_vectors(warehouse, task, frames):
    """Vectors by the text's hash in place of an encoder's."""
    fields = task.spec.fields_written
    ids = sorted({text_id(*values) for frame in frames for values in frame.select(fields).iter_rows()})
    draws = np.stack([np.random.default_rng(int(one[2:], 16)).normal(size=DIMENSIONS) for one in ids])
    schema = table(EMBEDDINGS).schema
    columns = {"task": [task.name] * len(ids), "text_id": ids, "encoder": [ENCODER] * len(ids)}
    vectors = pl.Series("embedding", draws.astype(np.float32), dtype=schema["embedding"])
    warehouse.write(EMBEDDINGS, {"task": task.name}, pl.DataFrame(columns).with_columns(vectors))


def make_rounds(task, warehouse, rounds):
    make_gold(task, warehouse)
    for round_ in range(rounds):
        for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
            make(task, warehouse, round_)
        if round_ + 1 < rounds:
            make_extrapolated_set(task, warehouse, round_)


def two_rounds(task, root):
    """A warehouse with two rounds of the task and their vectors; takes some seconds."""
    found = Warehouse(root)
    make_rounds(task, found, 2)
    gold = found.live("gold", {"task": "small"}).read()
    write_vectors(found, task, [gold, part(found, "seed_set", task, 1)])
    return found


def embedded(task):
    """The task with drift by vectors, which only matters to what is read of them here."""
    return dataclasses.replace(task, spec=task.spec.model_copy(update={"drift": DriftSpec(embeddings=True)}))


def page_of(task, warehouse):
    return Page(render(read_report(task, warehouse), NOW))


def part(warehouse, name, task, round_):
    return warehouse.live(name, loop_key(task, round_).columns()).read()
