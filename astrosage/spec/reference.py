"""The reference page and the JSON Schema, made from the models so that they cannot drift.

``python -m astrosage.spec.reference`` prints the page; ``--write`` writes both into ``docs/``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from astrosage.spec.base import SpecModel
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
    "maxLength": "at most {} characters",
    "pattern": "matches `{}`",
}
_HEADER = """# Run file reference

Made from the schema by `make docs`; do not edit. Names are camelCase; fields that are not listed
are refused. `astroctl config schema` prints the JSON Schema, which is also in
[astrojob.schema.json](astrojob.schema.json) for editors.

How to read it:

- **Places.** Relative paths are relative to the run file's folder. `*` and `**` in a source's
  `path` match files.
- **Models** are named by a stage of the same file that makes one (`train`, `merge`), by an alias
  (`smollm2-135m`), by a folder (write `./name` if a stage has that name too), or by a hub id
  (`organisation/name`). Weights are accepted as safetensors only.
- **Data** of a `train` stage is a `prepare` stage of the same file.
- **Overrides.** `--set` takes a field's path, with list items by number or by their `name`:
  `--set spec.stages.cpt.train.learningRate=1e-4`. Values are YAML; `null` empties an
  optional field; text that looks like a number needs YAML quotes, `--set 'a.b="1e5"'`.
- A **default** of `-` means that nothing is set; the meaning says what then happens.
  *Its defaults* are those of the linked group.
- Fields marked Kubernetes are part of the format; on a laptop or a Ray cluster they do nothing.
"""
_POOL_HEADER = """# GPUNodePool reference

Made from the schema by `make docs`; do not edit. A GPUNodePool is an object of the whole cluster;
`kubectl explain gpunodepool.spec` tells the same. How pools grow and shrink: [pools](pools.md).
"""


def schema(model: type[SpecModel] = AstroJob) -> dict[str, Any]:
    """The JSON Schema of a run file, or of a pool."""
    found: dict[str, Any] = _without_cel(model.model_json_schema(by_alias=True))
    return found


def _without_cel(node: Any) -> Any:
    """Rules for the API server say nothing to an editor."""
    if isinstance(node, dict):
        return {k: _without_cel(v) for k, v in node.items() if k != "x-kubernetes-validations"}
    return [_without_cel(v) for v in node] if isinstance(node, list) else node


def page() -> str:
    """The reference page in Markdown: a section for each group of fields, in reading order."""
    return _HEADER + "\n" + "\n".join(_sections(AstroJob))


def pool_page() -> str:
    """The same for pools of GPU nodes."""
    return _POOL_HEADER + "\n" + "\n".join(_sections(GPUNodePool))


def _sections(model: type[SpecModel]) -> list[str]:
    whole = schema(model)
    definitions = {model.__name__: whole, **whole["$defs"]}
    return [_section(name, definitions[name]) for name in _order(model.__name__, definitions)]


def _order(top: str, definitions: dict[str, Any]) -> list[str]:
    """Groups as a reader meets them, depth first from the top."""
    found: list[str] = []

    def visit(name: str) -> None:
        if name in found:
            return
        found.append(name)
        for field in definitions[name].get("properties", {}).values():
            for reference in _references(field):
                visit(reference)

    visit(top)
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else []
        return own + [r for value in node.values() for r in _references(value)]
    if isinstance(node, list):
        return [r for value in node for r in _references(value)]
    return []


def _section(name: str, definition: dict[str, Any]) -> str:
    lines = [f"## {name}", "", definition.get("description", "").replace("\n", " "), ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    required = definition.get("required", [])
    for field, value in definition.get("properties", {}).items():
        default = "**required**" if field in required else _default(value)
        meaning = " ".join(value.get("description", "").split())
        cells = [f"`{field}`", _type(value), default, meaning]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(node: dict[str, Any]) -> str:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in node:
        return " or ".join(_type(n) for n in node["anyOf"] if n.get("type") != "null")
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{v}`" for v in node["enum"])
    kind = str(node.get("type", "any"))
    if kind == "array":
        if "prefixItems" in node:
            return "list: " + ", ".join(_type(item) for item in node["prefixItems"])
        kind = f"list of {_type(node['items'])}" if "items" in node else "list"
    elif kind == "object":
        kind = "map"
    bounds = [text.format(node[key]) for key, text in _BOUNDS.items() if key in node]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def _default(node: dict[str, Any]) -> str:
    if node.get("default") is None:
        return "-"
    if isinstance(node["default"], dict):
        return "its defaults"
    return f"`{json.dumps(node['default'])}`"


def main() -> None:
    """Print the page, or write page and schema."""
    if "--write" not in sys.argv[1:]:
        print(page())
        return
    folder = Path("docs")
    (folder / "reference.md").write_text(page())
    (folder / "pool-reference.md").write_text(pool_page())
    (folder / "astrojob.schema.json").write_text(json.dumps(schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
