from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrosage.errors import StorageError, TrainingError
from astrosage.runs.storage import Storage
from astrosage.spec.train import CheckpointSpec, TrainSpec
from astrosage.train import checkpoint, model, states
from astrosage.train.checkpoint import STATE, Checkpoints, Reading
from astrosage.train.plain import PlainEngine
from astrosage.train.states import MASTER, Slice
from tests.train.test_model import DOCUMENTS, pack

KEYS = (MASTER, *states.MOMENTS)


def cut(
    tensors: dict[str, dict[str, torch.Tensor]], cuts: dict[str, list[int]], part: int
) -> Iterator[Slice]:
    """One worker's part of each tensor: between two of its cuts."""
    for name, values in tensors.items():
        first, end = cuts[name][part], cuts[name][part + 1]
        yield Slice(name, (cuts[name][-1],), first, {k: v[first:end] for k, v in values.items()})


@st.composite
def cuts(draw: Callable[..., Any], sizes: dict[str, int]) -> dict[str, list[int]]:
    workers = draw(st.integers(1, 5))
    return {
        name: [0, *sorted(draw(st.integers(0, n)) for _ in range(workers - 1)), n]
        for name, n in sizes.items()
    }


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(), sizes=st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1)
)
def test_whatever_wrote_it_any_number_of_workers_reads_the_same(
    data: st.DataObject, sizes: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("reshard")
    whole = {name: {key: torch.randn(n) for key in KEYS} for name, n in sizes.items()}
    written = data.draw(cuts(sizes))
    workers = len(next(iter(written.values()))) - 1
    for rank in range(workers):
        put(folder, rank, lambda rank=rank: cut(whole, written, rank))  # type: ignore[misc]
    state = {"formatVersion": 1, "worldSize": workers, "step": 5}
    state["shapes"] = {name: [n] for name, n in sizes.items()}
    (folder / "step-00000005" / STATE).write_text(json.dumps(state))
    read = data.draw(cuts(sizes))
    for rank in range(len(next(iter(read.values()))) - 1):
        empty = {name: {key: torch.full((n,), 9.0) for key in KEYS} for name, n in sizes.items()}
        mine = list(cut(empty, read, rank))
        reading = Reading(Storage(folder), "step-00000005")
        assert reading.problem(mine) is None
        reading.load(mine)
        for found, right in zip(mine, cut(whole, read, rank), strict=True):
            for key in KEYS:
                assert torch.equal(found.values[key], right.values[key])


def put(folder: Path, rank: int, slices: Callable[[], Iterator[Slice]]) -> None:
    """A rank's part of a checkpoint, by the writer's own means."""
    target = folder / "step-00000005"
    target.mkdir(exist_ok=True)
    file = target / f"rank-{rank:05d}.safetensors"
    covered = checkpoint.write_slices(file, slices)
    entry = {
        "path": file.name,
        "size": file.stat().st_size,
        "sha256": checkpoint.manifest.sha256_file(file),
    }
    manifest = {"files": [entry], "slices": covered}
    (target / f"manifest-rank-{rank:05d}.json").write_text(json.dumps(manifest))


class Training:
    """A plain engine on the tiny model, with its checkpoints."""

    def __init__(
        self, tiny_model: Path, folder: Path, precision: Any = "bf16", **keep: Any
    ) -> None:
        spec = TrainSpec(objective="cpt", data="x", learning_rate=1e-3, weight_decay=0.1)
        self.loaded = model.load(
            tiny_model, bf16=precision == "bf16", activation_checkpointing=False
        )
        self.engine = PlainEngine(self.loaded, spec)
        self.store = Checkpoints(Storage(folder), CheckpointSpec(**keep))

    def step(self, times: int = 1) -> list[float]:
        losses = []
        for _ in range(times):
            loss = self.engine(pack(*DOCUMENTS))
            self.engine.backward(loss / 60)
            self.engine.step()
            losses.append(float(loss.detach()))
        return losses

    def save(self, step: int, **state: Any) -> None:
        self.store.save(self.engine, self.loaded.model, {"step": step, **state})
        self.store.wait()

    def restore(self) -> dict[str, Any] | None:
        return self.store.restore(self.engine, self.loaded.model)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_goes_on_to_the_bit(tiny_model: Path, tmp_path: Path, precision: str) -> None:
    first = Training(tiny_model, tmp_path, precision)
    assert first.restore() is None
    first.step(3)
    first.save(3, tokens=99)
    rest = first.step(3)
    second = Training(tiny_model, tmp_path, precision)
    found = second.restore()
    assert found is not None
    assert (found["step"], found["tokens"]) == (3, 99)
    assert second.step(3) == rest
    for a, b in zip(first.loaded.parameters(), second.loaded.parameters(), strict=True):
        assert torch.equal(a, b)


def damage_size(folder: Path) -> None:
    file = folder / "rank-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def damage_content(folder: Path) -> None:
    file = folder / "rank-00000.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_size, "bytes"),
        (damage_content, "SHA-256"),
        (lose("manifest-rank-00000.json"), "manifest-rank-00000.json is missing"),
        (lose(STATE), "state.json"),
        (lose("rank-00000.safetensors"), "rank-00000.safetensors is missing"),
        (lambda folder: (folder / STATE).write_text("{"), "state.json"),
        (lambda folder: (folder / "manifest-rank-00000.json").write_text("[]"), "damaged"),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tiny_model: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    training = Training(tiny_model, tmp_path)
    training.step()
    training.save(1)
    training.step()
    training.save(2)
    damage(tmp_path / "step-00000002")
    found = training.restore()
    assert found is not None
    assert found["step"] == 1
    assert "step-00000002 is damaged" in caplog.text
    assert said in caplog.text
    assert training.store.names() == ["step-00000001"]


def test_when_all_are_damaged_nothing_is_begun_anew(tiny_model: Path, tmp_path: Path) -> None:
    training = Training(tiny_model, tmp_path)
    training.save(1)
    damage_size(tmp_path / "step-00000001")
    with pytest.raises(TrainingError, match="all 1 checkpoints are damaged"):
        training.restore()
    assert (tmp_path / "step-00000001").is_dir()


def test_a_half_written_file_is_no_checkpoint_and_goes(tiny_model: Path, tmp_path: Path) -> None:
    training = Training(tiny_model, tmp_path)
    training.save(1)
    half = tmp_path / "step-00000002"
    half.mkdir()
    (half / ".step-00000002-rank-00000.tmp").write_bytes(b"half")
    assert training.store.newest() == "step-00000001"
    assert training.restore() is not None
    assert not half.exists()


def test_a_checkpoint_of_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    training = Training(tiny_model, tmp_path)
    training.save(1)
    file = tmp_path / "step-00000001" / STATE
    state = json.loads(file.read_text())
    name = next(n for n in state["shapes"] if "mlp" in n)
    state["shapes"][name][0] += 1
    file.write_text(json.dumps(state))
    with pytest.raises(TrainingError, match=f"another model: {name}"):
        training.restore()
    del state["shapes"][name]
    file.write_text(json.dumps(state))
    with pytest.raises(TrainingError, match="is not in it"):
        training.restore()


def test_the_policy_keeps_newest_best_and_for_good(tiny_model: Path, tmp_path: Path) -> None:
    training = Training(tiny_model, tmp_path, keep=2, keep_best=1)
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: None, 5: 2.5, 6: 2.6}
    for step, loss in losses.items():
        training.save(step, validationLoss=loss, forGood=step == 3)
    assert training.store.names() == [checkpoint.name_of(s) for s in (2, 3, 5, 6)]


def test_an_older_one_goes_when_the_last_worker_has_stored_the_newest(
    tiny_model: Path, tmp_path: Path
) -> None:
    training = Training(tiny_model, tmp_path)
    workers = [
        Checkpoints(Storage(tmp_path), CheckpointSpec(keep=1), checkpoint.Group(rank, 2))
        for rank in range(2)
    ]
    for step in (1, 2):
        for worker in workers:
            worker.save(training.engine, training.loaded.model, {"step": step})
            worker.wait()
        names = [checkpoint.name_of(s) for s in range(1, step + 1)]
        assert workers[0].names() == names, "the first worker's look came too early"
        assert workers[0].newest() == names[-1]
    workers[0].prune()
    assert workers[0].names() == [checkpoint.name_of(2)]


def test_storing_errors_are_raised_by_the_next_call(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tiny_model, tmp_path)

    def refuse(*_: Any) -> None:
        raise StorageError("no", "none")

    monkeypatch.setattr(training.store._storage, "place", refuse)
    training.store.save(training.engine, training.loaded.model, {"step": 1})
    with pytest.raises(StorageError):
        training.store.wait()
    assert list((tmp_path / "step-00000001").iterdir()) == [], "nothing half-written is left"
    assert training.store.delivered()


def test_an_object_store_serves_too(tiny_model: Path, tmp_path: Path) -> None:
    import fsspec

    uri = f"memory://{tmp_path.name}"
    training = Training(tiny_model, tmp_path)
    training.store = Checkpoints(Storage(uri), CheckpointSpec(keep=1))
    training.step()
    training.save(1)
    training.step()
    training.save(2)
    rest = training.step(2)
    again = Training(tiny_model, tmp_path)
    again.store = Checkpoints(Storage(uri), CheckpointSpec(keep=1))
    assert again.store.names() == ["step-00000002"]
    assert again.restore() is not None
    assert again.step(2) == rest
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    shutil.rmtree(tmp_path)
