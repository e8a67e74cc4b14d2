"""How two specs differ, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from astrosage.spec.bench import AROUND as BENCH_AROUND
from astrosage.spec.generate import AROUND as GENERATE_AROUND
from astrosage.spec.train import OPERATIONAL

# What one person sets by command and another does not write into a file.
_LEFT_OUT = ("spec.suspend",)
# What may change under a run that goes on: where it runs and how patiently, not what it makes.
_AROUND = ("spec.cluster", "spec.retry", "spec.suspend", "spec.ttlSecondsAfterFinished")
_AROUND_STAGE = (
    "cluster",
    *(f"train.{to_camel(name)}" for name in OPERATIONAL),
    *BENCH_AROUND,
    *GENERATE_AROUND,
)
_SHOWN = 12


@dataclass(frozen=True)
class Change:
    """A field that differs.

    Attributes:
        field: Its path; stages by name.
        old: What it was; None where it was not there.
        new: What it is now.
    """

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.old)} -> {_shown(self.new)}"

    @property
    def is_around(self) -> bool:
        """Whether it says where or how patiently a run goes on, and not what it makes."""
        _, stage, inside = self.field.partition("].")
        return self.field.startswith(_AROUND) or bool(stage and inside.startswith(_AROUND_STAGE))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """``(field, value)`` of all that is not a group; items of lists by name, else by number."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            name = item.get("name") if isinstance(item, dict) else None
            yield from flat(item, f"{path}[{name or index}]")
    elif path not in _LEFT_OUT:
        yield path, value


def differences(old: Any, new: Any, path: str = "") -> list[Change]:
    """What differs between two groups of plain data, in the order of the fields.

    Args:
        old: One.
        new: The other.
        path: Where both stand.
    """
    had, has = dict(flat(old, path)), dict(flat(new, path))
    fields = [*had, *(f for f in has if f not in had)]
    return [Change(f, had.get(f), has.get(f)) for f in fields if had.get(f) != has.get(f)]


def listed(found: Sequence[Change]) -> str:
    """Changes for people, one a line."""
    lines = [f"\n  {change}" for change in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"\n  and {len(found) - _SHOWN} more")
    return "".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
