import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mido import Message, MetaMessage

from asid_core.learning import midi
from asid_core.learning.midi import MidiError


def song() -> mido.MidiFile:
    first = [
        MetaMessage("set_tempo", tempo=400_000),
        Message("program_change", program=0x21),  # finger bass
        Message("note_on", note=40, velocity=100),
        Message("note_on", channel=9, note=36, velocity=100, time=240),
        Message("note_off", note=40, velocity=0, time=240),
        MetaMessage("end_of_track"),
    ]
    second = [
        Message("program_change", channel=3, program=0x18),
        Message("note_on", channel=3, note=64, velocity=80, time=300),
        Message("control_change", channel=3, control=7, value=64, time=9),
        MetaMessage("end_of_track"),
    ]
    return mido.MidiFile(ticks_per_beat=480, tracks=[mido.MidiTrack(first), mido.MidiTrack(second)])


def notes(of: mido.MidiFile, channel: int) -> list[tuple[int, int]]:
    """The onsets: (tick, note)."""
    found = []
    for track in of.tracks:
        at = 0
        for message in track:
            at += message.time
            if message.type == "note_on" and message.channel == channel:
                found.append((at, message.note))
    return found


def test_channels_and_families() -> None:
    playing = midi.channels(song())
    assert playing == {0: 0x21, 9: 0, 3: 0x18}
    assert [midi.family(*item) for item in sorted(playing.items())] == ["bass", "guitar", "drums"]
    assert {midi.family(0, program) for program in range(128)} == set(midi.FAMILIES) - {"drums"}


def test_one_family_keeps_its_place_in_time() -> None:
    only = midi.parse(midi.encode(midi.arranged(song(), {9}, semitones=3, tempo=2.0, programs={0: 35})))
    assert notes(only, 9) == [(240, 36)]  # drums are not transposed
    assert notes(only, 0) == notes(only, 3) == []
    assert [m.tempo for m in only.tracks[0] if m.type == "set_tempo"] == [250_000, 200_000]
    assert [m.program for m in only.tracks[0] if m.type == "program_change"] == [35]
    assert notes(midi.arranged(song(), {0}, semitones=3), 0) == [(0, 43)]


def test_a_note_that_would_leave_the_range_is_left_out() -> None:
    assert notes(midi.arranged(song(), {0}, semitones=100), 0) == []


def test_a_file_of_type_0_with_several_tracks_can_be_arranged() -> None:
    data = bytearray(midi.encode(song()))
    data[8:10] = b"\x00\x00"
    only = midi.arranged(midi.parse(bytes(data)), {3})
    assert notes(midi.parse(midi.encode(only)), 3) == [(300, 64)]


def test_time_code_instead_of_beats_is_refused() -> None:
    data = bytearray(midi.encode(song()))
    data[12:14] = b"\xe7\x28"  # 25 frames of 40 parts
    with pytest.raises(MidiError, match="SMPTE"):
        midi.parse(bytes(data))


@given(cut=st.integers(0, 90), at=st.integers(0, 90), value=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read(cut: int, at: int, value: int) -> None:
    data = bytearray(midi.encode(song()))
    data[at : at + 1] = bytes([value])
    try:
        midi.encode(midi.arranged(midi.parse(bytes(data[:cut])), {0, 3}))
    except MidiError as error:
        assert str(error)


@pytest.mark.parametrize("data", [b"", b"MThd", b"RIFF" + bytes(40)])
def test_what_is_no_midi_file_is_refused(data: bytes) -> None:
    with pytest.raises(MidiError):
        midi.parse(data)
