"""Values that a JSON Schema allows, as far as the server's description uses it; and odd ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

# JSON text has no lone surrogates: a parser refuses them, and they are tried elsewhere.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**18, 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema allows.

    Args:
        schema: The schema.
        root: The whole description, which references are relative to.
    """
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return values(found, root)
    if "anyOf" in schema:
        return st.one_of(*(values(option, root) for option in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "object":
            return _objects(schema, root)
        case "array":
            most = min(3, schema.get("maxItems", 3))
            least = schema.get("minItems", 0)
            return st.lists(values(schema["items"], root), min_size=least, max_size=most)
        case "string":
            least = schema.get("minLength", 0)
            return TEXT.filter(lambda text: len(text) >= least)
        case "integer":
            low = schema.get("minimum", -(2**63))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 2**63) - 1)
            return st.integers(low, high)
        case "number":
            return st.floats(schema.get("minimum", -1e6), schema.get("maximum", 1e6))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case None:
            return ODD
    raise AssertionError(schema)


def _objects(schema: Schema, root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    required = schema.get("required", [])
    properties = {name: values(s, root) for name, s in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: properties[name] for name in required},
        optional={name: s for name, s in properties.items() if name not in required},
    )
