"""A store that takes requests and never answers is given up by every client, with an error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.store import s3
from pipelines.store.location import Location
from tests.conftest import s3_environment

TABLE = pa.table({"a": [1]})


@pytest.fixture()
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """A place on a server that accepts connections, reads, and never answers. The time limits are 0.2 s."""
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def read(connection: socket.socket) -> None:
        try:
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass

    def accept() -> None:
        try:
            while True:
                connections.append(server.accept()[0])
                threading.Thread(target=read, args=(connections[-1],), daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    for name, value in s3_environment(f"http://127.0.0.1:{server.getsockname()[1]}").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3, "CONNECT_S", 0.2)
    monkeypatch.setattr(s3, "ANSWER_S", 0.2)
    monkeypatch.setattr(s3, "READS", 1)
    yield Location("s3://bucket/x")
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for connection in connections:
        connection.close()


def write_with_lance(place: Location) -> None:
    import lance

    uri, options = place.lance()
    lance.write_dataset(TABLE, uri, storage_options=options)


def read_with_lance(place: Location) -> None:
    import lance

    uri, options = place.lance()
    lance.dataset(uri, storage_options=options)


def write_in_parts(place: Location) -> None:
    with place.writing() as stream:
        stream.write(bytes(9 << 20))


def read_with_arrow(place: Location) -> None:
    filesystem, path = place.arrow()
    pq.read_table(path, filesystem=filesystem)


CALLS: tuple[Any, ...] = (
    Location.read_bytes,
    lambda place: list(place.list()),
    lambda place: place.write_bytes(b"x"),
    lambda place: place.write_if(b"x", None),
    write_in_parts,
    write_with_lance,
    pytest.param(read_with_lance, marks=pytest.mark.slow),
    read_with_arrow,
)
NAMES = ("read", "list", "write", "write if", "upload", "lance write", "lance read", "arrow")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_every_client_gives_up(silent: Location, call: Callable[[Location], Any]) -> None:
    with pytest.raises(Exception) as failure:  # noqa: B017, PT011  # Lance's own are told in jobs/errors.py
        call(silent)
    assert isinstance(failure.value, OSError | ValueError), repr(failure.value)
