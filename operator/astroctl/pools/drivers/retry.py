"""Try again with growing, jittered pauses; for APIs whose client does not do so itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from astroctl.kube.errors import ApiError, Changed, Forbidden, Missing, NoSuchKind
from astroctl.pools.drivers.base import Denied, ReferenceGone, Throttled
from astrosage.errors import AstroError

ATTEMPTS = 4
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
T = TypeVar("T")


def pause(attempt: int, asked: float | None = None) -> float:
    """Seconds before the next try: at least what the server asks, at most the longest pause."""
    grown = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt)
    wanted: float = max(asked or 0.0, grown * random.uniform(0.5, 1.0))
    return min(LONGEST_PAUSE, wanted)


def kube_call(what: str, ask: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep) -> T:
    """Ask Kubernetes' API, patiently where it is overloaded or someone wrote in between.

    Args:
        what: The object, for messages.
        ask: One try; where it writes it reads first, so that a repeat starts from what is there.
        sleep: For tests.

    Raises:
        ReferenceGone, Denied, Throttled: As the answers say.
    """
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except (Missing, NoSuchKind) as error:
            raise gone(what, error) from None
        except Forbidden as error:
            raise Denied(
                error.message, "the chart grants it where `pools.enabled` is true"
            ) from None
        except Changed as error:
            if not error.retryable or attempt + 1 == ATTEMPTS:
                raise
            sleep(pause(attempt - 2))
        except ApiError as error:
            if error.status not in (0, 429) and error.status < 500:
                raise
            if attempt + 1 == ATTEMPTS:
                kind = Throttled if error.status == 429 else ApiError
                raise kind(error.message, error.hint) from None
            sleep(pause(attempt, error.retry_after))
    raise AssertionError("unreachable")


def gone(what: str, error: AstroError | None = None) -> ReferenceGone:
    """The error for a reference to nothing."""
    detail = f": {error.message}" if error and isinstance(error, NoSuchKind) else ""
    return ReferenceGone(
        f"{what} does not exist{detail}", "mend the pool's `reference`, or delete the pool"
    )
