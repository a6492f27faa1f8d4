"""The folder and token of a local Ray, and the removal of what killed runs left behind.

All files of one Ray are in one folder that only its user may enter: token, sockets, logs and spilled objects.
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

ENDING_S = 10.0  # longest wait for killed processes to end, before their folder is deleted anyway
PREFIX = "asid-ray-"
OWNER, TOKEN = "owner", "token"
SHORT = "/tmp"
# A socket's path has at most 107 bytes, and Ray appends asid-ray-12345678/r/session_<date>_<time>_<pid>/sockets/
# plasma_store
ROOT_BYTES = 22


def root() -> Path:
    """The parent of Ray's folders: RAY_TMPDIR or TMPDIR, or /tmp if that path is too long for socket names.

    Raises OSError if neither can be used.
    """
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(os.path.abspath(wanted))) <= ROOT_BYTES:
        return Path(wanted).absolute()
    if not os.access(SHORT, os.W_OK):
        raise OSError(f"{wanted} is too long for Ray's sockets. Set RAY_TMPDIR to at most {ROOT_BYTES} bytes.")
    return Path(SHORT)


@dataclass(frozen=True)
class Folder:
    """The folder of one local Ray, made by `mkdtemp`, so that only its user may enter it."""

    path: Path

    @classmethod
    def make(cls) -> Folder:
        """Make a new folder with a new token and this process as its owner."""
        folder = cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=root())))
        for name, text in ((OWNER, _identity(os.getpid()) or ""), (TOKEN, secrets.token_hex(32))):
            with open(os.open(folder.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        return folder

    @property
    def sessions(self) -> Path:
        """The folder for Ray's sessions. Ray makes it writable for everybody, so it must not be the token's folder."""
        return self.path / "r"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for Ray and its workers: use the token, and listen on 127.0.0.1 only.

        Ray listens on all interfaces unless clusters are disabled. The variable that disables them is named after the
        systems on which this is the default.
        """
        token = str(self.path / TOKEN)
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

    def is_abandoned(self) -> bool:
        """Whether the process that made this folder no longer runs."""
        try:
            owner = (self.path / OWNER).read_text()
        except OSError:
            return False  # of another user, or not complete yet
        return bool(owner) and _identity(int(owner.split()[0])) != owner

    def processes(self) -> Iterator[int]:
        """Ids of running processes of this Ray: those with a Ray command that use its token or its files."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if (command.startswith(b"ray::") or bytes(self.path) in command) and self._owns(entry):
                    yield int(entry.name)

    def _owns(self, process: Path) -> bool:
        """Whether a process, given by its folder in /proc, belongs to this Ray."""
        mark = f"RAY_AUTH_TOKEN_PATH={self.path / TOKEN}".encode()
        if mark in (process / "environ").read_bytes().split(b"\0"):
            return True
        # an agent overwrites its environment with its new name, but keeps its log open
        return any(os.readlink(link).startswith(f"{self.path}/") for link in (process / "fd").iterdir())

    def remove(self) -> None:
        """Kill the processes of this Ray that still run, and delete the folder."""
        until = time.monotonic() + ENDING_S
        while (running := list(self.processes())) and time.monotonic() < until:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # a killed process stays for a moment
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned() -> None:
    """Clean up after killed runs of this user, whose agents still run and whose folders still exist."""
    for path in root().glob(PREFIX + "*"):
        folder = Folder(path)
        if path.stat().st_uid == os.getuid() and folder.is_abandoned():
            log.info("removing the Ray of a killed run: %s", path)
            folder.remove()


def _identity(pid: int) -> str | None:
    """A process's id and start time, because ids are reused. None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return f"{pid} {stat.rpartition(')')[2].split()[19]}"
