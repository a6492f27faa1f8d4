"""Tracks that resemble a reference without sampling it, and the order in which they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asid_core.synthetic import alike
from asid_core.synthetic.music_files import WORK_RATE_HZ, read_waves
from asid_core.synthetic.queries import turn
from tests.asid_core.synthetic.test_bench import music


def test_pieces_of_one_library_share_no_loop(tmp_path: Path) -> None:
    for number in range(6):
        soundfile.write(tmp_path / f"break{number}.wav", music(number, 2), WORK_RATE_HZ)
    soundfile.write(tmp_path / "lonely1.wav", music(9, 2), WORK_RATE_HZ)
    pairs = alike.from_loops(tmp_path, 0, 6)
    assert len(pairs) == 6 and all("break" in name for name in pairs)
    for pair in pairs.values():
        assert len(pair.query) == len(pair.reference) == alike.LENGTH_S * WORK_RATE_HZ
        assert abs(np.corrcoef(pair.query, pair.reference)[0, 1]) < 0.2


def test_without_folders_there_are_no_pairs() -> None:
    assert alike.from_loops(None, 0, 6) == alike.from_midi(None, 0, 6) == {}


def test_references_that_share_a_loop_with_another_pairs_query_are_known(tmp_path: Path) -> None:
    for number in range(7):
        soundfile.write(tmp_path / f"break{number}.wav", music(number, 2), WORK_RATE_HZ)
    pairs = alike.from_loops(tmp_path, 0, 4)
    shared = alike.sharing(pairs)
    assert any(shared.values())  # seven loops for four pairs of three and three
    for name, pair in pairs.items():
        assert name not in shared[name]
        for other, known in pairs.items():
            assert (other in shared[name]) == bool(pair.query_loops & known.reference_loops)
    silence = np.zeros(1, np.float32)
    assert alike.sharing({"midi": alike.Pair(silence, silence)}) == {"midi": ()}


def test_sources_take_turns() -> None:
    one, two = {name: np.zeros(1, np.float32) for name in "ab"}, {"c": np.ones(1, np.float32)}
    assert list(alike.in_turn(one, two)) == ["a", "c", "b"]


@given(st.integers(1, 12), st.integers(1, 12))
def test_every_kind_comes_to_use_everything(kinds: int, count: int) -> None:
    for kind in range(kinds):
        assert {turn(kind + kinds * n, kinds, count) for n in range(count)} == set(range(count))


def test_no_name_comes_twice(tmp_path: Path) -> None:
    for package in ("one", "two"):
        (tmp_path / package / "music").mkdir(parents=True)
        soundfile.write(tmp_path / package / "music" / "battle.wav", music(1, 2), WORK_RATE_HZ)
    files = sorted(tmp_path.rglob("*.wav"))
    assert [name for name, _ in read_waves(files, 1)] == ["music_battle", "music_battle_2"]
