from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asid_core.config import SegmentConfig
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal import level as level_module
from asid_core.signal.decode import DecodeError, open_native
from asid_core.signal.level import SOFT_DB, Level, levelled, read_levelled
from tests.conftest import write_audio
from tests.pipelines.catalogues import melody


def raised(path: Path) -> np.ndarray:
    return read_levelled(str(path), SegmentConfig())


def level_of(path: str) -> Level:
    with levelled(path) as (level, _):
        return level


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def write(path: Path, music: np.ndarray, gain_db: float) -> Path:
    return write_audio(path, (music * 10 ** ((gain_db - level_db(music)) / 20))[:, None], 16_000)


@pytest.mark.parametrize("gain_db", [-69.0, -55.0, -40.0])
def test_a_soft_copy_has_the_fingerprints_of_the_recording(tmp_path: Path, gain_db: float) -> None:
    music = melody(12.0, 1)
    loud, soft = write(tmp_path / "loud.flac", music, -22.0), write(tmp_path / "soft.flac", music, gain_db)
    found = raised(soft)
    assert level_db(found) == pytest.approx(SOFT_DB, abs=0.2)
    assert level_of(str(soft)).db == pytest.approx(gain_db, abs=0.3)
    model = Fingerprinter.from_pretrained("discriminant")
    one, other = (model.fingerprint(torch.from_numpy(wave)).vectors for wave in (raised(loud), found))
    assert float((one * other).sum(1).mean()) > 0.85


@pytest.mark.parametrize("gain_db", [-34.0, -12.0])
def test_others_stay_as_they_are(tmp_path: Path, gain_db: float) -> None:
    path = write(tmp_path / "a.wav", melody(5.0, 2), gain_db)
    assert level_of(str(path)).gain_db == 0


def test_a_loud_passage_is_not_clipped_and_a_click_does_not_count(tmp_path: Path) -> None:
    music = melody(20.0, 3)
    passage = np.where(np.arange(len(music)) < 1600, music * 0.5 / np.abs(music).max(), music * 1e-4)
    assert level_of(str(write_audio(tmp_path / "p.wav", passage[:, None].astype(np.float32), 16_000))).gain_db <= 6.1
    click = music * 10 ** ((-60 - level_db(music)) / 20)
    click[1000] = 0.99
    assert level_of(str(write_audio(tmp_path / "c.wav", click[:, None].astype(np.float32), 16_000))).gain_db > 15


def test_what_cannot_be_raised_enough_is_refused(tmp_path: Path) -> None:
    for gain_db, refused in ((-69.0, False), (-71.0, True)):
        level = level_of(str(write(tmp_path / "a.wav", melody(5.0, 2), gain_db)))
        if refused:
            with pytest.raises(DecodeError, match="silent"):
                level.judge(SegmentConfig())
        else:
            level.judge(SegmentConfig())


@pytest.mark.parametrize(("gain_db", "times"), [(-20.0, 1), (-50.0, 2)])
def test_only_a_soft_file_is_decoded_twice(
    tmp_path: Path, gain_db: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.flac", melody(5.0, 2), gain_db)
    opened: list[str] = []

    def noted(path: str) -> Any:
        opened.append(path)
        return open_native(path)

    monkeypatch.setattr(level_module, "open_native", noted)
    assert len(read_levelled(str(path), SegmentConfig())) == 80_000
    assert len(opened) == times


def test_what_is_there_of_a_file_that_is_cut_off_comes_before_the_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", melody(20.0, 2), -20.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with levelled(str(path)) as (level, blocks):
        got: list[np.ndarray] = []
        with pytest.raises(DecodeError, match="truncated"):
            got.extend(blocks)
    assert 0 < sum(map(len, got)) == level.samples < 320_000
