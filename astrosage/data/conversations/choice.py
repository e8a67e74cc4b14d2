"""Which layout a source has: one for all its records, told or taken from the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrosage.data.conversations.layouts import LAYOUTS, Layout, recognised, unknown
from astrosage.data.tally import Tally
from astrosage.errors import AstroError, DataError

_KIND = "layout:"


class LayoutChoice:
    """The layout of a source, counted with its records so that a pass that goes on knows it.

    Args:
        told: As the source has it; ``auto`` leaves it to the first record.
        tally: Of the source; records by layout are counted in it.
    """

    def __init__(self, told: str = "auto", tally: Tally | None = None) -> None:
        self._told, self._tally = told, tally if tally is not None else Tally()

    def of(self, data: Mapping[str, Any], where: str) -> Layout:
        """The layout to read a record by.

        Raises:
            DataError: If it is of another layout than the source, or of none.
        """
        name = self._name()
        if name is None:
            return recognised(data, where)
        if LAYOUTS[name].fits(data):
            return LAYOUTS[name]
        raise self._other(data, name, where)

    def read(self, layout: Layout) -> None:
        """Count a record that could be read."""
        self._tally.add(f"{_KIND}{layout.name}")

    def _name(self) -> str | None:
        if self._told != "auto":
            return self._told
        read = (kind.removeprefix(_KIND) for kind in self._tally.counts if kind.startswith(_KIND))
        return next(read, None)

    def _other(self, data: Mapping[str, Any], name: str, where: str) -> AstroError:
        try:
            other = recognised(data, where).name
        except DataError:
            return unknown(data, where)
        why = "as the run file says" if self._told != "auto" else "as its first record"
        return DataError(
            f"{where}: the record looks like `{other}`, but the source is read as `{name}`, {why}",
            f"a source has one layout: name its files in another source, or set `layout`; "
            f"`{name}` is {LAYOUTS[name].shape}",
        )
