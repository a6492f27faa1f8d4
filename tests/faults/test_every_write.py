"""A reindex that can write nothing more from any of its writes on, as if killed there, is finished by the next one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.store.catalogue import Catalogue
from pipelines.store.lease import NAME as LEASE
from tests.faults.contents import Contents, assert_equal, contents
from tests.pipelines.test_reindex import Case, user_of, write

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600)]


class Killed(OSError):
    """The process was killed, as far as its catalogue can tell."""


class Writes:
    """Counts the writes of this process; refuses those from number `last` on, except to the lease."""

    def __init__(self, last: int | None) -> None:
        self.last, self.count = last, 0

    def _next(self) -> None:
        self.count += 1
        if self.last is not None and self.count >= self.last:
            raise Killed("killed")

    @contextmanager
    def counted(self) -> Iterator[Writes]:
        """Every commit of a table, replacement of a file and deletion in this block is counted."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((Catalogue, "check_writing"), (os, "replace"), (Path, "unlink")):
                patch.setattr(owner, name, self._counted(getattr(owner, name)))
            yield self

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **more: Any) -> Any:
            if not any(LEASE in str(word) or ".link-" in str(word) for word in words):
                self._next()
            return function(*words, **more)

        return wrapped


def change(case: Case) -> None:
    """Remove, rename, change, add and break one file each."""
    (case.corpus / "other.flac").unlink()
    (case.corpus / "source.flac").rename(case.corpus / "moved.flac")
    write(case.corpus, "user", user_of(case.sources["later"], 6))
    write(case.corpus, "later", case.sources["later"])
    (case.corpus / "old.flac").write_bytes(b"no music" * 100)


@pytest.fixture(scope="module", params=["new", "changed"])
def case(request: pytest.FixtureRequest, ray_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A corpus, and the catalogue from which the reindex begins: none, or one from before the corpus changed."""
    made = Case(tmp_path_factory.mktemp("every-write"))
    if request.param == "changed":
        made.reindex()
        change(made)
    return made


@pytest.fixture(scope="module")
def clean(case: Case) -> tuple[Path, Contents, int]:
    """The catalogue before, its contents after an undisturbed reindex, and the number of writes."""
    before = Path(case.uri)
    case.uri += "-clean"
    if before.exists():
        shutil.copytree(before, case.uri, copy_function=shutil.copy2)
    with Writes(None).counted() as writes:
        case.reindex(max_removed=1.0)
    return before, contents(case.uri), writes.count


def test_each_write(case: Case, clean: tuple[Path, Contents, int]) -> None:
    before, expected, count = clean
    assert count > 10
    for last in range(1, count + 1):
        case.uri = f"{before}-{last}"
        if before.exists():
            shutil.copytree(before, case.uri, copy_function=shutil.copy2)
        with Writes(last).counted(), pytest.raises(Killed):
            case.reindex(max_removed=1.0)
        case.reindex(max_removed=1.0)
        assert_equal(contents(case.uri), expected)
        shutil.rmtree(case.uri)
    print(f"killed at each of {count} writes")
