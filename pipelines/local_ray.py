"""A Ray of our own on this machine: its folder, its token, and what an earlier one left when it was killed.

Everything of one Ray is below one folder that only its user may enter: the token, sockets, logs and spilled objects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

ENDING_S = 10.0  # given to killed processes until their folder is deleted all the same
PREFIX = "asid-ray-"
OWNER, TOKEN = "owner", "token"
SHORT = "/tmp"
# A socket's path has at most 107 bytes, and below the root come asid-ray-12345678/r/session_<date>_<time>_<pid>/
# sockets/plasma_store
ROOT_BYTES = 22


def root() -> Path:
    """Where Ray's folders go: RAY_TMPDIR or TMPDIR, or /tmp where those are too long for the names of sockets."""
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(os.path.abspath(wanted))) <= ROOT_BYTES:
        return Path(wanted).absolute()
    if not os.access(SHORT, os.W_OK):
        raise OSError(f"{wanted} is too long for Ray's sockets: set RAY_TMPDIR to a path of at most {ROOT_BYTES} bytes")
    return Path(SHORT)


@dataclass(frozen=True)
class Folder:
    """The folder of one Ray, named after nothing: `mkdtemp` makes it for its user alone."""

    path: Path

    @classmethod
    def make(cls) -> Folder:
        """A new one, with a new token and the name of this process as its owner."""
        folder = cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=root())))
        for name, text in ((OWNER, _identity(os.getpid()) or ""), (TOKEN, secrets.token_hex(32))):
            with open(os.open(folder.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        return folder

    @property
    def sessions(self) -> Path:
        """What Ray is given: it makes its folder writable for everybody, and so is not given the token's."""
        return self.path / "r"

    @property
    def environment(self) -> dict[str, str]:
        """What Ray and its workers need: the token, and to listen on 127.0.0.1 alone.

        Ray listens on all interfaces of a machine that may become part of a cluster; this variable of Ray says that it
        may not. Its name is of the systems on which that is the default.
        """
        token = str(self.path / TOKEN)
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

    def is_abandoned(self) -> bool:
        """Whether the process that made it no longer runs."""
        try:
            owner = (self.path / OWNER).read_text()
        except OSError:
            return False  # of another user, or about to be made
        return bool(owner) and _identity(int(owner.split()[0])) != owner

    def processes(self) -> Iterator[int]:
        """Processes of this Ray that still run: Ray by their command, and with its token or its files."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if (command.startswith(b"ray::") or bytes(self.path) in command) and self._is_of(entry):
                    yield int(entry.name)

    def _is_of(self, process: Path) -> bool:
        """Whether a process (a folder of /proc) is this Ray's."""
        mark = f"RAY_AUTH_TOKEN_PATH={self.path / TOKEN}".encode()
        if mark in (process / "environ").read_bytes().split(b"\0"):
            return True
        # an agent writes its new name over its environment; its log stays open
        return any(os.readlink(link).startswith(f"{self.path}/") for link in (process / "fd").iterdir())

    def remove(self) -> None:
        """End what still runs of it, and delete it."""
        until = time.monotonic() + ENDING_S
        while (running := list(self.processes())) and time.monotonic() < until:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # a killed process stays for a moment
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned() -> None:
    """Clean up after runs of this user that were killed: their agents live on, and their folders stay."""
    for path in root().glob(PREFIX + "*"):
        folder = Folder(path)
        if path.stat().st_uid == os.getuid() and folder.is_abandoned():
            log.info("removing what a killed run left of its Ray: %s", path)
            folder.remove()


def _identity(pid: int) -> str | None:
    """A process's number and when it started: numbers are used again. None where it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return f"{pid} {stat.rpartition(')')[2].split()[19]}"
