"""Read a model directory's weights one tensor at a time, memory-mapped."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from astrosage.errors import DataError
from astrosage.models.resolve import check_directory
from astrosage.models.writing import INDEX

_HEAD = "lm_head.weight"
_MERGEABLE = ("BF16", "F16", "F32", "F64")


class ModelTensors:
    """The weights of a Hugging Face directory; an output head tied to the embedding is left out.

    Args:
        folder: The directory.
        label: How the run file names it, for messages.

    Raises:
        DataError, NotFoundError: If weights are missing, damaged or quantised.
    """

    def __init__(self, folder: Path, label: str) -> None:
        check_directory(folder, label)
        self.folder, self.label = folder, label
        self.config: dict[str, Any] = _read_json(folder / "config.json", label)
        self._files: dict[str, Any] = {}
        with ExitStack() as stack:
            for path in _weight_files(folder, label):
                opened = stack.enter_context(_opened(path, label))
                self._files |= dict.fromkeys(opened.keys(), opened)
            self._check_complete()
            self._leave_out_tied_head()
            self._stack = stack.pop_all()

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
        """A tensor as fp32, the caller's own to change.

        Raises:
            DataError: If it has values that are not finite.
        """
        # What the file gives is its mapped memory, the same at each call: never change it.
        tensor: Tensor = self._files[name].get_tensor(name).to(torch.float32, copy=True)
        # NaN and infinity show in the extremes, which take far less time than isfinite() of all.
        if tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise DataError(
                f"{self.label}: weight {name} has values that are not finite",
                "that model is damaged or diverged; leave it out or fetch it again",
            )
        return tensor

    def _check_complete(self) -> None:
        index = self.folder / INDEX
        expected = _read_json(index, self.label)["weight_map"] if index.is_file() else {}
        missing = sorted(set(expected) - set(self._files))
        if missing:
            raise DataError(
                f"{self.label}: {self.folder / expected[missing[0]]} has no {missing[0]}, "
                f"which {INDEX} says it has ({len(missing)} tensors in all)",
                "the model is incomplete; fetch or export it again",
            )
        for name, file in self._files.items():
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _MERGEABLE:
                raise DataError(
                    f"{self.label}: weight {name} has type {dtype}, which cannot be merged",
                    f"give the model not quantised: {', '.join(_MERGEABLE)}",
                )

    def _leave_out_tied_head(self) -> None:
        """Some writers store a tied head a second time; one that differs is not tied."""
        if not self.config.get("tie_word_embeddings") or _HEAD not in self._files:
            return
        head = self._files[_HEAD].get_tensor(_HEAD)
        for name in self.names():
            alike = name != _HEAD and self.shape(name) == list(head.shape)
            if alike and torch.equal(self._files[name].get_tensor(name), head):
                del self._files[_HEAD]
                return


def _weight_files(folder: Path, label: str) -> list[Path]:
    """The files that make up the model: others may lie beside them."""
    if (folder / INDEX).is_file():
        content = _read_json(folder / INDEX, label)
        if not isinstance(content.get("weight_map"), dict):
            raise DataError(
                f"{label}: {folder / INDEX} has no `weight_map`", "fetch or export the model again"
            )
        return [folder / name for name in sorted(set(content["weight_map"].values()))]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def _opened(path: Path, label: str) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise DataError(
            f"{label}: {path} is missing; {INDEX} names it",
            "the model is incomplete; fetch or export it again",
        ) from None
    except SafetensorError as error:
        raise DataError(
            f"{label}: {path} is no sound safetensors file: {error}", "fetch it again"
        ) from None


def _read_json(path: Path, label: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{label}: {path} is not valid JSON: {error}", "fetch it again") from None
