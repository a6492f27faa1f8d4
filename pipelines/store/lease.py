"""A lease in the catalogue: one run at a time may change it, and one that died does not block the next for long."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.location import Location

log = logging.getLogger(__name__)

NAME = "lease.json"
LEASE_S = 180.0  # what the next run waits for after one was killed on another machine; renewed three times in it


class LeaseError(CatalogueError):
    """Another run has the catalogue; the message says who and until when."""


class Lease:
    """`with Lease(catalogue, "reindex") as lease:` holds the catalogue; a thread renews it until the block ends.

    One that has expired is taken over, and at once that of a process of this machine that is no more. The clocks of
    machines that share a catalogue must agree to a minute. Raises LeaseError where another run holds it.
    """

    def __init__(
        self, catalogue: Catalogue, verb: str, seconds: float = LEASE_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = catalogue.location.join(NAME)
        self._seconds, self._clock = seconds, clock
        self._mine = {"token": secrets.token_hex(8), "verb": verb, **_here(), "pid": os.getpid()}
        self._version: str | None = None  # of the file as we wrote it
        self._lost: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="asid-lease", daemon=True)

    def __enter__(self) -> Lease:
        found, version = _read(self._file)
        if found is not None and _holds(found, self._clock()):
            raise LeaseError(_held(found, str(self._file)))
        if found is not None:
            log.warning("the run of asid %s on %s ended without giving its lease back", found["verb"], found["host"])
        self._version = self._write(version)
        if self._version is None:
            found, _ = _read(self._file)
            raise LeaseError(_held(found, str(self._file)) if found else f"{self._file} is taken just now: try again")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        found, _ = _read(self._file)
        if found is not None and found["token"] == self._mine["token"]:
            self._file.delete()

    def renew(self) -> None:
        """Hold it for another `seconds`. Raises LeaseError where another run has taken it since."""
        version = self._write(self._version)
        if version is None:
            found, _ = _read(self._file)
            self._lost = _held(found, str(self._file)) if found else f"{self._file} was removed"
        else:
            self._version = version
        self.check()

    def check(self) -> None:
        """To be called before what others must not see twice. Raises LeaseError where the lease was lost."""
        if self._lost is not None:
            raise LeaseError(f"this run lost its lease: {self._lost}. What it committed is kept; start it again later")

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            try:
                self.renew()
            except LeaseError as error:
                log.error("%s", error)
                return
            except OSError as error:  # the storage may be back before the lease ends
                log.warning("the lease was not renewed: %s", error)

    def _write(self, version: str | None) -> str | None:
        content = self._mine | {"expires": self._clock() + self._seconds}
        return self._file.write_if(json.dumps(content, indent=2).encode(), version)


def holder(catalogue: Catalogue) -> dict[str, Any] | None:
    """The lease of the run that holds a catalogue now; None where there is none, it has expired or its run is dead."""
    found, _ = _read(catalogue.location.join(NAME))
    return found if found is not None and _holds(found, time.time()) else None


def _read(file: Location) -> tuple[dict[str, Any] | None, str | None]:
    """What is in a lease's file, and its version."""
    try:
        version = file.stat().version
        return json.loads(file.read_bytes()), version
    except FileNotFoundError:
        return None, None
    except ValueError:
        raise CatalogueError(f"{file} is not a lease: delete it if no run is under way") from None


def _here() -> dict[str, str]:
    """This machine, and the numbering of processes: a container may have its host's name."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = secrets.token_hex(8)  # no way to know
    return {"host": socket.gethostname(), "processes": numbering}


def _holds(lease: dict[str, Any], now: float) -> bool:
    return bool(lease["expires"] > now) and not _is_dead(lease)


def _is_dead(lease: dict[str, Any]) -> bool:
    """Whether its holder was a process of this machine and is no more."""
    if any(lease.get(key) != value for key, value in _here().items()):
        return False
    try:
        os.kill(lease["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _held(lease: dict[str, Any], file: str) -> str:
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lease["expires"]))
    return (
        f"asid {lease['verb']} (process {lease['pid']} on {lease['host']}) holds this catalogue until {until}: "
        f"wait for it, or delete {file} if that run is dead"
    )
