"""Splits MIDI files by family of instruments, and changes their key, tempo and programs.

Copies all other events unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import mido

DRUM_CHANNEL = 9
FAMILIES = ("keys", "bass", "guitar", "strings", "winds", "synth", "drums")
# families of General MIDI's 16 groups of eight programs
_FAMILY_OF_GROUP = (
    ("keys", "keys", "keys", "guitar", "bass", "strings", "strings", "winds")
    + ("winds", "winds", "synth", "synth", "synth", "guitar", "keys", "synth")
)  # fmt: skip
DEFAULT_TEMPO = 500_000  # microseconds per quarter where no event sets it: 120 quarters per minute
MAX_TEMPO = 0xFFFFFF
FORMATS = (0, 1, 2)
NOTES = ("note_on", "note_off", "polytouch")


class MidiError(ValueError):
    """The data is not a MIDI file, or is damaged."""


def parse(data: bytes) -> mido.MidiFile:
    """Parse a MIDI file. Raises MidiError."""
    try:
        song = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except EOFError:
        raise MidiError("not a MIDI file, or it ends too early") from None
    except (OSError, ValueError, LookupError, mido.KeySignatureError) as error:  # what mido raises for damaged files
        raise MidiError(f"the MIDI file cannot be read: {error}") from None
    if song.type not in FORMATS:  # mido reads it, and cannot write it
        raise MidiError(f"the MIDI file has the unknown format {song.type}")
    if not song.tracks:
        raise MidiError("no tracks in the MIDI file")
    if song.ticks_per_beat <= 0:
        raise MidiError("MIDI files with SMPTE time are not supported")
    return song


def encode(song: mido.MidiFile) -> bytes:
    """The bytes of a MIDI file."""
    out = io.BytesIO()
    song.save(file=out)
    return out.getvalue()


def channels(song: mido.MidiFile) -> dict[int, int]:
    """Channel -> program used by most of its notes, for each channel that plays notes."""
    counts: dict[int, dict[int, int]] = {}
    for track in song.tracks:
        programs: dict[int, int] = {}
        for message in track:
            if message.type == "program_change":
                programs[message.channel] = message.program
            elif message.type == "note_on" and message.velocity:
                mine = counts.setdefault(message.channel, {})
                program = programs.get(message.channel, 0)
                mine[program] = mine.get(program, 0) + 1
    return {channel: max(mine, key=lambda p: mine[p]) for channel, mine in counts.items()}


def family(channel: int, program: int) -> str:
    """The family (one of FAMILIES) of a channel with a program."""
    return "drums" if channel == DRUM_CHANNEL else _FAMILY_OF_GROUP[program // 8]


def arranged(
    song: mido.MidiFile,
    keep: set[int],
    semitones: int = 0,
    tempo: float = 1.0,
    programs: Mapping[int, int] | None = None,
) -> mido.MidiFile:
    """The song with only the notes of channels `keep`, transposed (except drums), and `tempo` times as fast.

    programs: channel -> program to use instead. Other events are kept, so all parts of a song stay aligned.
    """
    programs = programs or {}
    form = song.type or int(len(song.tracks) > 1)  # files of type 0 have one track
    result = mido.MidiFile(type=form, ticks_per_beat=song.ticks_per_beat)
    for track in song.tracks:
        changed, waited = mido.MidiTrack(), 0
        for message in track:
            kept = _changed(message, keep, semitones, tempo, programs)
            waited += message.time
            if kept is not None:
                changed.append(kept.copy(time=waited))
                waited = 0
        result.tracks.append(changed)
    result.tracks[0][:0] = [
        mido.MetaMessage("set_tempo", tempo=round(DEFAULT_TEMPO / tempo)),
        *(mido.Message("program_change", channel=c, program=p) for c, p in sorted(programs.items())),
    ]
    return result


def _changed(
    message: mido.Message | mido.MetaMessage,
    keep: set[int],
    semitones: int,
    tempo: float,
    programs: Mapping[int, int],
) -> mido.Message | mido.MetaMessage | None:
    if message.type == "set_tempo":
        return message.copy(tempo=min(round(message.tempo / tempo), MAX_TEMPO))
    if message.type in NOTES:
        note = message.note + (0 if message.channel == DRUM_CHANNEL else semitones)
        return message.copy(note=note) if message.channel in keep and 0 <= note < 128 else None
    if message.type == "program_change" and message.channel in programs:
        return None  # set once, at the start
    return message
