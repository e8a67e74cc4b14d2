"""Read a run file: YAML, ``--set`` overrides, defaults, and errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from astrosage.errors import DataError, NotFoundError, SpecError
from astrosage.spec import graph, local
from astrosage.spec.job import AstroJob


def load(path: str | Path, overrides: Sequence[str] = ()) -> AstroJob:
    """Read and check a run file.

    Local paths in it are relative to the file's folder and come back absolute, so that the job
    means the same wherever it runs.

    Args:
        path: The YAML file.
        overrides: ``a.b=c`` settings; list items by number or, for stages, by name
            (``spec.stages.cpt.train.epochs=1``). Values are read as YAML.

    Raises:
        NotFoundError, DataError, SpecError: Each naming the file or field and the next step.
    """
    file = Path(path)
    data = read_yaml(file)
    for item in overrides:
        apply_override(data, item)
    job = parse(data, source=str(path))
    return with_absolute_paths(job, file.resolve().parent)


def read_yaml(file: Path) -> dict[str, Any]:
    """The file's one YAML document as a mapping."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"run file {file} does not exist", "write one with `astroctl init`"
        ) from None
    except IsADirectoryError:
        raise NotFoundError(f"{file} is a folder", "name the YAML file in it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise NotFoundError(
            f"{file} cannot be read: {error.strerror}", "check its rights"
        ) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SpecError(f"{file}: {problem}{where}", "mend the YAML there") from None
    if not isinstance(data, dict):
        raise SpecError(
            f"{file}: expected a mapping with apiVersion, kind, metadata, spec; found "
            f"{'nothing' if data is None else type(data).__name__}",
            "see a whole example with `astroctl init`",
        )
    return data


class _OverrideLoader(yaml.SafeLoader):
    """YAML 1.1 reads a bare 1e-4 as text; people mean the number. Quoted, it stays text."""


_OverrideLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def apply_override(data: dict[str, Any], item: str) -> None:
    """Set ``a.b=c`` in nested data, in place."""
    path, sep, raw = item.partition("=")
    if not sep or not path:
        raise SpecError(f"--set {item}: expected a.b=c", "for example --set spec.cluster.workers=2")
    try:
        value = yaml.load(raw, Loader=_OverrideLoader)
    except yaml.YAMLError:
        raise SpecError(f"--set {item}: `{raw}` is not a YAML value", "quote it") from None
    *parents, last = path.split(".")
    node: Any = data
    for i, part in enumerate(parents):
        node = _step(node, part, item, ".".join(parents[: i + 1]))
    if isinstance(node, list):
        node[_index(node, last, item)] = value
    else:
        node[last] = value


def _step(node: Any, part: str, item: str, where: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, item)]
    child = node.get(part)
    if child is None:
        child = node[part] = {}
    if not isinstance(child, dict | list):
        raise SpecError(f"--set {item}: `{where}` is a value, not a group", "name a field in it")
    return child


def _index(node: list[Any], part: str, item: str) -> int:
    if part.isdigit() and int(part) < len(node):
        return int(part)
    for i, entry in enumerate(node):
        if isinstance(entry, dict) and entry.get("name") == part:
            return i
    names = [str(e["name"]) for e in node if isinstance(e, dict) and "name" in e]
    allowed = ", ".join(names) or f"0 to {len(node) - 1}"
    raise SpecError(f"--set {item}: no item `{part}` in the list", f"allowed: {allowed}")


def parse(data: dict[str, Any], source: str = "run file") -> AstroJob:
    """Validate plain data as an AstroJob and check its graph.

    Raises:
        SpecError: With every wrong field, one a line.
    """
    try:
        job = AstroJob.model_validate(data)
    except ValidationError as error:
        lines = [_line(e) for e in _telling(error.errors(include_url=False))]
        raise SpecError(
            f"{source}: " + ("\n".join(lines) if len(lines) == 1 else "\n  " + "\n  ".join(lines)),
            "the reference page lists every field; `astroctl config schema` prints the schema",
        ) from None
    graph.check(job)
    return job


def _telling(errors: list[Any]) -> list[Any]:
    """All but those that only say that a value is not of another kind than it was meant to be."""

    def is_other_kind(error: Any) -> bool:
        where: tuple[str | int, ...] = error["loc"]
        return bool(where) and _is_branch(where[-1]) and error["type"].endswith("_type")

    meant = [error["loc"] for error in errors if not is_other_kind(error)]
    return [
        error
        for error in errors
        if not is_other_kind(error)
        or not any(loc[: len(error["loc"]) - 1] == error["loc"][:-1] for loc in meant)
    ]


def _line(error: Any) -> str:
    path = ""
    for part in error["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _is_branch(part):
            path += f".{part}" if path else str(part)
    context = error.get("ctx", {})
    if error["type"] == "unknown_field":
        path = f"{path}.{context['field']}" if path else context["field"]
        return f"{path}: unknown field; {context['suggestion']}"
    if error["type"] == "missing":
        return f"{path}: required, but missing"
    found = error.get("input")
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return f"{path}: {error['msg']}{shown}"


def _is_branch(part: str | int) -> bool:
    """Whether pydantic names a union's branch there, which people did not write."""
    return isinstance(part, str) and ("[" in part or part in _UNION_TAGS)


_UNION_TAGS = {"int", "bool", "Elastic", "Deduplicate", "constrained-int"}


def with_absolute_paths(job: AstroJob, folder: Path) -> AstroJob:
    """The job with every local path absolute; URIs, aliases, hub ids and stages as they are."""

    def change(found: local.Named) -> str:
        value = found.value
        if "://" in value:
            return value
        explicit = value.startswith((".", "/", "~"))
        if found.kind == "model" and not explicit and not (folder / value).is_dir():
            return value
        return absolute(value, folder)

    job = local.rewritten(job, change)
    job.spec.storage = absolute(job.spec.storage, folder)
    return job


def absolute(path: str, folder: Path) -> str:
    """A local path made absolute against ``folder``; a URI unchanged."""
    if "://" in path:
        return path
    return str((folder / Path(path).expanduser()).absolute().resolve())
