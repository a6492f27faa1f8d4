"""The lease of a catalogue: one run at a time may change it, and a run that died does not block the next for long."""

from __future__ import annotations

import contextlib
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

from pipelines.store.errors import CatalogueError, LeaseError
from pipelines.store.location import Location

log = logging.getLogger(__name__)

NAME = "lease.json"
LEASE_S = 180.0  # how long the next run waits after one was killed on another machine
RENEWALS = 3  # in that time: a store may fail to answer twice
POLL_S = 5.0  # while waiting for a lease to end
FIELDS: dict[str, type] = {"token": str, "verb": str, "host": str, "pid": int, "expires": float}


class Lease:
    """`with Lease(place, "reindex") as lease:` holds the catalogue at `place`; a thread renews it until the block ends.

    An expired lease is taken over, and so is, at once, that of a process of this machine that no longer runs. Where the
    holder cannot be seen from here, the run waits: either the lease ends, or the holder renews it and so is alive. The
    clocks of machines that share a catalogue must agree to a minute. Raises LeaseError where another run is alive.
    """

    def __init__(
        self,
        place: Location,
        verb: str,
        seconds: float = LEASE_S,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = place.join(NAME)
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self._mine = {"token": secrets.token_hex(8), "verb": verb, **_here(), "pid": os.getpid()}
        self._version: str | None = None  # of the file as we wrote it
        self._expires = 0.0
        self._lost: str | None = None
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="asid-lease", daemon=True)

    def __enter__(self) -> Lease:
        holder, version = self._wait_for_end()
        if holder is not None:
            log.warning("asid %s on %s ended without releasing its lease; taking over", holder["verb"], holder["host"])
        self._version = version
        if not self._write():
            holder, _ = _read(self._file)
            raise LeaseError(_held(holder, self._file) if holder else f"{self._file} was taken just now: try again")
        self._thread.start()
        return self

    def _wait_for_end(self) -> tuple[dict[str, Any] | None, str | None]:
        """The lease that may be taken over, if any, and its version. Raises LeaseError where its holder is alive."""
        holder, version = _read(self._file)
        first = holder
        while holder is not None and first is not None and _holds(holder, self._clock()):
            renewed = (holder["token"], holder["expires"]) != (first["token"], first["expires"])
            if renewed or _is_alive(holder):
                raise LeaseError(_held(holder, self._file))
            left_s = max(holder["expires"] - self._clock(), 0.1)
            if holder is first:
                log.warning("%s; waiting up to %.0f s for it to end", _held(holder, self._file), left_s)
            self._sleep(min(POLL_S, left_s))
            holder, version = _read(self._file)
        return holder, version

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():  # it may wait for a store that does not answer
            self._thread.join(timeout=self._seconds / RENEWALS)
        with contextlib.suppress(CatalogueError):  # damaged: not ours any more
            holder, _ = _read(self._file)
            if holder is not None and holder["token"] == self._mine["token"]:
                self._file.delete()

    def renew(self) -> None:
        """Hold it for another `seconds`. Raises LeaseError where another run has taken it since."""
        with self._renewing:
            if self._lost is None and not self._write():
                holder, _ = _read(self._file)
                self._lost = _held(holder, self._file) if holder else f"{self._file} was removed"
        self._raise_if_lost()

    def check(self) -> None:
        """Make sure, before a commit, that the lease is still ours. Raises LeaseError where it was lost.

        Costs nothing while the renewing thread keeps up. A process that was suspended for longer than its lease finds
        here that it has ended, and renews it or learns who has it now.
        """
        self._raise_if_lost()
        if self._clock() >= self._expires:
            self.renew()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise LeaseError(f"this run lost its lease: {self._lost}. What it committed is kept; start it again later")

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            try:
                self.renew()
            except CatalogueError as error:
                log.error("%s", error)
                return
            except OSError as error:  # the storage may be back before the lease ends
                log.warning("the lease was not renewed: %s", error)

    def _write(self) -> bool:
        """Write the lease where the file still is as we know it; whether it is ours now.

        A store may have done what it was asked for though its answer was lost, and refuse the request sent again. The
        file tells: with our token in it, the lease is ours.
        """
        expires = self._clock() + self._seconds
        content = json.dumps(self._mine | {"expires": expires}, indent=2).encode()
        version = self._file.write_if(content, self._version)
        if version is None:
            holder, version = _read(self._file)
            if holder is None or holder["token"] != self._mine["token"]:
                return False
            expires = holder["expires"]
        self._version, self._expires = version, expires
        return True


def holder(place: Location) -> dict[str, Any] | None:
    """The lease of the run that holds a catalogue now; None where there is none, it has expired or its run is dead."""
    found, _ = _read(place.join(NAME))
    return found if found is not None and _holds(found, time.time()) else None


def _read(file: Location) -> tuple[dict[str, Any] | None, str | None]:
    """What is in a lease's file, and its version. Raises CatalogueError for a file that is no lease."""
    try:
        version = file.stat().version
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None, None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in FIELDS.items()):
        raise CatalogueError(f"{file} is not a lease: delete it if no run is under way")
    return found, version


def _here() -> dict[str, str]:
    """This machine, and the numbering of processes: a container may have its host's name."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = secrets.token_hex(8)  # no way to know
    return {"host": socket.gethostname(), "processes": numbering}


def _holds(lease: dict[str, Any], now: float) -> bool:
    return bool(lease["expires"] > now) and _is_alive(lease) is not False


def _is_alive(lease: dict[str, Any]) -> bool | None:
    """Whether the holder runs; None where it is of another machine and cannot be seen from here."""
    if any(lease.get(key) != value for key, value in _here().items()):
        return None
    try:
        os.kill(lease["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _held(lease: dict[str, Any], file: Location) -> str:
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lease["expires"]))
    return (
        f"asid {lease['verb']} (process {lease['pid']} on {lease['host']}) holds this catalogue until {until}: "
        f"wait for it, or delete {file} if that run is dead"
    )
