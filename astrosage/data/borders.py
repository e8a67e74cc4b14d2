"""Where the tokens of a text's beginnings end, without tokenising each beginning.

A tokenizer first cuts a text at its added tokens, and what lies between two of them does not depend
on the rest. So a beginning has the first tokens of the whole text if that holds from its last such
token on; only from there is it tokenised to be compared.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

_REMEMBERED, _SHORT = 1024, 100  # most are the same few: the head of an answer, the end of a turn


class Borders:
    """Finds borders in tokenised texts.

    Args:
        backend: The tokenizer.
        control: Finds added tokens of it, which begin and end turns.
        tokens: All of them.
    """

    def __init__(self, backend: Any, control: re.Pattern[str], tokens: Sequence[str]) -> None:
        self._backend, self._control = backend, control
        self._ids = {backend.token_to_id(token) for token in tokens}
        self._known: dict[str, tuple[int, ...]] = {}

    def find(self, text: str, ids: Sequence[int], ends: Sequence[int]) -> list[int] | None:
        """How many tokens each beginning of a text has.

        Args:
            text: The whole text.
            ids: Its tokens.
            ends: Where the beginnings end, ascending, in characters.

        Returns:
            As many numbers as ``ends``; None if it cannot be told, or a beginning's own tokens are
            not the first ones of the text.
        """
        starts = [match.start() for match in self._control.finditer(text)]
        places = [place for place, token in enumerate(ids) if token in self._ids]
        if len(starts) != len(places):
            return None
        found = []
        for end in ends:
            last = bisect_left(starts, end) - 1
            if last < 0:
                return None
            place = places[last]
            tail = self._tokens(text[starts[last] : end])
            if tuple(ids[place : place + len(tail)]) != tail:
                return None
            found.append(place + len(tail))
        return found

    def _tokens(self, text: str) -> tuple[int, ...]:
        """Tokens of a text; those of short ones are remembered."""
        known = self._known.get(text)
        if known is None:
            known = tuple(self._backend.encode(text, add_special_tokens=False).ids)
            if len(text) <= _SHORT and len(self._known) < _REMEMBERED:
                self._known[text] = known
        return known
