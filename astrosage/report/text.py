"""Numbers and words for people, and HTML that escapes what it is given."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

NONE = "\u2013"
_THIN = "\u202f"  # narrow no-break space, between a number and its unit


class Html(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


def escape(value: Any) -> Html:
    """A value as HTML text; HTML stays as it is."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(NONE if value is None else str(value)))


def tag(name: str, *content: Any, **attributes: str | None) -> Html:
    """An element. ``class_`` means ``class``; other underscores become hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(content)}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """Parts one after another, each escaped if it needs to be."""
    return Html("".join(escape(part) for part in parts))


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[int] = ()
) -> Html:
    """A table whose first column names its rows; ``numeric`` columns are set on the right.

    It scrolls in itself where the screen is too narrow.
    """

    def classes(i: int) -> str | None:
        return "number" if i in numeric else None

    columns = join(tag("th", h, scope="col", class_=classes(i)) for i, h in enumerate(head))
    body = join(
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=classes(i)) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    )
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", columns)),
        tag("tbody", body),
    )
    return tag("div", inner, class_="scroll", tabindex="0", role="group", aria_label=caption)


def count(value: Any) -> str:
    """``25,659``."""
    return f"{value:,.0f}" if _is_number(value) else NONE


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits."""
    if not _is_number(value):
        return NONE
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
        return f"{value:,.{max(0, places)}f}"
    return f"{value:.{digits - 1}e}"


def percent(value: Any, digits: int = 1) -> str:
    """``46.2 %``."""
    return f"{100 * value:.{digits}f}{_THIN}%" if _is_number(value) else NONE


def probability(value: Any) -> str:
    """A p-value: ``p = 0.27`` or ``p < 0.001``."""
    if not _is_number(value):
        return NONE
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def size(value: Any) -> str:
    """Bytes: ``5.9 GB``."""
    if not _is_number(value):
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{number(value, 3) if value else 0}{_THIN}{unit}"
        value /= 1000
    return f"{number(value, 3)}{_THIN}TB"


def duration(value: Any) -> str:
    """Seconds: ``1 min 31 s``."""
    if not _is_number(value):
        return NONE
    if value < 60:
        return f"{value:.1f}{_THIN}s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{_THIN}h {minutes}{_THIN}min"
    return f"{minutes}{_THIN}min {seconds}{_THIN}s"


def money(value: Any) -> str:
    """USD."""
    return f"${value:,.4f}" if _is_number(value) and value < 1 else _dollars(value)


def _dollars(value: Any) -> str:
    return f"${value:,.2f}" if _is_number(value) else NONE


def moment(value: Any) -> str:
    """A time stamp in UTC."""
    if not _is_number(value):
        return NONE
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))


def digest(value: Any) -> Html:
    """A hash, short to see and whole to hover."""
    if not isinstance(value, str) or not value:
        return escape(NONE)
    return tag("code", value[:12], title=value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
