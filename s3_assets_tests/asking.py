"""What tests of asking share: requests, a task whose teacher is at an address, a step that asks, what tables hold.

Belongs here: helpers of all modules that ask a scripted teacher or a batch server. Does not belong here: tests.
"""

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.prompting.contract import examples_schema, messages
from s3_assets.store.parts import RoundKey
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import write_task

KEY = RoundKey("small", "s3_shown", 0, 0)


def requests(task, count, sample=0):
    return [
        TeacherRequest(
            kind="examples",
            messages=messages(task, "seed", {"label": "positive", "labels": ["positive", "negative"], "count": n + 1}),
            schema=examples_schema(("text",)),
            sample=sample,
            slot="positive",
            label="positive",
            rows_requested=n + 1,
        )
        for n in range(count)
    ]


def ask(task, warehouse, asked, key=KEY):
    with teacher_session(task, warehouse, key, "seed_set") as session:
        return session.ask(asked, read_answer), session.tally


def online(tmp_path, url, **keys):
    teacher = {"backend": "openai", "base_url": url, "retries": 2, **keys.pop("teacher", {})}
    return write_task(tmp_path, teacher=teacher, **keys)


def logged(warehouse, name):
    files = sorted((warehouse.root / name).glob("**/*.parquet"))
    return pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])
