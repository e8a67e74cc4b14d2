"""The benchmark for one GPU, on a CPU at the smallest size: that it runs, not how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a bare PyTorch machine lacks.
BLOCKED = ("ray", "deepspeed", "peft", "accelerate")
RUN = f"""
import runpy, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        blocked = name.partition(".")[0] in {BLOCKED!r}
        return None if blocked else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.argv[0] = {str(ROOT / "benchmarks/gpu/train.py")!r}
sys.path.insert(0, {str(ROOT / "benchmarks/gpu")!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TINY = ["--size", "tiny", "--device", "cpu", "--sequence-length", "128", "--rows", "1"]
TINY += ["--seconds", "0", "--only", "ours"]


def test_it_trains_where_ray_and_deepspeed_are_not_installed() -> None:
    command = [sys.executable, "-c", RUN, *TINY, "--activation-checkpointing"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["ours"]
    assert found["tokensPerSecond"] > 0
    assert found["steps"] == 1
    assert 0 < found["mfu"] < 1
    assert 5 < found["loss"] < 8  # about ln 1024 before much is learnt
    assert sum(found["shareOfTime"].values()) == pytest.approx(1, abs=1e-3)


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/gpu"))
    import text

    return text


def test_rows_are_full_and_made_of_whole_documents(text) -> None:  # type: ignore[no-untyped-def]
    source = text.documents([[1, 2, 3], [4, 5]], mean=6, longest=16)
    tokens, segments, mask = text.rows(source, count=3, length=64)
    assert (tokens > 0).all()
    assert (segments[:, 0] == 1).all()
    starts = segments[:, 1:] != segments[:, :-1]
    assert (mask[:, 1:] == ~starts).all()  # the first token of a document is not learnt
    assert not mask[:, 0].any()


def test_articles_become_ids_of_the_shape_s_vocabulary(text) -> None:  # type: ignore[no-untyped-def]
    pieces = text.articles(vocabulary=600)
    assert len(pieces) == 60
    assert max(max(piece) for piece in pieces) < 600
