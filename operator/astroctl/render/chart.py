"""The chart's generated files: ``values.yaml``, its schema, the values in the docs, parts of pods.

``python -m astroctl.render.chart --write`` writes them, from the root of the repository.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from astroctl.render.environment import plain
from astroctl.render.pods import PodContext, head_template, worker_template
from astroctl.render.settings import Settings
from astroctl.render.storage import CACHE_MOUNT, PodStorage
from astroctl.render.values import DERIVED_SETTINGS, Values
from astrosage.spec.cluster import Cluster, Resources

CHART = Path("charts/astrosage")
PAGE = Path("docs/chart.md")
PARTS = CHART / "files" / "endpoint.json"
_START, _END = "<!-- values: made by `make docs` -->\n", "<!-- end of values -->"
_HEADER = """\
# Default values, made from the models by `make docs`; do not edit: give your own with
# `helm install -f mine.yaml`. The reference is docs/chart.md.
"""
_WIDTH = 98
_Node = dict[str, Any]


def schema() -> _Node:
    """The JSON Schema of the values; draft 7, which every helm understands."""
    found = Values.model_json_schema(by_alias=True)
    for name in DERIVED_SETTINGS:
        del found["$defs"]["Settings"]["properties"][name]
    clean: _Node = {"$schema": "http://json-schema.org/draft-07/schema#", **_plain(found)}
    return clean


def defaults() -> _Node:
    """The default values."""
    found: _Node = Values().model_dump(mode="json", by_alias=True)
    for name in DERIVED_SETTINGS:
        del found["settings"][name]
    return found


def values_yaml() -> str:
    """The default values with what they mean."""
    whole = schema()
    return _HEADER + "".join(_commented(whole, whole["$defs"], defaults(), 0))


def table() -> str:
    """The values as Markdown tables, a section for each group."""
    whole = schema()
    sections = [_rows("General", whole, whole["$defs"], defaults(), deep=False)]
    for key, node in whole["properties"].items():
        target = _resolved(node, whole["$defs"])
        if "properties" in target:
            sections.append(_rows(key, target, whole["$defs"], defaults()[key], prefix=key + "."))
    return "\n".join(sections)


def page(written: str) -> str:
    """The docs page with its values made anew.

    Args:
        written: The page as it is, with the two marks.
    """
    before, _, rest = written.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}\n{table()}\n{_END}{after}"


def _plain(node: Any) -> Any:
    """Without what speaks to the API server or repeats a field's name; defaults are in the file."""
    if isinstance(node, dict):
        dropped = ("x-kubernetes-validations", "default")
        titled = isinstance(node.get("title"), str)
        return {
            k: _plain(v)
            for k, v in node.items()
            if k not in dropped and not (k == "title" and titled)
        }
    return [_plain(v) for v in node] if isinstance(node, list) else node


def _resolved(node: _Node, definitions: _Node) -> _Node:
    """What a field holds: its own words, and what it refers to."""
    for choice in node.get("anyOf", []):
        if "$ref" in choice:
            node = {**choice, **{k: v for k, v in node.items() if k != "anyOf"}}
    if "$ref" not in node:
        return node
    own = {k: v for k, v in node.items() if k != "$ref"}
    return {**definitions[node["$ref"].rsplit("/", 1)[-1]], **own}


def _commented(node: _Node, definitions: _Node, values: _Node, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, field in node["properties"].items():
        target = _resolved(field, definitions)
        words = " ".join(target.get("description", "").split())
        if depth == 0:
            yield "\n"
        for line in textwrap.wrap(words, _WIDTH - len(pad)):
            yield f"{pad}# {line}\n"
        value = values.get(key)
        if "properties" in target and isinstance(value, dict):
            # A group of options that are all left out would be null.
            given = any(v is not None for v in value.values())
            yield f"{pad}{key}:{'' if given else ' {}'}\n"
            yield from _commented(target, definitions, value, depth + 1)
        elif value is None:
            yield f"{pad}# {key}:\n"
        else:
            text = yaml.safe_dump({key: _given(value)}, sort_keys=False, allow_unicode=True)
            yield textwrap.indent(text, pad)


def _given(value: Any) -> Any:
    """Without the options of list items that are not given."""
    if isinstance(value, dict):
        return {k: _given(v) for k, v in value.items() if v is not None}
    return [_given(v) for v in value] if isinstance(value, list) else value


def _rows(
    title: str,
    node: _Node,
    definitions: _Node,
    values: _Node,
    *,
    prefix: str = "",
    deep: bool = True,
) -> str:
    lines = [f"### {title}", ""]
    if prefix:
        lines += [" ".join(node.get("description", "").split()), ""]
    lines += ["| value | type | default | meaning |", "|---|---|---|---|"]
    lines += _leaves(node, definitions, values, prefix, deep)
    return "\n".join(lines) + "\n"


def _leaves(
    node: _Node, definitions: _Node, values: _Node, prefix: str, deep: bool
) -> Iterator[str]:
    for key, field in node["properties"].items():
        target = _resolved(field, definitions)
        value = values.get(key)
        if "properties" in target and isinstance(value, dict):
            if deep:
                yield from _leaves(target, definitions, value, f"{prefix}{key}.", deep)
            continue
        words = " ".join(target.get("description", "").split())
        shown = "-" if value is None else f"`{json.dumps(_given(value), ensure_ascii=False)}`"
        cells = [f"`{prefix}{key}`", _kind(target), shown, words]
        yield "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _kind(node: _Node) -> str:
    if "enum" in node:
        return ", ".join(f"`{v}`" for v in node["enum"])
    if "anyOf" in node:
        return " or ".join(_kind(n) for n in node["anyOf"] if n.get("type") != "null")
    if node.get("type") == "array":
        return f"list of {_kind(node['items'])}" if "items" in node else "list"
    return (
        "map" if "properties" in node or node.get("type") == "object" else node.get("type", "map")
    )


def endpoint_parts() -> _Node:
    """What the endpoint's pods have in common with those that ``astroctl serve`` makes."""
    cache = {"ASTROSAGE_CACHE": CACHE_MOUNT, "HF_HOME": f"{CACHE_MOUNT}/huggingface"}
    settings, storage = Settings(), PodStorage("", env=plain(cache))
    gpu, cpu = (
        PodContext("endpoint", Cluster(resources_per_worker=Resources(gpu=n)), settings, storage)
        for n in (1, 0)
    )
    head, worker = head_template(gpu)["spec"], worker_template(gpu)["spec"]
    return {
        "env": {
            "head": head["containers"][0]["env"],
            "gpu": worker["containers"][0]["env"],
            "cpu": worker_template(cpu)["spec"]["containers"][0]["env"],
        },
        "headAffinity": head["affinity"],
        "lifecycle": worker["containers"][0]["lifecycle"],
    }


def write(root: Path = Path()) -> None:
    """Write all of them below the root of the repository."""
    parts = json.dumps(endpoint_parts(), indent=1, ensure_ascii=False) + "\n"
    (root / PARTS).write_text(parts, encoding="utf-8")
    (root / CHART / "values.yaml").write_text(values_yaml(), encoding="utf-8")
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    (root / CHART / "values.schema.json").write_text(text, encoding="utf-8")
    file = root / PAGE
    file.write_text(page(file.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Print the values, or write the files."""
    if "--write" in sys.argv[1:]:
        write()
    else:
        print(values_yaml(), end="")


if __name__ == "__main__":
    main()
