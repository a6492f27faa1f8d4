import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.learning.spans import drawn_stems, to_batch

NAMES = ("bass", "drums", "other", "vocals")


def row(values: dict[str, int], usable: tuple[str, ...] | None = None, track_id: str = "a") -> dict[str, object]:
    about: dict[str, object] = {
        "track_id": track_id,
        "span_index": 0,
        "start_s": 0.0,
        "num_samples": 100,
        "usable": list(values if usable is None else usable),
    }
    return about | {f"{name}_pcm": np.full(100, value, "<i2").tobytes() for name, value in values.items()}


def test_drawn_stems_and_their_rest_make_the_mix() -> None:
    values = {"bass": 1, "drums": 2, "other": 4, "vocals": 8}
    seen = set()
    for seed in range(60):
        source, rest = drawn_stems(row(values), 50, np.random.default_rng(seed))
        assert rest is not None
        parts = round(float(source[0]) * 32768), round(float(rest[0]) * 32768)
        assert sum(parts) == 15
        seen.add(parts[0])
    # bass goes with other, and neither side is ever empty
    assert seen == {2, 5, 7, 8, 10, 13}


def test_quiet_stems_are_never_what_is_sampled_but_stay_in_the_mix() -> None:
    for seed in range(20):
        source, rest = drawn_stems(row({"bass": 1, "drums": 2, "vocals": 8}, ("bass", "drums")), 50,
                                   np.random.default_rng(seed))  # fmt: skip
        assert rest is not None and round(float(source[0]) * 32768) in (1, 2)


def test_batches_mix_recordings_with_and_without_stems() -> None:
    rows = pa.Table.from_pylist(
        [row({"bass": 100, "drums": 200}), row({"vocals": 300}, track_id="b"), row({"bass": 100, "drums": 200})],
        schema=schema.stems(NAMES),
    )
    batch = to_batch(rows, 64, np.random.default_rng(0))
    assert batch.sources.shape == batch.rests.shape == (3, 64)
    assert batch.stems.tolist() == [True, False, True] and not batch.rests[1].any()
    assert batch.track[0] == batch.track[2] != batch.track[1]
    with pytest.raises(ValueError, match="too short"):
        to_batch(rows, 101, np.random.default_rng(0))
