"""Renderings of MIDI files with several sound fonts: the same notes, played by other instruments."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asid_core.synthetic import music_files
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.music_files import WORK_RATE_HZ
from asid_core.synthetic.studio import NotInstalled

FLUID = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
TIMGM = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
MUSESCORE = Path("/usr/share/sounds/sf3/MuseScore_General.sf3")
PACKAGES = {FLUID: "fluid-soundfont-gm", TIMGM: "timgm6mb-soundfont", MUSESCORE: "musescore-general-soundfont"}
# MuseScore General began as a copy of FluidR3, and most of its notes are still the same recordings. Two renderings with
# these fonts do share recordings, so they are no example of music that only resembles other music.
UNRELATED = (FLUID, TIMGM)
RENDER_TIMEOUT_S = 300


def of_scores(
    folder: Path | str, fonts: Sequence[Path], seed: int, least_s: float
) -> Iterator[tuple[str, tuple[Wave, ...]]]:
    """Yield the name and the renderings, one for each font, of the MIDI files of `folder`, in random order.

    The renderings are waveforms [n] at WORK_RATE_HZ, cut at MAX_TRACK_S. Files that last less than `least_s` are left
    out, and so are further files of the same name. Raises NotInstalled if FluidSynth or a sound font is missing.
    """
    if shutil.which("fluidsynth") is None or not all(font.is_file() for font in fonts):
        raise NotInstalled(
            f"rendering MIDI needs FluidSynth and the sound fonts {', '.join(font.stem for font in fonts)}: "
            f"apt-get install fluidsynth {' '.join(PACKAGES[font] for font in fonts)}"
        )
    scores = sorted(Path(folder).rglob("*.mid"))
    known: set[str] = set()
    for index in np.random.default_rng([seed, 5]).permutation(len(scores)):
        name = scores[index].stem
        waves = () if name in known else tuple(rendered(scores[index], font) for font in fonts)
        if waves and min(map(len, waves)) >= least_s * WORK_RATE_HZ:
            known.add(name)
            yield name, waves


def rendered(score: Path, font: Path) -> Wave:
    """A rendering of a MIDI file, cut at MAX_TRACK_S; empty if it plays nothing."""
    with tempfile.TemporaryDirectory(prefix="asid-midi-") as folder:
        target = Path(folder) / "score.wav"
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(WORK_RATE_HZ), "-F", str(target)]
        subprocess.run([*command, str(font), str(score)], check=True, capture_output=True, timeout=RENDER_TIMEOUT_S)
        return next((wave for _, wave in music_files.read_waves([target], 1.0)), np.zeros(0, np.float32))
