"""The lease of a catalogue: only one run at a time may change it, and a dead run does not block the next for long."""

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

from pipelines import metrics
from pipelines.store.errors import CatalogueError, LeaseError
from pipelines.store.location import Location

log = logging.getLogger(__name__)

NAME = "lease.json"
LEASE_S = 180.0  # longest wait of the next run after a run on another machine was killed
RENEWALS = 3  # per LEASE_S, so that two of them may fail
POLL_S = 5.0  # while waiting for a lease to end
FIELDS: dict[str, type] = {"token": str, "verb": str, "host": str, "pid": int, "expires": float}


class Lease:
    """`with Lease(place, "reindex") as lease:` holds the catalogue at `place`; a thread renews it until the block ends.

    Takes over an expired lease, and at once that of a dead process on this machine. If the holder is on another
    machine, waits until the lease either expires or is renewed, which proves that the holder is alive. The clocks of
    machines that share a catalogue must agree to within a minute. Raises LeaseError if the holder is alive.
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
        self._version: str | None = None  # version of the file that we wrote
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
            raise LeaseError(_held(holder, self._file) if holder else f"another run just took {self._file}; try again")
        self._thread.start()
        return self

    def _wait_for_end(self) -> tuple[dict[str, Any] | None, str | None]:
        """The lease to take over, if any, and its version. Raises LeaseError if its holder is alive."""
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
        if self._thread.is_alive():  # the thread may be waiting for a store that does not answer
            self._thread.join(timeout=self._seconds / RENEWALS)
        with contextlib.suppress(CatalogueError):  # a damaged lease is no longer ours
            holder, _ = _read(self._file)
            if holder is not None and holder["token"] == self._mine["token"]:
                self._file.delete()

    def renew(self) -> None:
        """Extend the lease by its full duration. Raises LeaseError if another run has taken it."""
        with self._renewing:
            if self._lost is None and not self._write():
                holder, _ = _read(self._file)
                self._lost = _held(holder, self._file) if holder else f"{self._file} was removed"
        self._raise_if_lost()

    def check(self) -> None:
        """Check, before a commit, that the lease is still ours. Raises LeaseError if it was lost.

        Costs nothing while the thread renews the lease in time. A process that was suspended for longer renews it
        here, or learns who holds it now.
        """
        self._raise_if_lost()
        if self._clock() >= self._expires:
            self.renew()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise LeaseError(f"this run lost its lease: {self._lost}. Committed work is kept; run it again later.")

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            try:
                self.renew()
            except CatalogueError as error:
                log.error("%s", error)
                return
            except OSError as error:  # the store may be back before the lease ends
                log.warning("could not renew the lease: %s", error)

    def _write(self) -> bool:
        """Write the lease if the file has not changed since we last saw it. Returns whether the lease is ours now.

        If the store's answer to a successful write is lost, the repeated request is refused. The lease is still ours
        then: the file holds our token.
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
        metrics.report_lease(expires - self._seconds)
        return True


def holder(place: Location) -> dict[str, Any] | None:
    """The lease of the run that holds a catalogue; None if there is none, it has expired or its run is dead."""
    lease, _ = _read(place.join(NAME))
    return lease if lease is not None and _holds(lease, time.time()) else None


def _read(file: Location) -> tuple[dict[str, Any] | None, str | None]:
    """The contents and version of a lease file; (None, None) if it is missing. Raises CatalogueError if damaged."""
    try:
        version = file.stat().version
        lease = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None, None
    except ValueError:
        lease = None
    if not isinstance(lease, dict) or not all(isinstance(lease.get(key), kind) for key, kind in FIELDS.items()):
        raise CatalogueError(f"{file} is damaged. Delete it if no other run is using this catalogue.")
    return lease, version


def _here() -> dict[str, str]:
    """This machine and its process id namespace, because a container may have its host's name."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = secrets.token_hex(8)  # unknown: matches no other
    return {"host": socket.gethostname(), "processes": numbering}


def _holds(lease: dict[str, Any], now: float) -> bool:
    return bool(lease["expires"] > now) and _is_alive(lease) is not False


def _is_alive(lease: dict[str, Any]) -> bool | None:
    """Whether the holder is running; None if it is on another machine."""
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
        f"asid {lease['verb']} (process {lease['pid']} on {lease['host']}) holds this catalogue until {until}. "
        f"Wait for it, or delete {file} if that run is dead"
    )
