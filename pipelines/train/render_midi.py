"""MIDI of a band -> aligned stems, rendered with FluidSynth; each family of instruments is rendered separately."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.learning import midi
from asid_core.signal.decode import DecodeError, decode
from asid_core.signal.pcm import to_pcm

SOUND_FONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/default-GM.sf2")
TIMEOUT_S = 300
MAX_SECONDS = 600  # longer renderings are cut off; some MIDI files loop for an hour
SEMITONES, TEMPO = 5, (0.8, 1.25)


class RenderError(OSError):
    """FluidSynth or its sound font is missing. The message names the packages to install."""


def sound_font() -> str:
    """Path of a General MIDI sound font. Raises RenderError if there is none or FluidSynth is not installed."""
    fonts = [os.environ["ASID_SOUND_FONT"]] if "ASID_SOUND_FONT" in os.environ else list(SOUND_FONTS)
    path = next((font for font in fonts if os.path.isfile(font)), None)
    if shutil.which("fluidsynth") is None or path is None:
        raise RenderError(
            "rendering MIDI needs FluidSynth and a sound font: apt-get install fluidsynth fluid-soundfont-gm "
            "(or set ASID_SOUND_FONT to a .sf2 file)"
        )
    return path


def render(data: bytes, seed: str) -> dict[str, np.ndarray]:
    """Render a MIDI file to stems: family (midi.FAMILIES) -> aligned int16 [n] at 16 kHz.

    With an empty `seed`, the file is rendered as written. Any other seed draws a transposition, a tempo, and other
    programs of the same families. Raises DecodeError for a bad file, RenderError if FluidSynth is missing.
    """
    font = sound_font()
    try:
        song = midi.parse(data)
    except midi.MidiError as error:
        raise DecodeError("not_midi", str(error)) from None
    playing = midi.channels(song)
    semitones, tempo, programs = _variation(playing, seed)
    families: dict[str, set[int]] = {}
    for channel, program in playing.items():
        families.setdefault(midi.family(channel, program), set()).add(channel)
    if not families:
        raise DecodeError("silent", "the MIDI file plays no notes")
    return {
        name: _synthesise(midi.encode(midi.arranged(song, keep, semitones, tempo, programs)), font)
        for name, keep in sorted(families.items())
    }


def _variation(playing: dict[int, int], seed: str) -> tuple[int, float, dict[int, int]]:
    if not seed:
        return 0, 1.0, {}
    draw = np.random.default_rng(list(hashlib.blake2b(seed.encode(), digest_size=8).digest()))
    semitones = int(draw.integers(-SEMITONES, SEMITONES + 1))
    tempo = float(np.exp(draw.uniform(*np.log(TEMPO))))
    programs = {
        channel: program // 8 * 8 + int(draw.integers(8))
        for channel, program in sorted(playing.items())
        if channel != midi.DRUM_CHANNEL
    }
    return semitones, tempo, programs


def _synthesise(data: bytes, font: str) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="asid-midi-") as folder:
        source, target = Path(folder) / "song.mid", Path(folder) / "song.wav"
        source.write_bytes(data)
        options = ["-ni", "-q", "-g", "0.4", "-r", str(SAMPLE_RATE_HZ), "-F", str(target)]
        try:
            done = subprocess.run(
                ["fluidsynth", *options, font, str(source)], capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise DecodeError("too_long", f"FluidSynth did not end within {TIMEOUT_S} s") from None
        if done.returncode or not target.is_file():
            raise DecodeError("not_midi", f"FluidSynth failed: {done.stderr.decode(errors='replace').strip()[-200:]}")
        return to_pcm(np.concatenate(list(decode(str(target)))))[: MAX_SECONDS * SAMPLE_RATE_HZ]
