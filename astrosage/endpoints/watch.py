"""What a service did while it was asked: told in the summary, warned of in the log."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from astrosage.endpoints.replies import Reply
from astrosage.errors import ClusterError, SpecError
from astrosage.spec.endpoint import Endpoint

log = logging.getLogger(__name__)
_TOLERATED = 8  # failures before their share counts
_TOLERATED_SHARE = 0.5


class Watch:
    """Counts replies and notes what changes.

    Args:
        endpoint: The service, for messages.
        field: Where it stands in the run file, for messages.
    """

    def __init__(self, endpoint: Endpoint, field: str = "bench.endpoint") -> None:
        self._endpoint, self._field = endpoint, field
        self._models: Counter[str] = Counter()
        self._fingerprints: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def note(self, reply: Reply, *, reused: bool) -> None:
        """Take a reply into account; ``reused`` are those that were kept from before."""
        self._counts["reused" if reused else "asked"] += 1
        if reply.problem is not None:
            self._problems[reply.problem] += 1
            log.warning("%s: %s", self._endpoint.model, reply.problem)
            return
        self._changed("model", self._models, reply.model)
        self._changed("system_fingerprint", self._fingerprints, reply.fingerprint)
        self._counts["limited"] += reply.limited
        self._counts["cut"] += reply.thinking
        self._counts["empty"] += reply.value is None and not reply.text and not reply.thinking
        self._counts["estimated"] += reply.estimated

    def refused(self) -> None:
        """The service refused a request for what it asks; :meth:`note` has it as a problem too."""
        self._counts["refused"] += 1

    def _changed(self, what: str, seen: Counter[str], value: str | None) -> None:
        if value is None:
            return
        if seen and value not in seen:
            log.warning(
                "%s: the service's %s changed from %s to %s while it was asked",
                *(self._endpoint.model, what, ", ".join(seen), value),
            )
        seen[value] += 1

    def check(self) -> None:
        """Stop if the service does not answer.

        Raises:
            SpecError: If not one reply was an answer.
            ClusterError: If most are none any more.
        """
        failed = self._problems.total()
        answered = self._counts["asked"] + self._counts["reused"] - failed
        refused = self._counts["refused"]
        if failed > _TOLERATED and refused == failed and not answered:
            raise SpecError(
                f"{self._field}: {self._endpoint.url} refuses every request: "
                f"{self._problems.most_common(1)[0][0]}",
                "its message says why",
            )
        if failed > refused and not answered:
            problem = self._problems.most_common(1)[0][0]
            raise SpecError(
                f"{self._field}: {self._endpoint.url} is no OpenAI-compatible API: {problem}",
                "give the base URL that ends in /v1",
            )
        if failed > _TOLERATED and failed > _TOLERATED_SHARE * answered:
            problem = self._problems.most_common(1)[0][0]
            raise ClusterError(
                f"{self._field}: {self._endpoint.url} gave no answer to {failed} of "
                f"{failed + answered} requests, most often {problem}",
                "see the service's own log, then resume: what it has answered is kept",
            )

    def facts(self, retries: int) -> dict[str, Any]:
        """For the summary."""
        return {
            "asked": self._counts["asked"],
            "reused": self._counts["reused"],
            "retries": retries,
            "failed": self._problems.total(),
            "problems": dict(self._problems.most_common(5)),
            "empty": self._counts["empty"],
            "limited": self._counts["limited"],
            "cut": self._counts["cut"],
            "estimatedUsage": self._counts["estimated"],
            "models": dict(self._models),
            "fingerprints": dict(self._fingerprints),
            "changed": len(self._models) > 1 or len(self._fingerprints) > 1,
        }
