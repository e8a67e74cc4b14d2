"""Bin packing: documents into training rows, so that little of a row is padding.

Best-fit decreasing, as Ding et al. 2024 ("Fewer Truncations Improve Language Modeling") use it: the
longest document first, each into the row where it leaves the least room.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit_decreasing(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Pack items into rows; the same lengths always give the same rows.

    Rows with the same room are interchangeable, so only the distinct amounts of room are searched:
    O(n log n) comparisons.

    Args:
        lengths: Tokens in each item, from 1 to ``row_length``.
        row_length: Tokens in a row.

    Returns:
        For each row the indices of its items, ascending.

    Raises:
        ValueError: If an item is empty or does not fit into a row.
    """
    rows: list[list[int]] = []
    rooms: list[int] = []  # distinct amounts of room, ascending
    rows_with: dict[int, list[int]] = {}
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[item]
        if not 1 <= length <= row_length:
            raise ValueError(f"item {item} has length {length}, rows hold 1 to {row_length}")
        at = bisect_left(rooms, length)
        if at == len(rooms):
            rows.append([])
            row, room = len(rows) - 1, row_length
        else:
            room = rooms[at]
            row = rows_with[room].pop()
            if not rows_with[room]:
                del rooms[at], rows_with[room]
        rows[row].append(item)
        left = room - length
        if left:
            if left not in rows_with:
                insort(rooms, left)
                rows_with[left] = []
            rows_with[left].append(row)
    return [sorted(row) for row in rows]
