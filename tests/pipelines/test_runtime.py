"""What is told of an error that a worker met."""

from __future__ import annotations

import errno
from typing import Any

import pyarrow as pa
import pytest
import ray.data

from pipelines.runtime import met_by_worker


def full(_: pa.Table) -> pa.Table:
    raise OSError(errno.ENOSPC, "No space left on device")


def other(_: pa.Table) -> pa.Table:
    raise ValueError("not this")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("work", "kind", "text"), [(full, OSError, "[Errno 28] No space left on device"), (other, ValueError, "not this")]
)
def test_the_error_itself_is_told(ray_session: Any, work: Any, kind: type[Exception], text: str) -> None:
    data = ray.data.from_arrow(pa.table({"a": [1]}))
    data.context.raise_original_map_exception = True
    with pytest.raises(Exception, match=text.replace("[", ".").replace("]", ".")) as caught:
        data.map_batches(work, batch_format="pyarrow").materialize()
    found = met_by_worker(caught.value)
    assert type(found) is kind and str(found) == text


def test_other_errors_stay_as_they_are() -> None:
    error = KeyError("x")
    assert met_by_worker(error) is error
