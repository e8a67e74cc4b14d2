"""The figures as files of their own."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from astrosage.errors import SpecError, StorageError
from astrosage.report import figures
from astrosage.report.build import build_report
from astrosage.runs.directory import RunDirectory
from tests.report.test_whole_run import run  # noqa: F401 - a fixture


def test_every_figure_of_the_page_becomes_three_files(run: RunDirectory, tmp_path: Path) -> None:  # noqa: F811
    made = figures.write(run, tmp_path / "out")
    drawn = figures.figures(run)
    assert build_report(run).count("<figure>") == len(drawn) == len(made) / 3
    assert len({d.name for d in drawn}) == len(drawn)
    assert {"lineage-graph", "loss-cpt"} <= {d.name for d in drawn}
    for file in made:
        if file.suffix == ".svg":
            root = ET.fromstring(file.read_text())
            assert "var(" not in file.read_text()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
        elif file.suffix == ".png":
            with Image.open(file) as image:
                assert image.width > 1200
                colours = image.convert("RGB").getcolors(1 << 24)
            assert colours is not None
            assert len(colours) > 20  # text and lines, not an empty ground
        else:
            content = json.loads(file.read_text())
            assert content["title"]
            assert content["data"]


def test_numbers_are_those_of_the_run(run: RunDirectory, tmp_path: Path) -> None:  # noqa: F811
    figures.write(run, tmp_path, ["json"])
    lineage = json.loads((tmp_path / "lineage-graph.json").read_text())["data"]
    edges = [(e["from"], e["to"]) for e in lineage["edges"]]
    assert ("corpus", "cpt") in edges
    assert ("smollm2-135m", "cpt") in edges
    loss = json.loads((tmp_path / "loss-cpt.json").read_text())["data"]["lines"][0]
    assert loss["label"] == "training"
    assert len(loss["points"]) > 1


def test_a_folder_that_cannot_be_written_is_named(run: RunDirectory, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        figures.write(run, tmp_path / "file" / "out", ["json"])


def test_without_fonts_png_is_refused(
    run: RunDirectory,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "_FONT_FOLDERS", (str(tmp_path),))
    with pytest.raises(SpecError, match="no text"):
        figures.write(run, tmp_path / "out", ["png"])
    assert not (tmp_path / "out").exists()
