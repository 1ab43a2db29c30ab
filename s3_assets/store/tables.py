"""Every table of the warehouse by name.

Belongs here: the list of tables, used to write parts by name and to comment the catalog. Does not belong here: their
columns (the modules beside this one), paths, reading and writing (``parts.py``), views (``catalog.py``).
"""

from s3_assets.store.columns import Table
from s3_assets.store.drift_tables import DRIFT_TABLES
from s3_assets.store.experiment_tables import EXPERIMENT_TABLES
from s3_assets.store.loop_tables import LOOP_TABLES
from s3_assets.store.quality_tables import QUALITY_TABLES
from s3_assets.store.selection_tables import SELECTION_TABLES
from s3_assets.store.teacher_tables import TEACHER_TABLES


def tables() -> dict[str, Table]:
    """All tables by name."""
    groups = (LOOP_TABLES, SELECTION_TABLES, QUALITY_TABLES, DRIFT_TABLES, TEACHER_TABLES, EXPERIMENT_TABLES)
    return {table.name: table for group in groups for table in group}


def table(name: str) -> Table:
    """The table called ``name``; ``KeyError`` naming the known ones otherwise."""
    known = tables()
    if name not in known:
        raise KeyError(f"no table {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
