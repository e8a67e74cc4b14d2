"""What was served from this machine: URLs, and how to get at keys."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from astroctl.home import locked, read_json, write_json
from astroctl.serving import key_files
from astrosage.errors import NotFoundError

_FILE = "serve.json"


@dataclass(frozen=True)
class Served:
    """A served model.

    Attributes:
        name: Of the application, and the model's id in the API.
        model: The model's directory, URI, alias or hub id.
        url: Base URL, which ends in /v1; on Kubernetes, inside the cluster.
        key_file: The file with its bearer token; empty on Kubernetes.
        target: Where it runs.
        address: The cluster's dashboard.
        endpoint: The RayService (Kubernetes).
        namespace: Its namespace (Kubernetes).
        context: The kubeconfig's context (Kubernetes).
        kubeconfig: The kubeconfig, if it is not the usual one (Kubernetes).
        standing: How it stands, as :mod:`astroctl.serving.standing` has it (Ray).
    """

    name: str
    model: str
    url: str
    key_file: str
    target: str
    address: str
    endpoint: str = ""
    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    standing: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as the state file keeps it."""
        return dataclasses.asdict(self)

    def public(self) -> dict[str, str]:
        """What a program that deployed it wants to know."""
        found = {"name": self.name, "model": self.model, "url": self.url}
        if self.target == "kubernetes":
            secret = {"namespace": self.namespace, "name": self.secret, "key": "default"}
            return {**found, "rayService": self.endpoint, "keySecret": "/".join(secret.values())}
        return {**found, "keyFile": self.key_file}

    @property
    def secret(self) -> str:
        """The Secret with its API keys (Kubernetes)."""
        return f"{self.endpoint}-api-keys"

    def describe(self) -> str:
        """For people, with an example to paste."""
        if self.target == "kubernetes":
            return self._describe_on_kubernetes()
        return (
            f"{self.name} is served at {self.url}\nkey: {self.key_file}\n"
            f"page: {self.url.removesuffix('v1')}\n\n"
            f"{_curl(self.url, self.name, f'cat {self.key_file}')}\n\n"
            '  astroctl ask "What is a Cepheid?"'
        )

    def key_command(self) -> str:
        """The command that reads its key (Kubernetes)."""
        return (
            f"kubectl get secret -n {self.namespace} {self.secret} "
            "-o jsonpath='{.data.default}' | base64 -d"
        )

    def _describe_on_kubernetes(self) -> str:
        port = self.url.rpartition(":")[2].partition("/")[0]
        return (
            f"{self.name} is served at {self.url} (inside the cluster)\n"
            f"key: {self.key_command()}\n\n"
            "from this machine:\n\n"
            f'  astroctl ask --model {self.name} "What is a Cepheid?"\n'
            f"  astroctl serve --forward {self.name}\n"
            f"  kubectl port-forward -n {self.namespace} svc/{self.endpoint}-serve-svc "
            f"{port}:{port}"
        )


def _curl(url: str, name: str, key: str) -> str:
    return (
        f"  curl {url}/chat/completions \\\n"
        f'    -H "Authorization: Bearer $({key})" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f'    -d \'{{"model": "{name}", "messages": [{{"role": "user", "content": '
        '"What is a Cepheid?"}]}\''
    )


def remember(served: Served) -> None:
    """Keep a served model, as the newest."""
    with locked("serve"):
        others = {n: s for n, s in read_json(_FILE).items() if n != served.name}
        write_json(_FILE, {**others, served.name: served.to_dict()})


def forget(name: str, target: str = "") -> Served | None:
    """Drop a served model, its keys included; gives what was known of it.

    Args:
        name: Which.
        target: Only if it is there.
    """
    with locked("serve"):
        there = read_json(_FILE)
        if name not in there or target not in ("", there[name]["target"]):
            return None
        found = Served(**there.pop(name))
        write_json(_FILE, there)
    if found.key_file:
        key_files.remove(name)
    return found


def all_served() -> dict[str, Served]:
    """All that are known here, by name, the newest last."""
    return {name: Served(**value) for name, value in read_json(_FILE).items()}


def known(name: str | None = None) -> Served:
    """A model that was served from this machine; without a name, the newest.

    Raises:
        NotFoundError: If there is none.
    """
    served = all_served()
    if name is None and served:
        name = next(reversed(served))
    if name is None or name not in served:
        what = f"no model `{name}`" if name else "no model"
        raise NotFoundError(
            f"{what} was served from this machine",
            "known: " + (", ".join(served) or "none; `astroctl serve MODEL` serves one"),
        )
    return served[name]
