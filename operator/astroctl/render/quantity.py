"""Numbers as Kubernetes writes them."""

from __future__ import annotations

from astrosage.units import exact, parse_bytes

_BINARY = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_SHARES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


def memory(value: int) -> str:
    """Bytes in the largest binary unit that divides them: ``48Gi``."""
    for unit, factor in _BINARY:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def cores(value: float) -> str:
    """CPU cores: ``8``, ``500m``; rounded up to a thousandth, the finest that Kubernetes has."""
    thousandths = -int(-round(value * 1000, 6) // 1)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def parse_memory(text: str | int) -> int:
    """Bytes of any quantity that may stand in a manifest.

    Raises:
        ValueError: If it is none.
    """
    text = str(text)
    if text[-1:] == "i":
        return parse_bytes(text)
    if text[-1:] in _SHARES:
        return exact(text[:-1], _SHARES[text[-1]])
    return exact(text)


def parse_cores(text: str | int | float) -> float:
    """CPU cores of a quantity.

    Raises:
        ValueError: If it is none.
    """
    text = str(text)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
