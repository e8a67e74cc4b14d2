"""One client for all kinds of object, as plain dictionaries, over the official library.

The official library brings what is hard: kubeconfig files with all their ways to log in, service
accounts inside a cluster, token renewal, certificates and connections. Objects stay dictionaries,
because custom resources have no classes there.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astroctl.kube.errors import ApiError, Missing, explain
from astroctl.kube.resources import Resource, resource_of
from astrosage.errors import ClusterError, NotFoundError

FIELD_MANAGER = "astroctl"
_PAGE = 500
_TIMEOUT_SECONDS = (5.0, 30.0)
Object = dict[str, Any]


@contextmanager
def _said() -> Iterator[list[str]]:
    """What the library logs meanwhile: that a login program failed, it tells nobody else."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


class Kube:
    """A cluster's API.

    Args:
        api: The official library's ``ApiClient``.
        namespace: Where objects are looked for that are given no namespace.
        context: Name of the kubeconfig context; ``in-cluster`` inside a pod.
    """

    def __init__(self, api: Any, namespace: str = "default", context: str = "") -> None:
        self.api, self.namespace, self.context = api, namespace, context
        self._connect: Callable[[], Kube] | None = None

    @classmethod
    def connect(
        cls, context: str | None = None, kubeconfig: str | None = None, connections: int = 8
    ) -> Kube:
        """By kubeconfig (``KUBECONFIG``, ``~/.kube/config``), or as a pod's service account.

        Args:
            context: A context of the kubeconfig; default: its current one.
            kubeconfig: Another file.
            connections: How many requests may be under way at once.

        Raises:
            NotFoundError: If there is no kubeconfig, or it has no such context.
            ClusterError: If it cannot be used.
        """
        made = cls._connected(context, kubeconfig, connections)
        made._connect = lambda: cls._connected(context, kubeconfig, connections)
        return made

    @classmethod
    def _connected(cls, context: str | None, kubeconfig: str | None, connections: int) -> Kube:
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
        from yaml import YAMLError

        # The library reads the variable once, when it is imported.
        kubeconfig = kubeconfig or os.environ.get("KUBECONFIG") or None
        configuration = client.Configuration()
        configuration.connection_pool_maxsize = connections
        try:
            if kubeconfig is None and context is None and _in_pod():
                config.load_incluster_config(client_configuration=configuration)
                namespace = Path(
                    "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
                ).read_text()
                return cls(client.ApiClient(configuration), namespace.strip(), "in-cluster")
            with _said() as said:
                config.load_kube_config(
                    config_file=kubeconfig, context=context, client_configuration=configuration
                )
            contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
        except ConfigException as error:
            missing = kubeconfig if kubeconfig and not Path(kubeconfig).exists() else None
            raise NotFoundError(
                f"no usable kubeconfig: {f'{missing} does not exist' if missing else error}",
                "set KUBECONFIG or write ~/.kube/config; `kubectl config get-contexts` lists what "
                "it has",
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, YAMLError) as error:
            raise ClusterError(
                f"the kubeconfig cannot be used: {error}", "`kubectl cluster-info` must work first"
            ) from None
        if said and not configuration.api_key and not configuration.cert_file:
            raise ClusterError(
                f"the kubeconfig's way to log in failed: {'; '.join(said)}",
                "install the program that it names, or log in again; `kubectl cluster-info` must "
                "work first",
            )
        chosen = next((c for c in contexts if c["name"] == context), active)
        namespace = chosen["context"].get("namespace") or "default"
        return cls(client.ApiClient(configuration), namespace, str(chosen["name"]))

    def renew(self) -> None:
        """Read the credentials again: a person may have logged in anew since.

        Raises:
            NotFoundError, ClusterError: If the kubeconfig cannot be used any more.
        """
        if self._connect is not None:
            self.api = self._connect().api

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self.api.configuration.host)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout: tuple[float, float] | None = None,
        stream: bool = False,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """Send one request.

        Args:
            method: HTTP method.
            path: From the root.
            body: Plain data; sent as JSON.
            content_type: Which kind of patch.
            timeout: Seconds to connect and to wait for each piece of the answer.
            stream: Give the raw answer (to be read in pieces and released) instead of its JSON.
            headers: More of them.
            query: Query parameters; None leaves one out.

        Raises:
            AstroError: As :func:`astroctl.kube.errors.explain` tells.
            ApiError: With status 0 if no answer came.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        asked = f"{method} {path}"
        sent = {"Accept": "application/json", "Content-Type": content_type, **(headers or {})}
        try:
            answer = self.api.call_api(
                path,
                method,
                query_params=[(k, v) for k, v in query.items() if v is not None],
                header_params=sent,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=timeout or _TIMEOUT_SECONDS,
            )
            if stream:
                return answer
            return json.loads(answer.data) if answer.data else {}
        except ApiException as error:
            raise explain(error.status or 0, error.body or b"", asked, error.headers) from None
        except (HTTPError, OSError) as error:
            raise ApiError(
                f"the API server at {self.host} cannot be reached: {_reason(error)}",
                "check the network and the kubeconfig's context; `kubectl cluster-info` must work",
            ) from None
        except ValueError:
            raise ApiError(f"{asked}: the answer is not JSON", "is this an API server?") from None

    def get(self, kind: Resource, name: str, namespace: str | None = None) -> Object:
        """One object; :class:`Missing` where there is none."""
        found: Object = self.request("GET", kind.path(namespace or self.namespace, name))
        return found

    def find(self, kind: Resource, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None."""
        try:
            return self.get(kind, name, namespace)
        except Missing:
            return None

    def list(
        self,
        kind: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        """All objects of a kind; of one namespace if it is given, else of the cluster."""
        return list(self.pages(kind, namespace, labels=labels, fields=fields))

    def pages(
        self,
        kind: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Iterator[Object]:
        """As :meth:`list`, page by page; items carry their apiVersion and kind."""
        query: dict[str, Any] = {"limit": _PAGE, "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = self.request("GET", kind.path(namespace), **query)
            for item in page.get("items") or []:
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            query["continue"] = (page.get("metadata") or {}).get("continue")
            if not query["continue"]:
                return

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Make an object; :class:`AlreadyExists` if there is one of that name."""
        kind = resource_of(obj)
        path = kind.path(self._namespace(kind, obj))
        made: Object = self.request(
            "POST", path, obj, fieldManager=FIELD_MANAGER, dryRun="All" if dry_run else None
        )
        return made

    def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Write a whole object as it was read and changed; :class:`Changed` if someone else did."""
        kind = resource_of(obj)
        path = kind.path(self._namespace(kind, obj), obj["metadata"]["name"], subresource)
        made: Object = self.request("PUT", path, obj, fieldManager=FIELD_MANAGER)
        return made

    def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply: make it so, keeping the fields of others."""
        kind = resource_of(obj)
        path = kind.path(self._namespace(kind, obj), obj["metadata"]["name"])
        made: Object = self.request(
            "PATCH",
            path,
            obj,
            content_type="application/apply-patch+yaml",
            fieldManager=FIELD_MANAGER,
            force="true" if force else None,
            dryRun="All" if dry_run else None,
        )
        return made

    def patch(
        self,
        kind: Resource,
        name: str,
        body: Object | Sequence[Object],
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """A merge patch (a dictionary) or a JSON patch (a list)."""
        form = "merge" if isinstance(body, dict) else "json"
        made: Object = self.request(
            "PATCH",
            kind.path(namespace or self.namespace, name, subresource),
            body,
            content_type=f"application/{form}-patch+json",
            fieldManager=FIELD_MANAGER,
        )
        return made

    def delete(
        self, kind: Resource, name: str, namespace: str | None = None, *, policy: str = "Background"
    ) -> bool:
        """Remove an object; tells whether there was one."""
        try:
            self.request(
                "DELETE",
                kind.path(namespace or self.namespace, name),
                {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy},
            )
        except Missing:
            return False
        return True

    def version(self) -> str:
        """The server's version, such as ``v1.33.2``."""
        return str(self.request("GET", "/version").get("gitVersion", "unknown"))

    def _namespace(self, kind: Resource, obj: Object) -> str | None:
        return (obj["metadata"].get("namespace") or self.namespace) if kind.namespaced else None


def _in_pod() -> bool:
    there = Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
    return there and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error
    return str(inner).rpartition(": ")[2] or type(error).__name__
