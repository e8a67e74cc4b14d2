"""The checks of ``astroctl doctor``: each says what it found and, where need be, the remedy."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from astroctl.cli.output import size
from astroctl.home import home, is_private
from astroctl.targets import head, ports
from astrosage.errors import AstroError
from astrosage.models import resolve
from astrosage.plan.machine import Machine
from astrosage.plan.preflight import check_storage

_SPACE = 5 * 2**30
_SHM = 2**30
_MEMORY = 6 * 2**30
# package -> the extra that brings it, and what it is for.
_OPTIONAL = {
    "ray": ("train", "a local cluster"),
    "torch": ("train", "training"),
    "transformers": ("train", "training"),
    "deepspeed": ("train", "training"),
    "fastapi": ("serve", "serving"),
    "s3fs": ("s3", "storage on S3"),
}


@dataclass(frozen=True)
class Result:
    """One check's outcome.

    Attributes:
        name: What was checked.
        state: ``ok``, ``warn`` or ``fail``.
        found: What was found.
        remedy: What to do about it.
    """

    name: str
    state: str
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return dataclasses.asdict(self)


def run_checks(storage: str) -> list[Result]:
    """All checks, in the order of a newcomer's trouble."""
    return [
        *_python(),
        *_packages(),
        *_machine(),
        _space("storage", Path(storage)),
        _writable(storage),
        _space("model cache", resolve.cache_folder()),
        _base_model(),
        *_cluster(),
        *_secrets(),
    ]


def _python() -> Iterator[Result]:
    version = sys.version.split()[0]
    good = sys.version_info >= (3, 11)
    yield Result(
        "python",
        "ok" if good else "fail",
        f"{version} at {sys.executable}",
        "" if good else "use Python 3.11 or newer",
    )


def _packages() -> Iterator[Result]:
    yield Result("astrosage", "ok", importlib.metadata.version("astrosage"))
    for package, (extra, purpose) in _OPTIONAL.items():
        try:
            yield Result(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Result(
                package,
                "warn",
                f"not installed; needed for {purpose}",
                f"pip install 'astrosage[{extra}]'",
            )


def _machine() -> Iterator[Result]:
    machine = Machine.here()
    yield Result("cores", "ok", f"{machine.cpus}, GPUs: {machine.gpus}")
    low = machine.memory < _MEMORY
    yield Result(
        "memory",
        "warn" if low else "ok",
        size(machine.memory),
        "the quickstart wants 6 GiB; use one worker" if low else "",
    )
    shm = Path("/dev/shm")
    if shm.is_dir():
        free = shutil.disk_usage(shm).free
        yield Result(
            "shared memory",
            "warn" if free < _SHM else "ok",
            f"{size(free)} free in /dev/shm",
            "in a container: --shm-size=2g" if free < _SHM else "",
        )


def _space(name: str, folder: Path) -> Result:
    if "://" in str(folder):
        return Result(name, "ok", str(folder))
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    return Result(
        name,
        "warn" if free < _SPACE else "ok",
        f"{size(free)} free at {folder}",
        "free some space there" if free < _SPACE else "",
    )


def _writable(uri: str) -> Result:
    try:
        check_storage(uri)
    except AstroError as error:
        return Result("storage writable", "fail", error.message, error.hint)
    return Result("storage writable", "ok", uri)


def _base_model() -> Result:
    alias = next(iter(resolve.ALIASES))
    folder = resolve.cached(alias)
    if folder is None:
        return Result(
            "base model",
            "warn",
            f"{alias} is not in {resolve.cache_folder()}",
            "the first run fetches it; or now: python -m astrosage.models.smollm2",
        )
    return Result("base model", "ok", str(folder))


def _cluster() -> Iterator[Result]:
    found = head.read()
    if found is None:
        yield Result("local cluster", "ok", "none runs; a submit starts one")
        for port in (8265, 8000):
            if not ports.is_free(port):
                by = ports.holder(port) or "another process"
                yield Result(f"port {port}", "warn", f"in use by {by}", "another will be chosen")
        return
    if not found.lives:
        yield Result("local cluster", "warn", "it has died", "the next submit starts it anew")
    elif not found.answers():
        yield Result("local cluster", "fail", f"{found.address} does not answer", "astroctl down")
    else:
        yield Result("local cluster", "ok", f"{found.address} (pid {found.pid})")
        yield _listening(found)


def _listening(found: head.Head) -> Result:
    """Ports of the cluster's processes that other machines could reach."""
    mine = head.inodes(found)
    wide = sorted(
        {p for a, p, inode in ports.listening() if inode in mine and a in ("0.0.0.0", "::")}
    )
    if not wide:
        return Result("cluster's ports", "ok", "loopback only")
    return Result(
        "cluster's ports",
        "warn",
        f"listening on all interfaces: {', '.join(map(str, wide))}",
        "trainings (rendezvous) and served models (gRPC, with token) do this while they run; a "
        "firewall keeps others out",
    )


def _secrets() -> Iterator[Result]:
    files = [p for p in (home() / "token", *(home() / "keys").glob("*.key")) if p.exists()]
    wide = [str(p) for p in files if not is_private(p)]
    if wide:
        yield Result(
            "token files", "fail", f"others may read {', '.join(wide)}", f"chmod 600 {wide[0]}"
        )
    else:
        yield Result("token files", "ok", f"{len(files)} in {home()}, mode 0600")
