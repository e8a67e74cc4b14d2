"""A headless Chromium that is driven over the DevTools protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def binary() -> str | None:
    """Where a Chromium is installed, if one is."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One tab.

    Args:
        connection: To its debugger.

    Attributes:
        complaints: What the browser wrote to its console as errors: scripts that failed, what a
            policy kept out.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        sent = next(self._ids)
        self._connection.send(json.dumps({"id": sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=20))
            if message.get("id") == sent:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            if message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.complaints.append(f"{entry['source']}: {entry['text']}")
            elif message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(message["params"]["exceptionDetails"]))

    def run(self, script: str) -> Any:
        """A script's value."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Until a script gives true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"{script}: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key: str, *, text: str = "", ctrl: bool = False) -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **event, **down)
        self.call("Input.dispatchKeyEvent", **event, type="keyUp")

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def focus(self) -> str:
        """The id of what has the focus."""
        return str(self.run("document.activeElement.id"))


@contextlib.contextmanager
def tab(folder: Path, url: str) -> Iterator[Tab]:
    """A tab of a browser of its own with a page in it."""
    found = binary()
    assert found
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    arguments += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    browser = subprocess.Popen(
        [found, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        place = folder / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not place.exists() or not place.read_text().strip():
            assert browser.poll() is None, "the browser has ended"
            assert time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.05)
        port = place.read_text().split()[0]
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json()
        (debugger,) = [p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"]
        with connect(debugger, max_size=None, proxy=None) as connection:
            opened = Tab(connection)
            opened.call("Page.navigate", url=url)
            opened.wait(f"location.href.startsWith('{url}') && document.readyState === 'complete'")
            yield opened
    finally:
        browser.terminate()
        browser.wait(20)
