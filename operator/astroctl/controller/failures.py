"""Why an attempt failed: the driver's own word where it can be had, else what is left behind."""

from __future__ import annotations

import re
from typing import Any

from astroctl.controller.attempts import Attempt
from astroctl.controller.observe import observe_failure
from astroctl.controller.pending import Ending, explain_failure
from astroctl.controller.why.facts import FailureFacts
from astroctl.kube.client import Kube, Object
from astrosage.errors import FAMILIES

_EXIT = re.compile(r"exit code (\d+)")


def ending_of(
    kube: Kube, namespace: str, one: Attempt, rayjob: Object | None, error: dict[str, Any] | None
) -> Ending:
    """Why an attempt failed.

    Args:
        kube: The cluster.
        namespace: The job's.
        one: The attempt.
        rayjob: Its RayJob.
        error: The driver's error from progress.json; None if that could not be read.
    """
    driver = error or _last_words(one.message)
    if rayjob is None:
        return explain_failure(FailureFacts(driver=driver))
    facts = observe_failure(kube, namespace, rayjob)
    return explain_failure(FailureFacts(facts.rayjob, facts.pods, driver))


def _last_words(message: str) -> dict[str, Any] | None:
    """The driver's error, from the end of its output and its exit code, which KubeRay repeats."""
    found = _EXIT.search(message)
    code = int(found[1]) if found else 1
    families = [f for f in FAMILIES.values() if f.exit_code == code]
    said = {
        key: text.strip()
        for key, _, text in (line.partition(":") for line in message.splitlines())
        if key in ("error", "hint")
    }
    if not found or code == 1 or not families or "error" not in said:
        return None
    return {
        "type": families[0].__name__,
        "message": said["error"],
        "hint": said.get("hint", ""),
        "retryable": any(f.retryable for f in families),
    }
