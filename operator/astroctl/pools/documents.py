"""Pools from a YAML file of GPUNodePool documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec.pool import GPUNodePool

_HINT = "write GPUNodePool documents, separated by ---; `kubectl get gpunodepools -o yaml` does"


def read_pools(path: str | Path) -> list[GPUNodePool]:
    """The pools of a file: documents, or the list that kubectl writes.

    Raises:
        NotFoundError, DataError, SpecError: With the document and field that is wrong.
    """
    pools = [_pool(data, where) for data, where in _documents(Path(path))]
    if not pools:
        raise SpecError(f"{path}: no GPUNodePool in it", _HINT)
    names = [pool.metadata.name for pool in pools]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"{path}: two pools `{name}`", "pools need different names")
    for pool in pools:
        fallback = pool.spec.fallback
        if fallback is not None and fallback not in names:
            raise SpecError(
                f"{path}: pool {pool.metadata.name}: spec.fallback: there is no pool `{fallback}`",
                f"there are: {', '.join(sorted(names))}",
            )
    return pools


def _documents(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise NotFoundError(f"pools file {file} does not exist", _HINT) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise NotFoundError(f"pools file {file} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SpecError(f"{file}: {problem}{where}", "mend the YAML there") from None
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        where = f"{file}, document {number}"
        if not isinstance(document, dict):
            raise SpecError(f"{where}: expected a mapping, found {document!r}", _HINT)
        items = document.get("items")
        if not isinstance(items, list):
            yield document, where
            continue
        for place, item in enumerate(items):
            if not isinstance(item, dict):
                raise SpecError(f"{where}: items[{place}]: expected a mapping", _HINT)
            yield item, f"{where}, items[{place}]"


def _pool(data: dict[str, Any], where: str) -> GPUNodePool:
    if data.get("kind") != "GPUNodePool":
        raise SpecError(f"{where}: kind: found {data.get('kind')!r}, not GPUNodePool", _HINT)
    metadata = data.get("metadata")
    if isinstance(metadata, dict):
        # What the API server adds is of no use here.
        kept = ("name", "labels", "annotations")
        data = {**data, "metadata": {k: v for k, v in metadata.items() if k in kept}}
    data = {key: value for key, value in data.items() if key != "status"}
    try:
        return GPUNodePool.model_validate(data)
    except ValidationError as error:
        lines = [_told(e) for e in error.errors(include_url=False)]
        raise SpecError(
            f"{where}: " + "\n  ".join(lines), "the reference page lists every field"
        ) from None


def _told(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    context = error.get("ctx", {})
    if error["type"] == "unknown_field":
        name = f"{path}.{context['field']}" if path else context["field"]
        return f"{name}: unknown field; {context['suggestion']}"
    if error["type"] == "missing":
        return f"{path}: required, but missing"
    found = error.get("input")
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return f"{path or 'the pool'}: {error['msg']}{shown}"
