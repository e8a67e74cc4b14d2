"""The page in a real browser, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from astrosage.serve.card import Card, Score
from astrosage.serve.transformers_engine import TransformersEngine
from tests.serve import chromium
from tests.serve.conftest import KEY, MODEL, make_service, serving

pytestmark = [
    pytest.mark.api,
    pytest.mark.skipif(chromium.binary() is None, reason="no Chromium is installed"),
]


@pytest.fixture
def tab(engine: TransformersEngine, tmp_path: Path) -> Iterator[chromium.Tab]:
    service = make_service(engine)
    service.card = Card(
        base="a <b>base</b>",
        lineage=["cpt", "sft"],
        scores=[Score(name="quiz (240)", value="36.7 % [30.8 %, 42.9 %]", baseline="21.2 %")],
    )
    with serving(service) as url, chromium.tab(tmp_path, url) as tab:
        yield tab


def visible(element: str) -> str:
    return f"document.getElementById('{element}').checkVisibility()"


def text(element: str) -> str:
    return f"document.getElementById('{element}').innerText"


def enter(tab: chromium.Tab, key: str = KEY) -> None:
    tab.wait(visible("key-form"))
    tab.wait("document.activeElement.id === 'key'")
    tab.write(key)
    tab.press("Enter", text="\r")


def test_a_question_is_asked_and_answered(tab: chromium.Tab) -> None:
    enter(tab, "sk-wrong")
    tab.wait(visible("error"))
    assert "not known" in tab.run(text("error"))
    assert not tab.run(visible("ask"))
    enter(tab)
    tab.wait(visible("ask"))
    assert not tab.run(visible("error"))
    assert tab.run(text("name")) == MODEL
    assert "a <b>base</b>" in tab.run(text("facts"))
    assert "36.7 %" in tab.run(text("scores"))
    assert tab.run(text("steps")).split() == ["cpt", "sft"]
    assert tab.focus() == "question"
    tab.write("What is a star?")
    order = []
    for _ in range(5):
        tab.press("Tab")
        order.append(tab.focus())
    assert order == ["tokens", "temperature", "reasoning", "send", "forget"]
    tab.run("document.getElementById('tokens').value = 20")
    tab.run("document.getElementById('question').focus()")
    tab.press("Enter", ctrl=True)
    tab.wait("document.getElementById('status').innerText.startsWith('The answer')")
    answer = "document.querySelector('#answers article"
    assert tab.run(f"{answer} h3').innerText") == "What is a star?"
    assert tab.run(f"{answer} [aria-live] .text').textContent")
    assert tab.run(f"{answer} [aria-live]').getAttribute('aria-busy')") == "false"
    assert tab.run("document.getElementById('stop').disabled")
    # Only refused keys are errors to the browser: nothing else failed or was kept out.
    assert [c for c in tab.complaints if "401" not in c] == []


def test_the_key_stays_in_the_tab_and_can_be_forgotten(tab: chromium.Tab) -> None:
    enter(tab)
    tab.wait(visible("ask"))
    assert tab.run("JSON.stringify([localStorage.length, document.cookie])") == '[0,""]'
    assert KEY not in tab.run("location.href + document.documentElement.outerHTML")
    tab.run("window.old = true")
    tab.call("Page.reload")
    tab.wait("!window.old && document.readyState === 'complete'")
    tab.wait(visible("ask"))
    tab.run("document.getElementById('forget').click()")
    tab.wait(visible("key-form"))
    assert tab.run("sessionStorage.length") == 0


def test_an_answer_can_be_stopped_and_a_refusal_is_told(tab: chromium.Tab) -> None:
    enter(tab)
    tab.wait(visible("ask"))
    tab.run("document.getElementById('tokens').value = 200")
    tab.write("What is a star?")
    tab.press("Enter", ctrl=True)
    tab.wait("!!document.querySelector('#answers .text:not(details .text)').textContent")
    tab.run("document.getElementById('stop').click()")
    tab.wait("document.getElementById('status').innerText === 'Stopped.'")
    tab.run("document.getElementById('tokens').value = 5000")
    tab.press("Enter", ctrl=True)
    tab.wait(visible("error"))
    assert "max_tokens" in tab.run(text("error"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(tab: chromium.Tab, scheme: str) -> None:
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        **{"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    tab.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    enter(tab)
    tab.wait(visible("ask"))
    assert tab.run("document.documentElement.scrollWidth") <= 360
    ground = tab.run("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 247)", "dark": "rgb(18, 22, 29)"}[scheme]
    small = (
        "[...document.querySelectorAll('button')].filter(b => b.checkVisibility() && "
        "b.getBoundingClientRect().height < 44).length"
    )
    assert tab.run(small) == 0
