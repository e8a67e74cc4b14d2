from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from astrosage.data.formats.arxiv_metadata import month_of, normal_id
from astrosage.data.sources import count_records
from astrosage.data.tally import Tally
from astrosage.errors import DataError
from astrosage.spec.sources import Source
from tests.data.formats.reading import FIELD, read
from tests.data.formats.test_archive import link, make

CC_BY = "http://creativecommons.org/licenses/by/4.0/"
PAPER = rb"""\documentclass{article}\newcommand{\msun}{M_\odot}
\begin{document}\section{Results} %s weighs $2\msun$. \input{methods}\end{document}"""


def paper(words: bytes = b"It", methods: bytes = b"We measured.") -> bytes:
    parts = [("paper.tex", PAPER.replace(b"%s", words)), ("methods.tex", methods)]
    return gzip.compress(make(*parts, ("fig.eps", b"%!PS"), ("old/draft.tex", b"An old draft.")))


def single(text: bytes) -> bytes:
    return gzip.compress(text)


def entry(identifier: str, **more: Any) -> dict[str, Any]:
    created = {"created": "Mon, 2 Apr 2007 19:18:42 GMT", "version": "v1"}
    return {
        "id": identifier,
        "title": "A  long\n title",
        "categories": "astro-ph.GA hep-ph",
        "license": CC_BY,
        "versions": [created],
        **more,
    }


def bulk(folder: Path, **members: bytes) -> Path:
    data = make(*((name, content) for name, content in members.items()))
    (folder / "arXiv_src_0704_001.tar").write_bytes(data)
    return folder / "arXiv_src_0704_001.tar"


def snapshot(folder: Path, *entries: dict[str, Any]) -> str:
    file = folder / "metadata.json.gz"
    file.write_bytes(gzip.compress(b"".join(json.dumps(e).encode() + b"\n" for e in entries)))
    return str(file)


def test_papers_of_every_form(tmp_path: Path) -> None:
    file = bulk(
        tmp_path,
        **{
            "0704/0704.0001.gz": paper(),
            "0704/0704.0002.pdf": b"%PDF-1.5",
            "0704/astro-ph0703123.gz": single(
                rb"\documentstyle{article}\begin{document}Old.\end{document}"
            ),
            "0704/0704.0003.gz": single(b"%!PS-Adobe-2.0"),
            "0704/0704.0004.gz": single(b"%auto-ignore\nThis paper has been withdrawn."),
            "0704/README": b"x",
        },
    )
    tally = Tally()
    records = read(file, "arxiv", tally=tally)
    assert [(r.id, r.text) for r in records] == [
        ("0704.0001", r"## Results" + "\n\n" + r"It weighs $2M_\odot$. We measured."),
        ("astro-ph/0703123", "Old."),
    ]
    assert {k: v for k, v in tally.counts.items() if not k.startswith("latex:")} == {
        "arxivPdfOnly": 1,
        "arxivPostScript": 1,
        "arxivWithdrawn": 1,
        "arxivNoPaper": 1,
        "latexOrphans": 1,
    }
    assert count_records(Source(path=str(file), kind="arxiv"), FIELD) == 1


def test_metadata_gives_title_and_licence(tmp_path: Path) -> None:
    file = bulk(tmp_path, **{"0704/0704.0001.gz": paper()})
    metadata = snapshot(tmp_path, entry("0704.0001"))
    (record,) = read(file, "arxiv", arxiv={"metadata": metadata})
    assert record.text.startswith("# A long title\n\n## Results")
    assert record.license == CC_BY


@pytest.mark.parametrize(
    ("options", "changes", "reason"),
    [
        ({"categories": ["astro-ph"]}, {}, None),
        ({"categories": ["hep-ph"]}, {}, None),
        ({"categories": ["astro-ph.CO"]}, {}, "arxivNotChosen"),
        ({"categories": ["astro"]}, {}, "arxivNotChosen"),
        ({"from": "2007-04-02", "to": "2007-04-02"}, {}, None),
        ({"from": "2007-04-03"}, {}, "arxivNotChosen"),
        ({"to": "2007-04-01"}, {}, "arxivNotChosen"),
        ({"to": "2007-04-30"}, {"versions": []}, None),
        ({"licenses": ["CC BY 4.0"]}, {}, None),
        ({"licenses": ["CC0"]}, {}, "arxivLicense"),
        ({"licenses": ["CC0"]}, {"license": None}, "arxivLicense"),
        (
            {"exclude": {"journalRef": [r"ann(u\.?|ual)\s*rev", "ARA&A"]}},
            {"journal-ref": "Annu. Rev. Astron. Astrophys. 45 (2007) 1"},
            "arxivExcludedJournal",
        ),
        ({"exclude": {"journalRef": ["ARA&A"]}}, {"journal-ref": "ApJ 1, 2"}, None),
        ({}, {"comments": "This paper has been WITHDRAWN by the authors"}, "arxivWithdrawn"),
        ({}, {"id": "0704.9999"}, "arxivNotChosen"),
    ],
)
def test_the_choice(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], reason: str | None
) -> None:
    file = bulk(tmp_path, **{"0704/0704.0001.gz": paper()})
    metadata = snapshot(tmp_path, entry("0704.0002"), {**entry("0704.0001"), **changes})
    tally = Tally()
    records = read(file, "arxiv", tally=tally, arxiv={"metadata": metadata, **options})
    assert [r.id for r in records] == ([] if reason else ["0704.0001"])
    assert reason is None or tally.counts[reason] == 1


@pytest.mark.parametrize(
    ("name", "lines", "changes", "reason"),
    [
        ("doi", "# Annual Reviews\n10.1146/annurev*\n", {"doi": "10.1146/ANNUREV.1"}, "Doi"),
        ("doi", "https://doi.org/10.1000/x\n", {"doi": "10.1000/X"}, "Doi"),
        ("ids", "arXiv:0704.0001v2 # a review\n", {}, "Id"),
    ],
)
def test_exclusion_lists(
    tmp_path: Path, name: str, lines: str, changes: dict[str, Any], reason: str
) -> None:
    (tmp_path / "list.txt").write_text(lines)
    file = bulk(tmp_path, **{"0704/0704.0001.gz": paper(), "0704/0704.0005.gz": paper()})
    metadata = snapshot(tmp_path, entry("0704.0001", **changes), entry("0704.0005"))
    options = {"metadata": metadata, "exclude": {name: f"{tmp_path}/list.txt"}}
    tally = Tally()
    assert [r.id for r in read(file, "arxiv", tally=tally, arxiv=options)] == ["0704.0005"]
    assert tally.counts[f"arxivExcluded{reason}"] == 1


def test_without_metadata_the_identifier_tells_the_month(tmp_path: Path) -> None:
    file = bulk(
        tmp_path, **{"0704/0704.0001.gz": paper(), "9901/astro-ph9901001.gz": paper(b"She")}
    )
    found = read(file, "arxiv", arxiv={"from": "2007-01-15"})
    assert [r.id for r in found] == ["0704.0001"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", r"0704\.0002\.gz: broken gzip"),
        (paper()[:-30], r"0704\.0002\.gz: the gzip stream is cut off"),
        (gzip.compress(make(("a.tex", b"x" * 5000))[:3000]), "cut tar archive"),
        (single(b"{" * 4000 + b"x" + b"}" * 4000), "too deep in one another"),
        (single(rb"\def\a{\b\b}\def\b{\a\a}\a"), "macros expand to over"),
        (single(b"x\xff" + bytes(100)), "binary data"),
        (single(b"x" * 70_000), "larger than 64.0 KiB"),
    ],
)
def test_a_broken_paper_is_counted_and_the_rest_goes_on(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = bulk(
        tmp_path,
        **{"a/0704.0001.gz": paper(), "a/0704.0002.gz": content, "a/0704.0003.gz": paper(b"He")},
    )
    options: dict[str, Any] = {"maxFailures": 0.5, "maxRecordBytes": 65_536}
    tally = Tally()
    assert [r.id for r in read(file, "arxiv", tally=tally, **options)] == ["0704.0001", "0704.0003"]
    assert tally.counts["failed"] == 1
    with pytest.raises(DataError, match=message):
        read(file, "arxiv", onError="fail", **options)
    with pytest.raises(DataError, match=r"1 of 3 records .* more than `maxFailures`"):
        read(file, "arxiv", maxRecordBytes=65_536)


def test_a_bomb_in_a_paper(tmp_path: Path) -> None:
    file = bulk(tmp_path, **{"a/0704.0002.gz": gzip.compress(bytes(80 * 2**20))})
    with pytest.raises(DataError, match=r"0704\.0002\.gz: (unpacks to over|larger than)"):
        read(file, "arxiv", onError="fail")


def test_links_and_paths_in_a_paper(tmp_path: Path) -> None:
    tex = rb"\documentclass{a}\begin{document}A. \input{../secret} \input{l}\end{document}"
    inner = make(("p.tex", tex), ("../secret.tex", b"Secret."), link("l.tex", "/etc/passwd"))
    file = bulk(tmp_path, **{"a/0704.0001.gz": gzip.compress(inner)})
    tally = Tally()
    assert [r.text for r in read(file, "arxiv", tally=tally)] == ["A."]
    for kind in (
        "archivePathsOutside",
        "archiveLinks",
        "latex:inputsOutside",
        "latex:inputsMissing",
    ):
        assert tally.counts[kind] == 1


def test_a_cut_bulk_file(tmp_path: Path) -> None:
    file = bulk(tmp_path, **{"a/0704.0001.gz": paper(), "a/0704.0002.gz": paper() + bytes(20_000)})
    file.write_bytes(file.read_bytes()[:-15_000])
    tally = Tally()
    records = read(file, "arxiv", tally=tally, maxFailures=0.5)
    assert [r.id for r in records] == ["0704.0001"]
    assert tally.counts["archivesCut"] == 1
    with pytest.raises(DataError, match=r"arXiv_src_0704_001\.tar: .*cut"):
        read(file, "arxiv", onError="fail")


@pytest.mark.parametrize("line", ['{"id": 1', "[]", '{"title": "x"}', '{"id": "0704.0001"}'])
def test_unusable_metadata(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.json").write_text(line + "\n")
    file = bulk(tmp_path, **{"a/0704.0001.gz": paper()})
    options = {"metadata": f"{tmp_path}/m.json", "categories": ["astro-ph"]}
    with pytest.raises(DataError, match=r"m\.json, line 1: no arXiv metadata") as caught:
        read(file, "arxiv", arxiv=options)
    assert "snapshot" in caught.value.hint


def test_an_unusable_list(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("nonsense\n")
    file = bulk(tmp_path, **{"a/0704.0001.gz": paper()})
    with pytest.raises(
        DataError, match=r"arxiv\.exclude\.ids: `nonsense` in .* is no arXiv"
    ) as caught:
        read(file, "arxiv", arxiv={"exclude": {"ids": f"{tmp_path}/ids.txt"}})
    assert "one a line" in caught.value.hint


def test_a_glance_reads_only_the_beginning(tmp_path: Path) -> None:
    papers = {f"a/0704.000{i}.gz": paper(str(i).encode()) for i in range(1, 8)}
    file = bulk(tmp_path, **papers)
    assert len(read(file, "arxiv", glance=True)) == 3


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("0704.0001", "0704.0001"),
        ("2101.12345v3", "2101.12345"),
        ("astro-ph0703123", "astro-ph/0703123"),
        ("astro-ph/0703123", "astro-ph/0703123"),
        ("https://arxiv.org/abs/0704.0001v1", "0704.0001"),
        ("math.GT0309136", "math.GT/0309136"),
        ("figure1", None),
        ("", None),
    ],
)
def test_identifiers(name: str, identifier: str | None) -> None:
    assert normal_id(name) == identifier


def test_months() -> None:
    assert str(month_of("astro-ph/9204001")) == "1992-04-01"
    assert str(month_of("astro-ph/0703123")) == "2007-03-01"
    assert str(month_of("2412.00001")) == "2024-12-01"


def test_every_archive_is_read_in_order(tmp_path: Path) -> None:
    for number in (2, 1):
        content = make((f"a/0704.000{number}.gz", paper(str(number).encode())))
        (tmp_path / f"src_{number}.tar").write_bytes(content)
    assert [r.id for r in read(f"{tmp_path}/*.tar", "arxiv")] == ["0704.0001", "0704.0002"]


def test_the_format_of_the_outer_archive_does_not_matter(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        content = paper()
        info = tarfile.TarInfo("a/0704.0001.gz")
        info.size, info.pax_headers = len(content), {"comment": "x" * 600}
        archive.addfile(info, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(target.getvalue())
    assert [r.id for r in read(tmp_path / "a.tar", "arxiv")] == ["0704.0001"]
