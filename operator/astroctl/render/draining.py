"""What a worker pod does before it ends.

A pod ends for one of two reasons. Its node is taken away: then the training on it shall take a
checkpoint, for which Ray must be told and time must pass. Or the cluster is over: then nothing must
hold it up. A pod cannot see which, but it sees whether workers run in it, and whether the head is
still there; a cluster that is removed loses its head in the same moment.
"""

from __future__ import annotations

from typing import Any

# Below this, a checkpoint has no chance.
_SHORTEST_SECONDS = 20
_MARGIN_SECONDS = 15
# Ray names its processes after what they run; these do nothing that is worth waiting for.
_SCRIPT = """\
busy() {{
  for file in /proc/[0-9]*/cmdline; do
    title=
    {{ IFS= read -r -d '' title < "$file"; }} 2>/dev/null
    case "$title" in
      ray::IDLE* | ray::SPILL* | ray::RESTORE* | ray::DELETE*) ;;
      ray::DashboardAgent* | ray::RuntimeEnvAgent*) ;;
      ray::*) return 0 ;;
    esac
  done
  return 1
}}
head_answers() {{
  timeout 2 bash -c ": < /dev/tcp/${{RAY_ADDRESS%:*}}/${{RAY_ADDRESS##*:}}" 2>/dev/null
}}
if [ -w /proc/1/fd/1 ]; then exec > /proc/1/fd/1 2>&1; fi
busy && head_answers || exit 0
echo "This pod ends in {wait} s at the latest: telling Ray, so that work is saved."
timeout 30 ray drain-node --address "$RAY_ADDRESS" --reason DRAIN_NODE_REASON_PREEMPTION \\
  --reason-message "the pod is being ended" --deadline-remaining-seconds {wait} \\
  || echo "Ray could not be told."
silent=0
while busy && [ "$SECONDS" -lt {wait} ]; do
  if head_answers; then silent=0; else silent=$((silent + 1)); fi
  [ "$silent" -lt 3 ] || break
  sleep 1
done
exit 0
"""


def drain_seconds(grace: int) -> int:
    """Seconds of a grace period that a training gets; the rest is for Ray to end in."""
    return grace - min(_MARGIN_SECONDS, grace // 4) if grace >= _SHORTEST_SECONDS else 0


def drain_hook(grace: int) -> dict[str, Any] | None:
    """The ``lifecycle`` of a worker's container; None where the grace is too short for it.

    Args:
        grace: The pod's ``terminationGracePeriodSeconds``.
    """
    wait = drain_seconds(grace)
    if not wait:
        return None
    script = _SCRIPT.format(wait=wait)
    return {"preStop": {"exec": {"command": ["/bin/bash", "-c", script]}}}
