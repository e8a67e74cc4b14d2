"""Read a model directory's weights one tensor at a time, memory-mapped."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from astrosage.errors import DataError
from astrosage.models.resolve import check_directory


class ModelTensors:
    """The weights of a Hugging Face directory.

    Args:
        folder: The directory.
        label: How the run file names it, for messages.
    """

    def __init__(self, folder: Path, label: str) -> None:
        check_directory(folder, label)
        self.label = label
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                opened = self._stack.enter_context(safe_open(path, framework="pt"))
            except SafetensorError as error:
                raise DataError(
                    f"{label}: {path} is no sound safetensors file: {error}", "fetch it again"
                ) from None
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __enter__(self) -> ModelTensors:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def names(self) -> list[str]:
        """Sorted names."""
        return sorted(self._files)

    def shape(self, name: str) -> list[int]:
        """A tensor's shape, without reading it."""
        return list(self._files[name].get_slice(name).get_shape())

    def load(self, name: str) -> Tensor:
        """A tensor as fp32.

        Raises:
            DataError: If it has values that are not finite.
        """
        tensor: Tensor = self._files[name].get_tensor(name)
        if not tensor.isfinite().all():
            raise DataError(
                f"{self.label}: weight {name} has values that are not finite",
                "that model is damaged or diverged; leave it out or fetch it again",
            )
        return tensor.to(torch.float32)


def check_alike(models: list[ModelTensors]) -> None:
    """Refuse models of different architecture.

    Raises:
        DataError: Naming the first tensor that differs and how.
    """
    first, *others = models
    for other in others:
        odd = sorted(set(first.names()) ^ set(other.names()))
        if odd:
            owner = first if odd[0] in first.names() else other
            raise DataError(
                f"{first.label} and {other.label} differ: only {owner.label} has {odd[0]} "
                f"({len(odd)} tensors in all)",
                "merge models of one architecture, both with or both without tied embeddings",
            )
        for name in first.names():
            if first.shape(name) != other.shape(name):
                raise DataError(
                    f"{name} is {first.shape(name)} in {first.label} and {other.shape(name)} in "
                    f"{other.label}",
                    "merge models of one architecture and one vocabulary",
                )
