"""Whether models can be merged at all: one architecture, the same tensors, the same tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from astrosage.errors import DataError
from astrosage.merge.tensors import ModelTensors

# What changes the meaning of weights without changing their shapes.
_SETTINGS = ("model_type", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act")


def check_alike(models: list[ModelTensors]) -> None:
    """Refuse models that do not fit the first.

    Raises:
        DataError: Naming the first setting, tensor or token that differs and how.
    """
    first, *others = models
    for other in others:
        _check_settings(first, other)
        _check_tensors(first, other)
        _check_tokens(first, other)


def _check_settings(first: ModelTensors, other: ModelTensors) -> None:
    a, b = _settings(first.config), _settings(other.config)
    for key in sorted(a.keys() & b.keys()):
        if a[key] != b[key]:
            raise DataError(
                f"`{key}` in config.json is {a[key]} in {first.label} and {b[key]} in "
                f"{other.label}",
                "merge models of one architecture",
            )


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    found = {key: config[key] for key in _SETTINGS if config.get(key) is not None}
    # Newer configurations keep it one level down.
    theta = config.get("rope_theta", (config.get("rope_parameters") or {}).get("rope_theta"))
    return found if theta is None else {**found, "rope_theta": theta}


def _check_tensors(first: ModelTensors, other: ModelTensors) -> None:
    odd = sorted(set(first.names()) ^ set(other.names()))
    if odd:
        owner = first if odd[0] in first.names() else other
        raise DataError(
            f"{first.label} and {other.label} differ: only {owner.label} has {odd[0]} "
            f"({len(odd)} tensors in all)",
            "merge models of one architecture, all with or all without tied embeddings",
        )
    for name in first.names():
        if first.shape(name) != other.shape(name):
            raise DataError(
                f"{name} is {list(first.shape(name))} in {first.label} and "
                f"{list(other.shape(name))} in {other.label}",
                "merge models of one architecture and one vocabulary",
            )


def _check_tokens(first: ModelTensors, other: ModelTensors) -> None:
    """A token that only one side has is let pass: chat models rename reserved tokens."""
    a, b = _token_ids(first.folder), _token_ids(other.folder)
    moved = sorted((a[t], t) for t in a.keys() & b.keys() if a[t] != b[t])
    if moved:
        number, token = moved[0]
        raise DataError(
            f"the tokenizers differ: {token!r} is token {number} in {first.label} and {b[token]} "
            f"in {other.label} ({len(moved)} tokens in all)",
            "merge models of one vocabulary: their embeddings' rows must mean the same",
        )


def _token_ids(folder: Path) -> dict[str, int]:
    """Token to id; empty where the tokenizer is not kept as tokenizer.json."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}", "fetch the model again") from None
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram: pairs of token and score, in order
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{t["content"]: t["id"] for t in content.get("added_tokens", [])}}
