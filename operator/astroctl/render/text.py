"""Manifests as YAML that people read: several lines of text as several lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice twice: an anchor in a manifest helps nobody."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(manifests: Iterable[dict[str, Any]]) -> str:
    """One YAML document for each manifest."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=2**31)
