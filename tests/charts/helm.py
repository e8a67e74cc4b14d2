"""Helm, as found on this machine, and what it renders.

Every helm that can be found is used, since charts must do with several: those named by
``ASTRO_TEST_HELM`` (paths with colons between), that of the PATH, and ``helm*`` in
``~/.cache/control-plane/bin``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "astrosage"
STACK = ROOT / "charts" / "astrosage-stack"
NAMESPACE = "astrosage-system"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Object = dict[str, Any]


class Refused(Exception):
    """Helm ended with an error; the text is what it said."""


class Helm:
    """One helm.

    Attributes:
        path: Its program.
        version: Such as ``(3, 17, 3)``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._texts: dict[str, str] = {}
        said = subprocess.run(
            [path, "version", "--short"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
        assert found, said
        self.version = tuple(int(n) for n in found.groups())

    def __repr__(self) -> str:
        return "helm-" + ".".join(map(str, self.version))

    def run(self, *words: str, values: Object | None = None, kubeconfig: Path | None = None) -> str:
        """Its output.

        Raises:
            Refused: If it fails.
        """
        # Nothing of this user's own: no kubeconfig, repositories or plugins.
        home = {f"XDG_{kind}_HOME": "/nonexistent" for kind in ("CONFIG", "DATA")}
        words += ("-f", "-") if values is not None else ()
        done = subprocess.run(
            [self.path, *words],
            input=json.dumps(values) if values is not None else None,
            capture_output=True,
            text=True,
            env={
                **home,
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "HELM_CACHE_HOME": os.environ.get("TMPDIR", "/tmp") + "/astrosage-helm",
                "KUBECONFIG": str(kubeconfig) if kubeconfig else "/nonexistent",
            },
        )
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def text(
        self,
        values: Object | None = None,
        *,
        chart: Path = CHART,
        name: str = "astrosage",
        namespace: str = NAMESPACE,
        kube_version: str = "1.33.0",
    ) -> str:
        """What ``helm template`` gives; kept, since many tests ask for the same."""
        asked = repr((values, chart, name, namespace, kube_version))
        if chart != CHART or asked not in self._texts:
            self._texts[asked] = self._template(values, chart, name, namespace, kube_version)
        return self._texts[asked]

    def _template(
        self, values: Object | None, chart: Path, name: str, namespace: str, kube_version: str
    ) -> str:
        words = ["template", name, str(chart), "--namespace", namespace]
        return self.run(*words, "--kube-version", kube_version, values=values or {})

    def template(self, values: Object | None = None, **options: Any) -> list[Object]:
        """The objects that it makes."""
        return objects(self.text(values, **options))


class UniqueKeys(_LOADER):  # type: ignore[misc, valid-type]
    """A loader that refuses a key given twice, as strict parsers do."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"twice: {sorted(map(str, twice))}{node.start_mark}")
        return super().construct_mapping(node, deep)


def objects(text: str) -> list[Object]:
    """The objects in YAML text."""
    return [o for o in yaml.load_all(text, UniqueKeys) if o is not None]


def one(found: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of a kind (and name)."""
    these = [o for o in found if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(these) == 1, [f"{o['kind']}/{o['metadata']['name']}" for o in found]
    return these[0]


def kinds(found: list[Object]) -> list[str]:
    """The kinds of objects, sorted."""
    return sorted(o["kind"] for o in found)


@functools.cache
def helms() -> list[Helm]:
    """All that can be found, each version once."""
    places = [*os.environ.get("ASTRO_TEST_HELM", "").split(":"), shutil.which("helm") or ""]
    places += map(str, sorted((Path.home() / ".cache/control-plane/bin").glob("helm*")))
    found = {h.version: h for h in map(Helm, filter(_runs, places))}
    return [found[version] for version in sorted(found)]


def _runs(path: str) -> bool:
    return bool(path) and os.access(path, os.X_OK)


def newest() -> Helm | None:
    """The newest."""
    return helms()[-1] if helms() else None
