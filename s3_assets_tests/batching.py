"""What tests of mode batch share: a task that asks in batches, rows that are not answered, state files left over.

Belongs here: helpers of the modules ``test_batch_*.py``. Does not belong here: the server (``batch_server.py``), tests.
"""

from s3_assets_tests.asking import online
from s3_assets_tests.fakes import obliging


def batched(tmp_path, url, teacher=None, **keys):
    declared = {"mode": "batch", "batch_poll_seconds": 0.05, "price": {"input": 1.0, "output": 2.0}, **(teacher or {})}
    return online(tmp_path, url, teacher=declared, **keys)


def odd_ones(status, words):
    """Rows of a batch of which every second is not answered."""
    return lambda body, number: obliging(body, number) if number % 2 else (status, words)


def left_over(warehouse):
    return sorted((warehouse.journal_folder / "batches").glob("*.json"))
