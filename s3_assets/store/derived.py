"""Every view over the table views, and the macros they use: what the catalog and a snapshot have in common.

Belongs here: the list. Does not belong here: what the views say (the modules beside this one), views that read files
(``views.py``).
"""

from s3_assets.store.embedding_views import TEXT_ID, TEXT_ID_COMMENT, embedding_views
from s3_assets.store.joined_views import joined_views
from s3_assets.store.quality_views import quality_views
from s3_assets.store.views import View, literal


def derived_views() -> list[View]:
    """Views that read no files, each after those it reads."""
    return [*joined_views(), *quality_views(), *embedding_views()]


def derived_macros() -> list[str]:
    """Statements that make the macros those views use, with their comments."""
    return [
        f"CREATE MACRO text_id(text, text2) AS {TEXT_ID}",
        f"COMMENT ON MACRO text_id IS {literal(TEXT_ID_COMMENT)}",
    ]
