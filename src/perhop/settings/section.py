"""What every section of `perhop.yaml` is made of: strict, frozen, and the types of its plain values."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of owners, resources and tenants: they stand in policies and as `RESOURCE/TOOL`, so they hold no `/`."""


def _date(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
    raise ValueError("must be a day, as 2027-01-31")


Text = Annotated[str, Field(min_length=1, max_length=2048)]
Name = Annotated[str, Field(pattern=NAME)]
Seconds = Annotated[int, Field(ge=1, le=86400)]
Day = Annotated[date, BeforeValidator(_date, json_schema_input_type=str)]


class Section(BaseModel):
    """A strict section: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        """A key with nothing behind it, as a section whose every line is a comment, is a key that is not there."""
        if not isinstance(values, dict):
            return values
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in values.items() if value is not None or key not in known}
