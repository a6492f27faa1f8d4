"""The lease: one run at a time, and only while the lease lasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.lease import Lease, LeaseError, holder
from pipelines.store.location import Location


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["local", "s3"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Catalogue:
    place = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket")
    return Catalogue(place + "/c", create=True)


def test_a_second_run_is_told_who_has_the_catalogue(catalogue: Catalogue) -> None:
    clock = Clock()
    with Lease(catalogue.location, "reindex", 60, clock):
        clock.now += 59
        with pytest.raises(LeaseError, match=rf"asid reindex \(process {os.getpid()} on .*1970-01-12 13:47:40 UTC"):
            Lease(catalogue.location, "run", 60, clock).__enter__()
    with Lease(catalogue.location, "run", 60, clock):
        pass
    assert not catalogue.location.join("lease.json").exists()


def test_a_renewed_lease_lasts_and_one_of_a_dead_run_expires(catalogue: Catalogue) -> None:
    clock = Clock()
    dead = Lease(catalogue.location, "reindex", 60, clock)
    dead.__enter__()
    clock.now += 59
    dead.renew()
    clock.now += 59
    with pytest.raises(LeaseError):
        Lease(catalogue.location, "run", 60, clock).__enter__()
    clock.now += 2
    with Lease(catalogue.location, "run", 60, clock) as heir:
        with pytest.raises(LeaseError, match="lost its lease: asid run"):
            dead.renew()
        with pytest.raises(LeaseError, match="run it again later"):
            dead.check()
        dead.__exit__(None, None, None)  # leaves the heir's lease alone
        heir.renew()
        assert json.loads(catalogue.location.join("lease.json").read_bytes())["verb"] == "run"


def test_a_run_that_was_killed_here_is_no_obstacle(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    killed = subprocess.Popen([sys.executable, "-c", TAKES_IT, str(tmp_path / "c")], stdout=subprocess.PIPE)
    assert killed.stdout is not None and killed.stdout.readline() == b"held\n"
    with pytest.raises(LeaseError, match="asid embed"):
        Lease(catalogue.location, "run").__enter__()
    assert (holder(catalogue.location) or {})["verb"] == "embed"
    killed.kill()
    killed.wait()
    assert holder(catalogue.location) is None  # asid status says that nobody is at work
    with Lease(catalogue.location, "run"):
        pass


class Elsewhere:
    """A run on another machine, not visible from here, which renews its lease `renewals` times."""

    def __init__(self, place: Location, clock: Clock, renewals: int) -> None:
        self.file, self.clock, self.renewals = place.join("lease.json"), clock, renewals
        self.write()

    def write(self) -> None:
        lease = {"token": "theirs", "verb": "embed", "host": "far", "processes": "x", "pid": 1}
        self.file.write_bytes(json.dumps(lease | {"expires": self.clock.now + 60}).encode())

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        if self.renewals:
            self.renewals -= 1
            self.write()


def test_the_next_run_waits_for_the_lease_of_a_dead_one_to_end(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    dead = Elsewhere(catalogue.location, clock, renewals=0)
    with Lease(catalogue.location, "run", 60, clock, dead.sleep):
        assert clock.now == pytest.approx(1_000_060)
        assert json.loads(dead.file.read_bytes())["verb"] == "run"
    assert "process 1 on far" in caplog.text and "waiting up to 60 s" in caplog.text


def test_a_run_that_renews_its_lease_elsewhere_is_alive(catalogue: Catalogue) -> None:
    clock = Clock()
    alive = Elsewhere(catalogue.location, clock, renewals=1)
    with pytest.raises(LeaseError, match="asid embed .process 1 on far"):
        Lease(catalogue.location, "run", 60, clock, alive.sleep).__enter__()
    assert clock.now < 1_000_060


@pytest.mark.parametrize("damaged", [b"{}", b"", b"[1]", b'{"token": 1, "expires": "x"}'])
def test_a_file_that_is_no_lease_is_named(tmp_path: Path, damaged: bytes) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    catalogue.location.join("lease.json").write_bytes(damaged)
    with pytest.raises(CatalogueError, match=r"lease.json is damaged. Delete it"), catalogue.writing("run"):
        pass


def test_a_lost_answer_is_not_a_lost_lease(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store executes the write, loses its answer, and refuses the same write when it is repeated."""
    write_if = Location.write_if

    def twice(self: Location, data: bytes, version: str | None) -> str | None:
        assert write_if(self, data, version) is not None
        return write_if(self, data, version)

    clock = Clock()
    with monkeypatch.context() as patched:
        patched.setattr(Location, "write_if", twice)
        lease = Lease(catalogue.location, "run", 60, clock)
        lease.__enter__()
        clock.now += 30
        lease.renew()
    clock.now += 59
    lease.check()
    lease.renew()
    lease.__exit__(None, None, None)
    assert not catalogue.location.join("lease.json").exists()


TAKES_IT = """
import sys, threading
from pipelines.store.catalogue import Catalogue
from pipelines.store.lease import Lease
with Lease(Catalogue(sys.argv[1]).location, "embed"):
    print("held", flush=True)
    threading.Event().wait()
"""


def test_of_two_that_write_at_once_one_wins(catalogue: Catalogue) -> None:
    file: Location = catalogue.location.join("x.json")
    first = file.write_if(b"1", None)
    assert first is not None
    assert file.write_if(b"2", None) is None
    second = file.write_if(b"22", first)
    assert second is not None
    assert file.write_if(b"3", first) is None
    assert file.read_bytes() == b"22"
    file.delete()
    assert file.write_if(b"4", second) is None and not file.exists()
