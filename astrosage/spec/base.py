"""Base of all spec models: camelCase in YAML, snake_case in Python, unknown fields refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that ``name`` was most likely meant to be, if any comes close."""
    allowed = list(allowed)
    lowered = {a.lower(): a for a in allowed}
    folded = name.replace("_", "").replace("-", "").lower()
    if folded in lowered:
        return lowered[folded]
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """``did you mean `x`?`` where a near name exists, else the list of allowed names."""
    allowed = sorted(allowed)
    near = nearest(name, allowed)
    listed = "allowed: " + (", ".join(allowed) or "none")
    return f"did you mean `{near}`? ({listed})" if near else listed


class SpecModel(BaseModel):
    """A part of the run file.

    Raises:
        pydantic.ValidationError: With ``unknown_field`` errors that carry the nearest valid name;
            :func:`astrosage.spec.load.parse` turns them into :class:`~astrosage.errors.SpecError`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=False,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {f.alias or name for name, f in cls.model_fields.items()}
        python_names = set(cls.model_fields)
        for key in data:
            if key not in known and key not in python_names:
                raise PydanticCustomError(
                    "unknown_field",
                    "unknown field `{field}`; {suggestion}",
                    {"field": str(key), "suggestion": did_you_mean(str(key), known)},
                )
        return data

    def to_yaml_dict(self) -> dict[str, Any]:
        """Plain data with camelCase keys, absent options left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
