"""From a folder of tagged files to the closing table: one line per relation, with the right direction and names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from mutagen.flac import FLAC

from asid_core.synthetic.demo_music import compose
from asid_core.synthetic.effects import stretch_and_shift
from asid_core.synthetic.instruments import RATE_HZ
from jobs import cli

Wave = npt.NDArray[np.float32]
SAMPLE_S, LOOP_S = 8.0, 8.0
STARTS = (5.0, 18.0, 33.0)  # of the sample in the track that samples
TAGS = {  # by file: title, artist, year
    "1/01.flac": ("The Source", "The Olds", 1971),
    "1/02.flac": ("Takes It Three Times", "MC Young", 1994),
    "2/a.flac": ("Loop One", "Ann", 2001),
    "2/b.flac": ("Loop Two", "Ben", 2004),
    "2/c.flac": ("Loop Three", "Cem", 2008),
}


def mixed(into: Wave, sample: Wave, at_s: float) -> None:
    """Mix a sample into quieter music."""
    start = round(at_s * RATE_HZ)
    stop = min(len(into), start + len(sample))
    into[start:stop] = 0.4 * into[start:stop] + sample[: stop - start]


def score(line: str) -> float:
    return float(line.split()[0])


def folder_of_music(folder: Path) -> None:
    rng = np.random.default_rng(7)
    tracks = {name: compose(i, 48.0, rng) for i, name in enumerate([*TAGS, *(f"3/{k}.flac" for k in range(8))])}
    source = tracks["1/01.flac"][round(12 * RATE_HZ) : round((12 + SAMPLE_S) * RATE_HZ)]
    for at_s, (tempo, semitones) in zip(STARTS, [(1.0, 0.0), (1.1, 0.0), (1.0, 2.0)], strict=True):
        mixed(tracks["1/02.flac"], stretch_and_shift(source, tempo, semitones), at_s)
    loop = compose(40, 48.0, rng)[: round(LOOP_S * RATE_HZ)]
    for name, at_s in {"2/a.flac": 4.0, "2/b.flac": 20.0, "2/c.flac": 30.0}.items():
        mixed(tracks[name], loop, at_s)
    for name, wave in tracks.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave / max(1.0, float(np.abs(wave).max())), RATE_HZ)
        if name in TAGS:
            tags = FLAC(path)
            tags["title"], tags["artist"], tags["date"] = TAGS[name][0], TAGS[name][1], str(TAGS[name][2])
            tags.save()


@pytest.mark.slow
@pytest.mark.ray
def test_one_line_per_relation_in_the_right_direction_with_the_right_names(
    tmp_path: Path, ray_session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of_music(tmp_path / "music")
    assert cli.main(["run", "--corpus", str(tmp_path / "music"), "--catalogue", str(tmp_path / "cat")]) == 0
    text = capsys.readouterr().out
    print(text)
    lines = [line for line in text.splitlines() if re.match(r" *[01]\.\d\d ", line)]
    assert all(len(line) <= 80 for line in lines)
    # of pieces that one generator composed, two may look alike: such a chance match is less sure
    lines, chance = lines[:4], lines[4:]
    assert min(map(score, lines)) >= 0.95 > max(map(score, chance), default=0.0)
    (line,) = [line for line in lines if "The Old" in line]
    assert re.search(r"MC Young.*e Times +The Old.*Source +3 ", line) and line.endswith("by year")
    loops = {tuple(re.findall("Loop (?:One|Two|Three)", line)) for line in lines} - {()}
    assert loops == {("Loop Two", "Loop One"), ("Loop Three", "Loop One"), ("Loop Three", "Loop Two")}
    assert re.search("3 tracks share one source: Ann - Loop One", text)
