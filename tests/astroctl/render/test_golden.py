"""Golden files; ``ASTRO_UPDATE_GOLDEN=1`` writes them anew, to be read before they are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from astroctl.render.extras import disruption_budgets
from astroctl.render.groups import groups
from astroctl.render.linter import lint
from astroctl.render.names import owner_reference
from astroctl.render.rayjob import rayjob
from astroctl.render.text import dump
from tests.astroctl.render import schema
from tests.astroctl.render.reference import REFERENCES, UID, Reference

_FOLDER = Path(__file__).parent / "golden"


def rendered(reference: Reference) -> list[dict]:
    job, settings = reference.job, reference.settings
    owner = owner_reference(job.metadata.name, UID)
    made: list[dict] = []
    for group in groups(job):
        pool = reference.pools.get(group.cluster.pool or "")
        made += disruption_budgets(job, group, owner, pool)
        made.append(rayjob(job, group, 1, settings=settings, pool=pool, owner=owner, job_uid=UID))
    return made


@pytest.mark.parametrize("name", REFERENCES)
def test_manifests_are_as_they_were(name: str) -> None:
    text = dump(rendered(REFERENCES[name]))
    file = _FOLDER / f"{name}.yaml"
    if os.environ.get("ASTRO_UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "ASTRO_UPDATE_GOLDEN=1 writes the golden files anew"


@pytest.mark.parametrize("name", REFERENCES)
def test_golden_files_are_valid(name: str) -> None:
    for manifest in yaml.safe_load_all((_FOLDER / f"{name}.yaml").read_text()):
        if manifest["kind"] == "RayJob":
            schema.check(manifest)
            assert lint(manifest) == []
