"""One run at a time, and no longer than its lease."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.store.catalogue import Catalogue
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
    with Lease(catalogue, "reindex", 60, clock):
        clock.now += 59
        with pytest.raises(LeaseError, match=rf"asid reindex \(process {os.getpid()} on .*1970-01-12 13:47:40 UTC"):
            Lease(catalogue, "run", 60, clock).__enter__()
    with Lease(catalogue, "run", 60, clock):
        pass
    assert not catalogue.location.join("lease.json").exists()


def test_a_renewed_lease_lasts_and_one_of_a_dead_run_expires(catalogue: Catalogue) -> None:
    clock = Clock()
    dead = Lease(catalogue, "reindex", 60, clock)
    dead.__enter__()
    clock.now += 59
    dead.renew()
    clock.now += 59
    with pytest.raises(LeaseError):
        Lease(catalogue, "run", 60, clock).__enter__()
    clock.now += 2
    with Lease(catalogue, "run", 60, clock) as heir:
        with pytest.raises(LeaseError, match="lost its lease: asid run"):
            dead.renew()
        with pytest.raises(LeaseError, match="start it again"):
            dead.check()
        dead.__exit__(None, None, None)  # leaves the heir's lease alone
        heir.renew()
        assert json.loads(catalogue.location.join("lease.json").read_bytes())["verb"] == "run"


@pytest.mark.parametrize("where", ["here", "another machine"])
def test_a_run_that_was_killed_here_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    killed = subprocess.Popen([sys.executable, "-c", TAKES_IT, str(tmp_path / "c")], stdout=subprocess.PIPE)
    assert killed.stdout is not None and killed.stdout.readline() == b"held\n"
    with pytest.raises(LeaseError, match="asid embed"):
        Lease(catalogue, "run").__enter__()
    assert (holder(catalogue) or {})["verb"] == "embed"
    killed.kill()
    killed.wait()
    if where != "here":
        monkeypatch.setattr("socket.gethostname", lambda: where)
        with pytest.raises(LeaseError, match="asid embed"):
            Lease(catalogue, "run").__enter__()
        assert holder(catalogue) is not None
    else:
        assert holder(catalogue) is None  # asid status says that nobody is at work
        with Lease(catalogue, "run"):
            pass


TAKES_IT = """
import sys, threading
from pipelines.store.catalogue import Catalogue
from pipelines.store.lease import Lease
with Lease(Catalogue(sys.argv[1]), "embed"):
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
