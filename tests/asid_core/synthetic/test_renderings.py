"""Sound fonts for music that resembles other music without sampling it."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from asid_core.synthetic import renderings
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.music_files import WORK_RATE_HZ
from asid_core.synthetic.studio import NotInstalled

INSTRUMENTS = (0, 24, 33, 40, 48, 56, 65, 73)  # piano, guitar, bass, violin, strings, trumpet, saxophone, flute
NOTE_S = 1.0
INSTALLED = shutil.which("fluidsynth") and all(font.is_file() for font in renderings.PACKAGES)


def score(path: Path) -> Path:
    """A MIDI file in which each of INSTRUMENTS plays middle C for NOTE_S. A second has 960 ticks."""
    second = b"\x87\x40"  # 960 ticks later
    events = b"".join(
        bytes([0, 0xC0, program, 0, 0x90, 60, 100]) + second + bytes([0x80, 60, 0]) for program in INSTRUMENTS
    )
    track = events + second + b"\xff\x2f\x00"
    path.write_bytes(struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, 480, b"MTrk", len(track)) + track)
    return path


def likeness(one: Wave, other: Wave) -> float:
    """The median over INSTRUMENTS of the greatest normalised cross-correlation of the first half second."""
    peaks = []
    for number in range(len(INSTRUMENTS)):
        first = round(number * NOTE_S * WORK_RATE_HZ)
        a, b = (wave[first : first + WORK_RATE_HZ // 2] for wave in (one, other))
        spectra = [np.fft.rfft(part, 2 * len(part)) for part in (a, b)]
        correlation = np.fft.irfft(spectra[0] * spectra[1].conj())
        peaks.append(np.abs(correlation).max() / (np.linalg.norm(a) * np.linalg.norm(b)))
    return float(np.median(peaks))


@pytest.mark.skipif(not INSTALLED, reason="needs FluidSynth and the sound fonts")
def test_notes_of_unrelated_fonts_are_other_recordings(tmp_path: Path) -> None:
    path = score(tmp_path / "notes.mid")
    fluid, timgm, musescore = (
        renderings.rendered(path, font) for font in (renderings.FLUID, renderings.TIMGM, renderings.MUSESCORE)
    )
    assert likeness(fluid, timgm) < 0.6
    assert likeness(fluid, musescore) > 0.8  # which is why these two are not UNRELATED


def test_without_the_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match="apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont"):
        next(renderings.of_scores(tmp_path, renderings.UNRELATED, 0, 1.0))


def test_files_of_one_name_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        score(tmp_path / folder / "theme.mid")
    score(tmp_path / "short.mid")
    monkeypatch.setattr(renderings.shutil, "which", lambda _: "fluidsynth")
    monkeypatch.setattr(renderings, "rendered", lambda path, _: np.zeros(WORK_RATE_HZ * (1 + (path.stem == "theme"))))
    made = list(renderings.of_scores(tmp_path, (tmp_path / "short.mid", tmp_path / "short.mid"), 0, 2.0))
    assert [name for name, _ in made] == ["theme"]
