from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from astrosage.bench.language_model import LanguageModel


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def exact(tiny_model: Path) -> LanguageModel:
    """The tiny model in fp32, so that ways to compute the same can be compared closely."""
    return LanguageModel(tiny_model, torch.float32)
