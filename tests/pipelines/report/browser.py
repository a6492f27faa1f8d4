"""Controls headless Chromium over a pipe with the DevTools protocol. Needs no port, driver or package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --mute-audio --remote-debugging-pipe
--autoplay-policy=no-user-gesture-required""".split()  # noqa: SIM905
PATIENCE_S = 60.0
# chromium reads commands from file 3 and answers on file 4
WIRE = """import os, sys
read, write = (os.dup(os.dup(int(text))) for text in sys.argv[1:3])  # twice: so neither is on 3
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page. `problems`: errors and warnings on its console, and uncaught exceptions."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._held = b""
        self._last = self._loads = self._downloads = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("chromium does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("chromium ended")
            self._held += data
        line, _, self._held = self._held.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Page.downloadProgress" and params["state"] == "completed":
            self._downloads += 1
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, url: str) -> None:
        """Load a page and wait until it reports that it is ready (`data-ready` on the root element)."""
        self.navigate("about:blank")  # going to another # of the same page loads nothing
        self.navigate(url)
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def navigate(self, url: str) -> None:
        """Load a page and wait for its load event."""
        before, deadline = self._loads, time.monotonic() + PATIENCE_S
        self.call("Page.navigate", url=url)
        while self._loads == before:
            self._note(self._receive(deadline))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true. It is evaluated once per frame."""
        look = f"const look = () => ({condition}) ? done(true) : requestAnimationFrame(look)"
        self.run(f"new Promise((done) => {{ {look}; look(); }})")

    def key(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def download(self, script: str, folder: Path) -> None:
        """Run a script that saves a file, and wait until the file is in `folder`."""
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        before, deadline = self._downloads, time.monotonic() + PATIENCE_S
        self.run(script)
        while self._downloads == before:
            self._note(self._receive(deadline))

    def look(self, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Set the size of the window and the preferred colour scheme."""
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile. It ends with the block."""
    to_browser, from_browser = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", WIRE, str(to_browser[0]), str(from_browser[1]), str(CHROMIUM), *FLAGS]
        + [f"--user-data-dir={profile}"],
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Browser(to_browser[1], from_browser[0])
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(to_browser[1])
        os.close(from_browser[0])
