"""Every view over the table views, and the macros they use: what the catalog and a snapshot have in common.

Belongs here: the list. Does not belong here: what the views say (the modules beside this one), views that read files
(``views.py``).
"""

from s3_assets.store.embedding_views import TEXT_ID, TEXT_ID_COMMENT, embedding_views
from s3_assets.store.joined_views import joined_views
from s3_assets.store.lineage_edges import lineage_edges
from s3_assets.store.lineage_steps import lineage_macro
from s3_assets.store.lineage_views import lineage_views
from s3_assets.store.quality_views import quality_views
from s3_assets.store.spend_views import spend_views
from s3_assets.store.views import Macro, View


def derived_views() -> list[View]:
    """Views that read no files, each after those it reads."""
    lineage = (*lineage_views(), lineage_edges())
    return [*joined_views(), *quality_views(), *embedding_views(), *lineage, *spend_views()]


def scalar_macros() -> list[Macro]:
    """The macros that views use: made before them."""
    return [Macro("text_id", ("text", "text2"), TEXT_ID_COMMENT, TEXT_ID)]


def table_macros() -> list[Macro]:
    """The macros that read views: made after them."""
    return [lineage_macro()]


def derived_statements() -> list[str]:
    """What makes the views and macros over the table views, in order, with their comments."""
    made: list[Macro | View] = [*scalar_macros(), *derived_views(), *table_macros()]
    return [statement for one in made for statement in one.statements()]
