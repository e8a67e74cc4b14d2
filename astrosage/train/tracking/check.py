"""Whether the trackers that a stage asks for can be used, seen before anything starts.

Light: nothing heavy is imported, so that the command line can ask too.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit

from astrosage.errors import SpecError
from astrosage.spec.train import Tracker

PREFIXES: dict[Tracker, str] = {"mlflow": "MLFLOW_", "wandb": "WANDB_"}
"""What the names of each tracker's environment variables begin with."""
_PACKAGES: dict[Tracker, tuple[str, str]] = {
    "tensorboard": ("tensorboard", "train"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
}
_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")
_WANDB_HOST = "api.wandb.ai"


def check(
    tracking: Sequence[Tracker], field: str, environment: Mapping[str, str] | None = None
) -> None:
    """Refuse trackers whose package or environment is missing on this machine.

    Args:
        tracking: The stage's trackers.
        field: Where they stand in the run file, for the message.
        environment: Variables; default: this process's.

    Raises:
        SpecError: Naming the tracker and what it lacks.
    """
    variables = os.environ if environment is None else environment
    for tracker in tracking:
        package, extra = _PACKAGES[tracker]
        if not _installed(package):
            raise SpecError(
                f"{field}: `{tracker}` needs the package {package}, which is not installed where "
                "the training runs",
                f"pip install 'astrosage[{extra}]' there, or take `{tracker}` out",
            )
    if "mlflow" in tracking:
        _check_mlflow(variables.get("MLFLOW_TRACKING_URI", ""), field, variables)
    if "wandb" in tracking:
        _check_wandb(field, variables)


def passed_on(tracking: Sequence[Tracker], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the environment that these trackers read."""
    prefixes = tuple(PREFIXES[t] for t in tracking if t in PREFIXES)
    return {n: v for n, v in environment.items() if prefixes and n.startswith(prefixes)}


def _installed(package: str) -> bool:
    # A folder of that name, which wandb itself leaves behind where it runs, is no package.
    found = find_spec(package)
    return found is not None and found.origin is not None


def _check_mlflow(uri: str, field: str, variables: Mapping[str, str]) -> None:
    if not uri:
        raise SpecError(
            f"{field}: `mlflow` needs the environment variable MLFLOW_TRACKING_URI, which is not "
            "set where the training runs",
            "set it to the tracking server's address, such as https://mlflow.example.org, or take "
            "`mlflow` out",
        )
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in _DATABASES and not _installed("sqlalchemy"):
        raise SpecError(
            f"{field}: MLFLOW_TRACKING_URI is a database ({scheme}), which needs the package "
            "sqlalchemy",
            "pip install mlflow where the training runs, or use a tracking server",
        )
    allowed = variables.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    is_folder = scheme == "file" or (not scheme and uri != "databricks")
    if is_folder and not allowed:
        raise SpecError(
            f"{field}: MLFLOW_TRACKING_URI is a folder ({uri}), which MLflow no longer uses by "
            "itself",
            "use a tracking server, or set MLFLOW_ALLOW_FILE_STORE=true too",
        )


def _check_wandb(field: str, variables: Mapping[str, str]) -> None:
    offline = variables.get("WANDB_MODE", "").lower() in ("offline", "dryrun", "disabled")
    if offline or variables.get("WANDB_API_KEY") or variables.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    host = urlsplit(variables.get("WANDB_BASE_URL", "")).hostname or _WANDB_HOST
    if not _logged_in(host):
        raise SpecError(
            f"{field}: `wandb` needs the environment variable WANDB_API_KEY, which is not set "
            "where the training runs",
            "set it, or WANDB_MODE=offline to keep the run's files and `wandb sync` them later",
        )


def _logged_in(host: str) -> bool:
    """Whether ``wandb login`` has left a key for the host."""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
