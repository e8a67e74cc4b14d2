"""DeepSpeed's own options, passed through from a run file: checked, and put into its configuration.

Checked against data, so that it is done where DeepSpeed is not installed too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from astrosage.errors import SpecError
from astrosage.spec.base import did_you_mean, nearest
from astrosage.spec.train import TrainSpec
from astrosage.train.deepspeed_names import ALIASES, DECIDED, GROUPS


def check(spec: TrainSpec, where: str = "train") -> None:
    """Refuse options that DeepSpeed does not have, or that the spec says elsewhere.

    Args:
        spec: The stage.
        where: Its place in the run file, for the message.

    Raises:
        SpecError: Naming the option, and the nearest valid name or the field to use.
    """
    for path, value in _walk(spec.deepspeed):
        field = f"{where}.deepspeed.{path}"
        group, _, name = path.rpartition(".")
        if path in DECIDED:
            raise SpecError(
                f"{field}: {_shown(value)} would contradict what the rest of the stage says",
                f"remove it; use {DECIDED[path]}",
            )
        if name not in GROUPS[group]:
            raise SpecError(
                f"{field}: DeepSpeed has no option `{name}`" + (f" in `{group}`" if group else ""),
                _suggestion(name, group),
            )
        if path in GROUPS and not isinstance(value, Mapping):
            raise SpecError(
                f"{field}: found {_shown(value)}, a group of options is needed",
                f"its options: {', '.join(_usable(path))}",
            )
    _check_offload(spec, where)


def merged(base: dict[str, Any], options: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """The configuration with the options in it, group by group; options win.

    Args:
        base: Made from the spec.
        options: Checked ones.
        group: Where in the configuration this is.
    """
    result = dict(base)
    for key, value in options.items():
        name = ALIASES.get(key, key) if group == "zero_optimization" else key
        if isinstance(value, Mapping):
            result[name] = merged(result.get(name) or {}, value, f"{group}.{name}".lstrip("."))
        else:
            result[name] = value
    return result


def _walk(options: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """``(path, value)`` of each option, groups before what is in them."""
    for name, value in options.items():
        path = f"{group}.{name}".lstrip(".")
        yield path, value
        if isinstance(value, Mapping) and path in GROUPS:
            yield from _walk(value, path)


def _check_offload(spec: TrainSpec, where: str) -> None:
    """Options of an offload that is off would do nothing."""
    zero = spec.deepspeed.get("zero_optimization") or {}
    for name, target, field in (
        ("offload_optimizer", spec.zero.offload_optimizer, "offloadOptimizer"),
        ("offload_param", spec.zero.offload_parameters, "offloadParameters"),
    ):
        if name in zero and target == "none":
            raise SpecError(
                f"{where}.deepspeed.zero_optimization.{name}: options of an offload that is off",
                f"remove them, or set `zero.{field}` to cpu or nvme",
            )


def _usable(group: str) -> list[str]:
    prefix = f"{group}." if group else ""
    return sorted(n for n in GROUPS[group] if f"{prefix}{n}" not in DECIDED)


def _suggestion(name: str, group: str) -> str:
    near = nearest(name, GROUPS[group])
    if near and f"{group}.{near}".lstrip(".") in DECIDED:
        return f"`{near}` cannot be said here; use {DECIDED[f'{group}.{near}'.lstrip('.')]}"
    return did_you_mean(name, _usable(group))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
