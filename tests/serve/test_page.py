from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
import pytest

from astrosage.serve import page

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Outline(HTMLParser):
    """The elements of a page, with what they name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html() -> str:
    return bytes(page.response().body).decode()


def test_nothing_foreign_is_loaded(html: str) -> None:
    for tag, attributes in Outline(html).elements:
        for name in ("src", "href", "action", "style", "srcset"):
            assert attributes.get(name) in (None, "data:,"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|@import|url\(|innerHTML|eval\(|localStorage", html)


def test_the_policy_lets_in_the_pages_own_script_and_no_other(html: str) -> None:
    headers = page.response().headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_everything_has_a_name(html: str) -> None:
    elements = Outline(html).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    labelled = {a["for"] for tag, a in elements if tag == "label"}
    for tag, attributes in elements:
        if tag in ("input", "textarea", "select"):
            assert attributes["id"] in labelled
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert attributes.get(name) in (None, *ids)
        assert "tabindex" not in attributes  # the order of the page is the order of the keyboard
    assert ("html", {"lang": "en"}) in elements
    roles = [a.get("role") for _, a in elements]
    assert "status" in roles
    assert "alert" in roles


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_contrast_is_enough_in_both_schemes(html: str) -> None:
    schemes = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))

        def contrast(one: str, other: str, colours: dict[str, str] = colours) -> float:
            high, low = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
            return (high + 0.05) / (low + 0.05)

        for ground in ("paper", "card"):
            for ink in ("ink", "soft", "accent", "bad"):
                assert contrast(ink, ground) >= 4.5, (ink, ground)
            assert contrast("rule", ground) >= 3, ground  # edges of fields (WCAG 1.4.11)
        assert contrast("on-accent", "accent") >= 4.5


@pytest.mark.api
def test_the_page_wants_no_key_and_tells_nothing(url: str, html: str) -> None:
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert answer.text == html
    assert answer.headers["content-type"].startswith("text/html")
