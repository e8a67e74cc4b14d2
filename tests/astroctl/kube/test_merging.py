from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from astroctl.kube.merging import merge_patch

# A field that is null is one that is not there.
VALUES = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """As RFC 7386, section 2 has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_patch_makes_the_one_of_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged(old, merge_patch(old, new)) == new


@given(OBJECTS)
def test_nothing_is_patched_where_nothing_changed(old: dict[str, Any]) -> None:
    assert merge_patch(old, old) == {}
    assert merge_patch(old, {**old, "none": None}) == {}


def test_figures_of_the_stage_before_are_taken_away() -> None:
    before = {"progress": {"step": 3, "loss": 2.5, "etaSeconds": 9}}
    after = {"progress": {"step": 3}}
    assert merge_patch(before, after) == {"progress": {"loss": None, "etaSeconds": None}}
