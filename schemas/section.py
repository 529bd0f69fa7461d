"""Section: the base of every part of the configuration, which refuses keys that it does not know."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
