import json
import re
from pathlib import Path

from astrosage.spec import reference

ROOT = Path(__file__).resolve().parents[2]


def test_reference_page_is_that_of_the_schema() -> None:
    assert (ROOT / "docs/reference.md").read_text() == reference.page(), "run `make docs`"


def test_pool_page_is_that_of_the_schema() -> None:
    assert (ROOT / "docs/pool-reference.md").read_text() == reference.pool_page(), "run `make docs`"


def test_json_schema_is_that_of_the_models() -> None:
    written = json.loads((ROOT / "docs/astrojob.schema.json").read_text())
    assert written == reference.schema(), "run `make docs`"


def test_every_field_is_described() -> None:
    definitions = {"AstroJob": reference.schema(), **reference.schema()["$defs"]}
    missing = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, value in definition.get("properties", {}).items()
        if not value.get("description") and "$ref" not in value
    ]
    assert missing == []


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+\.\w+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
