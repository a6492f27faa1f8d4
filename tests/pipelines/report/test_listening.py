"""The sound of a place: both sides aligned and equally loud, the reference at the query's pitch and tempo."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchaudio.functional as F
from scipy.signal import correlate

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.signal.pcm import to_pcm
from pipelines.report import listening, snippets
from pipelines.report.snippets import PlaceToHear, Snippet
from tests.pipelines.fake_sweep import wave

Wave = npt.NDArray[np.float32]
TRACK_S = 60.0
RATIOS = [0.62, 0.8, 1.0, 1.003, 1.3, 1.6]
# where the match starts in the query and in the reference; some touch an end of a track
STARTS = [(0.0, 0.0), (0.2, 50.0), (50.0, 0.1), (52.0, 20.0), (20.0, 53.0)]


def place_of(ratio: float, query_s: float, reference_s: float, backwards: bool) -> dict[str, Any]:
    """A detection's row: up to 9 s of the query from `query_s`, as far as both tracks of TRACK_S reach."""
    length = min(9.0, TRACK_S - query_s, (TRACK_S - reference_s) / ratio)
    spans = {"query_start_s": query_s, "query_end_s": query_s + length}
    spans |= {"reference_start_s": reference_s, "reference_end_s": reference_s + length * ratio}
    return {**spans, "tempo_ratio": ratio, "pitch_semitones": 0.0, "reversed": backwards}


PLACES = [place_of(r, *starts, backwards) for r in RATIOS for starts in STARTS for backwards in (False, True)]


def in_query(row: dict[str, Any], reference_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The times in the query at which these seconds of the reference are played."""
    if row["reversed"]:
        return row["query_start_s"] + (row["reference_end_s"] - reference_s) / row["tempo_ratio"]
    return row["query_start_s"] + (reference_s - row["reference_start_s"]) / row["tempo_ratio"]


@pytest.mark.parametrize("row", PLACES)
def test_both_sides_lie_on_the_line_and_in_their_tracks(row: dict[str, Any]) -> None:
    spans = snippets.spans_to_hear(row, TRACK_S, TRACK_S, 8.0)
    for start_s, length_s in spans.values():
        assert start_s >= -1e-9 and length_s > 0 and start_s + length_s <= TRACK_S + 1e-9 and length_s <= 8.0 + 1e-9
    (query_start, query_length), (start, length) = spans["query"], spans["reference"]
    ends = in_query(row, np.array([start, start + length]))
    assert np.sort(ends) == pytest.approx([query_start, query_start + query_length], abs=1e-6)


def bursts(times_s: npt.NDArray[np.float64], seed: int = 0) -> Wave:
    """A track of TRACK_S with 10 ms of noise at each time."""
    track = np.zeros(round(TRACK_S * SAMPLE_RATE_HZ), np.float32)
    rng = np.random.default_rng(seed)
    for time_s in times_s[(times_s >= 0) & (times_s < TRACK_S - 0.02)]:
        first = round((time_s - 0.005) * SAMPLE_RATE_HZ)
        if first >= 0:
            track[first : first + 160] = 0.3 * rng.standard_normal(160)
    return track


@pytest.mark.parametrize("row", PLACES)
def test_played_at_once_the_sides_are_in_step(row: dict[str, Any]) -> None:
    times = np.sort(np.random.default_rng(5).uniform(0, TRACK_S, 150))
    tracks = {"query": bursts(in_query(row, times)), "reference": bursts(times)}
    spans = snippets.spans_to_hear(row, TRACK_S, TRACK_S, 8.0)
    cut = {}
    for side, (start_s, seconds) in spans.items():
        first, samples = round(start_s * SAMPLE_RATE_HZ), int(seconds * SAMPLE_RATE_HZ)
        cut[side] = tracks[side][first : first + samples]
    heard = cut["reference"][::-1].copy() if row["reversed"] else cut["reference"]
    matched = listening.as_query_plays_it(heard, len(cut["query"]), row["tempo_ratio"], 0.0)
    assert len(matched) == len(cut["query"])
    envelopes = [np.convolve(np.abs(one), np.ones(80) / 80, "same") for one in (matched, cut["query"])]
    lag = int(correlate(*envelopes).argmax()) - (len(matched) - 1)
    assert abs(lag) < 0.015 * SAMPLE_RATE_HZ


def test_all_sides_are_equally_loud_and_none_clips() -> None:
    voices = {"query": 0.02 * wave(1, 6.0), "reference": np.clip(4 * wave(2, 6.0), -1, 1), "matched": wave(3, 0.2)}
    loud = listening.equally_loud(voices)
    measured = [
        float(F.loudness(torch.from_numpy(loud[side])[None], SAMPLE_RATE_HZ)) for side in ("query", "reference")
    ]
    assert measured == pytest.approx([measured[0]] * 2, abs=0.2) and measured[0] > -30
    spiky = np.zeros(32_000, np.float32)
    spiky[::4000] = 1.0
    for side in listening.equally_loud({"a": spiky, "b": wave(1, 2.0), "c": np.zeros(16_000, np.float32)}).values():
        assert np.abs(side).max() <= listening.PEAK + 1e-6


def test_what_is_shared_is_highlighted() -> None:
    sample, other = wave(1, 6.0), wave(2, 6.0)
    soft = (0.5 * sample).astype(np.float32)
    mix = (soft + 0.3 * other).astype(np.float32)
    same, audible = listening.matching_cells(listening.mel_db(soft), listening.mel_db(sample))
    assert same.sum() == audible.sum()
    mixed = listening.shared(mix, sample)["share"]
    assert listening.shared(other, sample)["share"] < mixed - 0.2 and 0.5 < mixed < 1


def test_the_media_of_a_place() -> None:
    def place(*change: Any) -> PlaceToHear:
        query, reference = (
            Snippet(name, 16_000, round(seconds * SAMPLE_RATE_HZ), to_pcm(wave(1, seconds)))
            for name, seconds in (("q", 4.0), ("r", 5.0))
        )
        return PlaceToHear(0, query, reference, *change)

    made = listening.media(place(1.25, 2.0, False))
    assert made["matched"]["mp3"] and made["query"]["start"] == 1.0 and made["reference"]["seconds"] == 5.0
    assert listening.media(place(1.0, 0.0, False))["matched"] is None
    assert listening.media(place(1.0, 0.0, True))["matched"]
