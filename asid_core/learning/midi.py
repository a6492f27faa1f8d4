"""Standard MIDI files taken apart: one file a family of instruments, transposed, at another tempo, with other programs.

Only what that needs is understood; every other event is passed on as it is (Standard MIDI Files 1.0).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

DRUM_CHANNEL = 9
FAMILIES = ("keys", "bass", "guitar", "strings", "winds", "synth", "drums")
# General MIDI's 16 groups of eight programs
_FAMILY_OF_GROUP = (
    ("keys", "keys", "keys", "guitar", "bass", "strings", "strings", "winds")
    + ("winds", "winds", "synth", "synth", "synth", "guitar", "keys", "synth")
)  # fmt: skip


class MidiError(ValueError):
    """Not a MIDI file, or a damaged one."""


@dataclass(frozen=True)
class Event:
    """`delta` ticks after the one before: status byte (0xF0, 0xF7, 0xFF with their type for system ones) and data."""

    delta: int
    status: int
    data: bytes


@dataclass(frozen=True)
class Song:
    """A parsed file; `division` are its ticks a quarter."""

    format: int
    division: int
    tracks: tuple[tuple[Event, ...], ...]


def parse(data: bytes) -> Song:
    """Raises MidiError."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise MidiError("no MIDI file (MThd is missing)")
    length, form, _, division = struct.unpack(">IHHH", data[4:14])
    at, tracks = 8 + length, []
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack(">I", data[at + 4 : at + 8])[0]
        if kind == b"MTrk":
            try:
                tracks.append(_events(data[at + 8 : at + 8 + size]))
            except IndexError:
                raise MidiError("a track of the MIDI file ends in the middle of an event") from None
        at += 8 + size
    if not tracks or division & 0x8000:
        raise MidiError("no tracks in the MIDI file" if not tracks else "SMPTE time in a MIDI file is not known here")
    return Song(form, division, tuple(tracks))


def _events(data: bytes) -> tuple[Event, ...]:
    events, at, status = [], 0, 0
    while at < len(data):
        delta, at = _number(data, at)
        if data[at] & 0x80:
            status, at = data[at], at + 1
        if status in (0xF0, 0xF7, 0xFF):
            start = at
            size, at = _number(data, at + (status == 0xFF))
            at += size
            if at > len(data):
                raise IndexError
            events.append(Event(delta, status, data[start:at]))
            continue
        if not status & 0x80 or status > 0xEF:
            raise MidiError(f"a MIDI event of status {status:#x} that no file may have")
        size = 1 if status & 0xF0 in (0xC0, 0xD0) else 2
        data[at + size - 1]  # raises IndexError where it is not there
        events.append(Event(delta, status, data[at : at + size]))
        at += size
    return tuple(events)


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        byte, at = data[at], at + 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at


def _as_number(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | value & 0x7F)
    return bytes(reversed(out))


def encode(song: Song) -> bytes:
    """The file's bytes."""
    out = [b"MThd", struct.pack(">IHHH", 6, song.format, len(song.tracks), song.division)]
    for track in song.tracks:
        body = b"".join(_as_number(e.delta) + bytes([e.status]) + e.data for e in track)
        out += [b"MTrk", struct.pack(">I", len(body)), body]
    return b"".join(out)


def channels(song: Song) -> dict[int, int]:
    """Channels that play notes, with the program that most of their notes are played with."""
    counts: dict[int, dict[int, int]] = {}
    for track in song.tracks:
        programs: dict[int, int] = {}
        for event in track:
            channel = event.status & 0x0F
            if event.status & 0xF0 == 0xC0:
                programs[channel] = event.data[0]
            elif event.status & 0xF0 == 0x90 and event.data[1]:
                mine = counts.setdefault(channel, {})
                program = programs.get(channel, 0)
                mine[program] = mine.get(program, 0) + 1
    return {channel: max(mine, key=lambda p: mine[p]) for channel, mine in counts.items()}


def family(channel: int, program: int) -> str:
    """One of FAMILIES."""
    return "drums" if channel == DRUM_CHANNEL else _FAMILY_OF_GROUP[program // 8]


def arranged(
    song: Song, keep: set[int], semitones: int = 0, tempo: float = 1.0, programs: Mapping[int, int] | None = None
) -> Song:
    """The song with only the notes of channels `keep`, transposed (but drums), `tempo` times as fast, with `programs`.

    All other events stay, so what is made of one song is aligned.
    """
    programs = programs or {}
    start = [Event(0, 0xC0 | channel, bytes([program])) for channel, program in sorted(programs.items())]
    tracks = []
    for number, track in enumerate(song.tracks):
        out, waited = list(start) if number == 0 else [], 0
        for event in track:
            changed = _changed(event, keep, semitones, tempo, programs)
            waited += event.delta
            if changed is not None:
                out.append(Event(waited, changed.status, changed.data))
                waited = 0
        tracks.append(tuple(out))
    # the tempo that holds where no event sets one, 120 a minute, must be scaled too
    first = Event(0, 0xFF, b"\x51\x03" + round(500_000 / tempo).to_bytes(3, "big"))
    return Song(song.format, song.division, ((first, *tracks[0]), *tracks[1:]))


def _changed(event: Event, keep: set[int], semitones: int, tempo: float, programs: Mapping[int, int]) -> Event | None:
    kind, channel = event.status & 0xF0, event.status & 0x0F
    if event.status == 0xFF and event.data[:2] == b"\x51\x03":
        micros = min(round(int.from_bytes(event.data[2:5], "big") / tempo), 0xFFFFFF)
        return Event(event.delta, 0xFF, b"\x51\x03" + micros.to_bytes(3, "big"))
    if kind in (0x80, 0x90, 0xA0):
        if channel not in keep:
            return None
        note = event.data[0] + (0 if channel == DRUM_CHANNEL else semitones)
        return Event(event.delta, event.status, bytes([note, event.data[1]])) if 0 <= note < 128 else None
    if kind == 0xC0 and channel in programs:
        return None  # set once, at the start
    return event
