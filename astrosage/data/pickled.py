"""Values of which millions are pickled, for workers and for checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any


class Pickled:
    """Base of frozen dataclasses with slots and two fields or more: pickled by their constructor.

    Else Python code looks up the fields of each object, which takes several times as long.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        kind: Any = type(self)
        return kind, _values(kind)(self)


@cache
def _values(cls: Any) -> Callable[[Any], tuple[Any, ...]]:
    getter: Callable[[Any], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(cls)))
    return getter
