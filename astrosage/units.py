"""Quantities as people and Kubernetes write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_FACTORS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def parse_bytes(quantity: str) -> int:
    """Bytes of a Kubernetes quantity such as ``6Gi``; the spec's pattern has checked it."""
    number = quantity.rstrip("KMGTi")
    return exact(number, _FACTORS[quantity[len(number) :]])


def exact(number: str, factor: int = 1) -> int:
    """A decimal number times a factor, rounded down; floats lose bytes above 8 PiB.

    Raises:
        ValueError: If it is no number.
    """
    try:
        return int(Decimal(number) * factor)
    except (InvalidOperation, OverflowError):
        raise ValueError(f"{number!r} is no number") from None


def format_bytes(value: float) -> str:
    """Bytes for people, in binary units: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def format_seconds(value: float) -> str:
    """A duration for people: ``45s``, ``3m20s``, ``2h05m``."""
    seconds = max(0, round(value))
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
