import pytest

from asid_core.learning import midi
from asid_core.learning.midi import Event, MidiError, Song


def song() -> Song:
    tracks = (
        (
            Event(0, 0xFF, b"\x51\x03" + (400_000).to_bytes(3, "big")),
            Event(0, 0xC0, b"\x21"),  # finger bass
            Event(0, 0x90, b"\x28\x64"),
            Event(240, 0x99, b"\x24\x64"),
            Event(240, 0x80, b"\x28\x00"),
            Event(0, 0xFF, b"\x2f\x00"),
        ),
        (
            Event(0, 0xC3, b"\x18"),
            Event(300, 0x93, b"\x40\x50"),
            Event(9, 0xB3, b"\x07\x40"),
            Event(0, 0xFF, b"\x2f\x00"),
        ),
    )
    return Song(1, 480, tracks)


def ticks(track: tuple[Event, ...]) -> list[tuple[int, int, bytes]]:
    at, out = 0, []
    for event in track:
        at += event.delta
        out.append((at, event.status, event.data))
    return out


def test_parsing_undoes_encoding_with_running_status() -> None:
    assert midi.parse(midi.encode(song())) == song()
    data = midi.encode(Song(0, 96, ((Event(0, 0x90, b"\x28\x64"), Event(200, 0x90, b"\x29\x64")),)))
    running = data.replace(b"\x81\x48\x90\x29\x64", b"\x81\x48\x29\x64").replace(
        b"\x00\x00\x00\x09", b"\x00\x00\x00\x08"
    )
    assert midi.parse(running) == midi.parse(data)


def test_channels_and_families() -> None:
    playing = midi.channels(song())
    assert playing == {0: 0x21, 9: 0, 3: 0x18}
    assert [midi.family(*item) for item in sorted(playing.items())] == ["bass", "guitar", "drums"]
    assert {midi.family(0, program) for program in range(128)} == set(midi.FAMILIES) - {"drums"}


def test_one_family_keeps_its_place_in_time() -> None:
    only = midi.arranged(song(), {9}, semitones=3, tempo=2.0, programs={0: 35})
    notes = [e for track in only.tracks for e in ticks(track) if e[1] & 0xF0 == 0x90]
    assert notes == [(240, 0x99, b"\x24\x64")]  # drums are not transposed
    bass = [e for track in midi.arranged(song(), {0}, semitones=3).tracks for e in ticks(track) if e[1] == 0x90]
    assert bass == [(0, 0x90, b"\x2b\x64")]
    tempos = [e.data for e in only.tracks[0] if e.data[:1] == b"\x51"]
    assert [int.from_bytes(t[2:], "big") for t in tempos] == [250_000, 200_000]
    assert [e.data for e in only.tracks[0] if e.status == 0xC0] == [bytes([35])]
    assert midi.parse(midi.encode(only)) == only


@pytest.mark.parametrize("cut", [0, 8, 20, 33, 50])
def test_damaged_files_are_refused_or_read_as_far_as_they_go(cut: int) -> None:
    data = midi.encode(song())[:cut]
    if cut < 33:
        with pytest.raises(MidiError):
            midi.parse(data)
    else:
        try:
            assert midi.parse(data).tracks
        except MidiError as error:
            assert str(error)
