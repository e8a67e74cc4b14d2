"""Kubernetes quantities as numbers."""

from __future__ import annotations

from typing import Any

_FACTORS: dict[str, float] = {
    **{s: 1024.0 ** (i + 1) for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
    **{s: 1000.0 ** (i + 1) for i, s in enumerate(("k", "M", "G", "T", "P", "E"))},
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
}


def number(quantity: Any) -> float:
    """The value of a quantity such as ``500m``, ``8Gi`` or ``4``; 0 for anything else."""
    text = str(quantity if quantity is not None else 0).strip()
    for length in (2, 1):
        factor = _FACTORS.get(text[-length:]) if len(text) > length else None
        if factor is not None:
            text = text[:-length]
            break
    else:
        factor = 1.0
    try:
        return float(text) * factor
    except ValueError:
        return 0.0
