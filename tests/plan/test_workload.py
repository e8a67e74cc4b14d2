from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from astrosage.errors import SpecError
from astrosage.plan import workload
from astrosage.plan.workload import BYTES_PER_TOKEN, GZIP_RATIO, Rows
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec.job import AstroJob
from tests.plan.jobs import job
from tests.plan.setups import setup


def rows(of: AstroJob, given: float | None = None, *, remote: bool = True) -> Rows:
    return workload.rows_of(of, of.stage("cpt"), given, remote=remote)


def prepared(of: AstroJob, length: int, **train: int) -> None:
    folder = RunDirectory.of(of).stage("corpus").storage.local
    assert folder is not None
    (folder / "shards").mkdir(parents=True)
    splits = {"train": {"sequences": 40, "tokens": 40 * length // 2, "documents": 80, **train}}
    manifest.write(folder / "shards", key="k", splits=splits, sequenceLength=length)


@pytest.mark.parametrize(
    ("text", "count"), [("10B", 1e10), ("300m", 3e8), ("1.5e9", 1.5e9), ("2T", 2e12), ("7", 7.0)]
)
def test_counts_as_people_write_them(text: str, count: float) -> None:
    assert workload.parse_count(text, "--tokens") == count


@pytest.mark.parametrize("text", ["", "many", "0", "-3B", "inf", "nan", "1e30", "B"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is no number of tokens"):
        workload.parse_count(text, "--tokens")


def test_without_anything_better_the_size_of_the_sources_is_a_guess(tmp_path: Path) -> None:
    found = rows(job(tmp_path, length=512))
    assert found.estimated
    assert found.sequences == pytest.approx(42_000 / BYTES_PER_TOKEN / 512)
    assert "bytes a token" in found.source


def test_weights_and_compression_count(tmp_path: Path) -> None:
    planned = job(tmp_path, length=512)
    packed = tmp_path / "texts" / "b.md.gz"
    packed.write_bytes(gzip.compress(b"galaxy"))
    prepare = planned.stage("corpus").prepare
    assert prepare is not None
    prepare.sources[0].path = str(packed)
    prepare.sources[0].weight = 2.0
    size = packed.stat().st_size
    expected = 2 * GZIP_RATIO * size / BYTES_PER_TOKEN / 512
    assert rows(planned).sequences == pytest.approx(expected)


def test_tokens_that_are_said_count_first(tmp_path: Path) -> None:
    planned = job(tmp_path, length=512)
    prepared(planned, 512, learnedTokens=100)
    assert rows(planned, 512e6).sequences == 1e6


def test_prepared_shards_are_known_exactly(tmp_path: Path) -> None:
    planned = job(tmp_path, length=512)
    prepared(planned, 512, learnedTokens=2560)
    found = rows(planned)
    assert not found.estimated
    assert (found.sequences, found.fill, found.learnt, found.document) == (40, 0.5, 0.25, 128)


def test_shards_of_another_length_are_of_no_use(tmp_path: Path) -> None:
    planned = job(tmp_path, length=512)
    prepared(planned, 256, learnedTokens=2560)
    assert rows(planned).estimated


def test_stores_are_not_asked_offline(tmp_path: Path) -> None:
    planned = job(tmp_path, storage="s3://bucket/runs")
    prepare = planned.stage("corpus").prepare
    assert prepare is not None
    prepare.sources[0].path = "s3://bucket/texts/*.jsonl"
    found = rows(planned, remote=False)
    assert found.sequences is None
    assert "--tokens" in found.source


def test_sources_that_are_not_there_leave_the_steps_unknown(tmp_path: Path) -> None:
    planned = job(tmp_path)
    (tmp_path / "texts" / "a.md").unlink()
    assert rows(planned).sequences is None


def test_steps_are_the_epochs_of_the_rows_or_what_is_asked_for() -> None:
    known = Rows(1000.0, 1.0, 1.0, 8192.0, "", estimated=False)
    two = setup(workers=8, micro=4, globalBatchSize=32, epochs=2)
    assert workload.work(two, known).steps == 62
    capped = setup(workers=8, micro=4, globalBatchSize=32, maxSteps=5)
    assert workload.work(capped, known).steps == 5
    unknown = Rows(None, 1.0, 1.0, 8192.0, "", estimated=True)
    assert workload.work(two, unknown).steps is None


def test_half_empty_rows_have_half_the_tokens_and_arithmetic() -> None:
    base = setup(workers=8)
    full = workload.work(base, Rows(1.0, 1.0, 1.0, 100.0, "", estimated=False))
    half = workload.work(base, Rows(1.0, 0.5, 1.0, 100.0, "", estimated=False))
    assert half.step_tokens == full.step_tokens / 2
    assert half.step_flops == pytest.approx(full.step_flops / 2)
