"""When a model's replies cannot be read too often, the stage stops before the money is gone."""

from __future__ import annotations

from collections import deque

from astrosage.errors import SpecError

_JUDGED_FROM = 20
_SAMPLES = 3


class Nonsense:
    """Counts the replies of one service that could not be read, even when asked again.

    Args:
        field: The service's place in the run file.
        model: Its model.
        most: The largest share of them.

    Attributes:
        read: Replies that could be read.
        unread: Replies that could not.
    """

    def __init__(self, field: str, model: str, most: float) -> None:
        self._field, self._model, self._most = field, model, most
        self.read = self.unread = 0
        self._samples: deque[str] = deque(maxlen=_SAMPLES)

    def note(self, sample: str | None) -> None:
        """A conversation came to an end; with what came, if that cannot be read.

        Raises:
            SpecError: If there is too much of that, naming the share and the last samples.
        """
        if sample is None:
            self.read += 1
            return
        self.unread += 1
        self._samples.append(sample)
        total = self.read + self.unread
        if total >= _JUDGED_FROM and self.unread > self._most * total:
            samples = "".join(f"\n  {sample}" for sample in self._samples)
            raise SpecError(
                f"{self._field}: {self.unread} of {total} replies of {self._model} cannot be read, "
                f"more than `maxNonsense` {self._most:g}; the last:{samples}",
                "use a larger model or other `prompts`, raise `maxNewTokens` where replies are cut "
                "off, or raise `maxNonsense`",
            )
