"""The base of every section of a task YAML.

Belongs here: what all sections share. Does not belong here: any key (``spec.py`` and those
beside it).
"""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
