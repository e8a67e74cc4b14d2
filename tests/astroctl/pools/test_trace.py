"""Reading, writing and making up traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from astroctl.pools.trace import Job, generate, read, write
from astrosage.errors import AstroError, DataError, NotFoundError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    jobs = generate(200, seed=3, days=2)
    write(tmp_path / "t.csv", jobs)
    assert read(tmp_path / "t.csv") == jobs
    one = Job("x", 1.5, 6, 60.25, 3, -2, True, 4, "h100", "H100")
    write(tmp_path / "t.csv", [one])
    assert read(tmp_path / "t.csv") == [one]


def test_made_up_traces_depend_on_the_seed_alone() -> None:
    assert generate(50, seed=1) == generate(50, seed=1)
    assert generate(50, seed=1) != generate(50, seed=2)
    jobs = generate(2000, seed=1, days=3)
    assert [j.arrival for j in jobs] == sorted(j.arrival for j in jobs)
    assert 0 <= jobs[0].arrival < jobs[-1].arrival <= 3 * 86_400
    noon = sum(6 <= j.arrival % 86_400 / 3600 < 18 for j in jobs)
    assert noon > 1.3 * (len(jobs) - noon)


@pytest.mark.parametrize(
    ("job", "split"),
    [
        (Job("a", 0, 4, 1), (1, 4)),
        (Job("a", 0, 16, 1), (2, 8)),
        (Job("a", 0, 12, 1), (2, 6)),
        (Job("a", 0, 13, 1), (13, 1)),
        (Job("a", 0, 16, 1, pods=4), (4, 4)),
        (Job("a", 0, 0, 1), (1, 0)),
        (Job("a", 0, 0, 1, pods=3), (3, 0)),
    ],
)
def test_pods_of_a_job(job: Job, split: tuple[int, int]) -> None:
    assert job.split(8) == split


def test_order_blank_lines_and_absent_values(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "id,arrival,gpus,duration,spot,priority\n\nb,20,1,5,yes,\n a , 10 , 2 , 5 ,, 3\n"
    )
    first, second = read(tmp_path / "t.csv")
    assert (first.id, first.gpus, first.priority, first.spot) == ("a", 2, 3, False)
    assert (second.id, second.spot) == ("b", True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,arrival,gpus\n", "line 1: no column `duration`"),
        ("id,arrival,gpu,duration\n", "line 1: unknown column `gpu`; did you mean `gpus`?"),
        ("id,arrival,gpus,duration,id\n", "line 1: two columns `id`"),
        ("id,arrival,gpus,duration\na,1,2\n", "line 2: 3 values for 4 columns"),
        ("id,arrival,gpus,duration\na,1,x,2\n", "line 2, column gpus: expected a whole number"),
        ("id,arrival,gpus,duration\na,1,1.5,2\n", "column gpus: expected a whole number from 0"),
        ("id,arrival,gpus,duration\na,-1,1,2\n", "column arrival: expected a number from 0 up"),
        ("id,arrival,gpus,duration\na,1,1,nan\n", "line 2, column duration: expected a number"),
        ("id,arrival,gpus,duration\na,1,1,\n", "column duration: expected a value, found nothing"),
        ("id,arrival,gpus,duration,spot\na,1,1,2,2\n", "column spot: expected true or false"),
        ("id,arrival,gpus,duration,pods\na,1,5,2,2\n", "column pods: 5 GPUs do not divide into 2"),
        ("id,arrival,gpus,duration,pods\na,1,5,2,0\n", "column pods: expected a whole number"),
        ("id,arrival,gpus,duration\na,1,1,2\na,1,1,2\n", "line 3, column id: `a` is on line 2"),
        ('id,arrival,gpus,duration\n"a,1,1,2\n', "line 2: not CSV"),
        ("id,arrival,gpus,duration\n", "no jobs"),
        ("", "no jobs"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read(file)
    assert told in caught.value.message
    assert str(file) in caught.value.message
    assert caught.value.hint


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read(tmp_path / "none.csv")
    with pytest.raises(NotFoundError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"id,\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("place", ["none/t.csv", "."])
def test_files_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    with pytest.raises(AstroError, match="cannot be written"):
        write(tmp_path / place, [])
