"""``python -m astroctl.controller``: run the operator."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from astroctl.kube.client import Kube
from astroctl.render import settings
from astrosage.errors import AstroError

_CONNECTIONS = 32


def main() -> int:
    """Run until stopped; the exit code is the error's family."""
    parser = argparse.ArgumentParser(prog="python -m astroctl.controller", description=__doc__)
    parser.add_argument("--settings", help="YAML file [default: $ASTROSAGE_SETTINGS]")
    parser.add_argument(
        "--namespace",
        default=os.environ.get("POD_NAMESPACE", "astrosage-system"),
        help="where the lease lies [default: $POD_NAMESPACE]",
    )
    parser.add_argument("--identity", help="name of this candidate [default: made up]")
    parser.add_argument("--health-port", type=int, default=8080)
    parser.add_argument("--metrics-port", type=int, default=9090)
    parser.add_argument("--workers", type=int, default=16, help="jobs looked at at once")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore", "urllib3", "asyncio", "kopf"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It regrets that signals are handled here and not by it.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    try:
        from astroctl.controller.operator import Operator

        operator = Operator(
            Kube.connect(connections=_CONNECTIONS),
            settings.load(options.settings),
            options.namespace,
            identity=options.identity,
            workers=options.workers,
        )
    except AstroError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, operator.stop)
    return operator.run(health_port=options.health_port, metrics_port=options.metrics_port)


if __name__ == "__main__":
    sys.exit(main())
