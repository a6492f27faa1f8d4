import numpy as np
import pytest

from asid_core.signal.decibels import level_db
from asid_core.synthetic import effects

RATE = 22_050


def tone(frequency_hz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def loudest_hz(wave: np.ndarray) -> float:
    padded = np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18)
    return float(np.argmax(np.abs(padded)) * RATE / (1 << 18))


@pytest.mark.parametrize(("tempo", "semitones"), [(1.3, 0.0), (0.78, 0.0), (1.0, 3.0), (1.0, -3.0), (1.21, -1.37)])
def test_stretch_changes_length_and_shift_changes_pitch_independently(tempo: float, semitones: float) -> None:
    out = effects.stretch_and_shift(tone(440.0), tempo, semitones)
    assert len(out) == round(2 * RATE / tempo)
    middle = out[len(out) // 4 : -len(out) // 4]
    cents = 1200 * np.log2(loudest_hz(middle) / (440.0 * 2 ** (semitones / 12)))
    assert abs(cents) < 3


@pytest.mark.parametrize(("tempo", "semitones"), [(1.3, 2.0), (0.78, -3.0), (1.1, 0.0)])
def test_events_stay_on_the_line_the_truth_states(tempo: float, semitones: float) -> None:
    rng = np.random.default_rng(0)
    wave = np.zeros(6 * RATE, np.float32)
    hits_s = np.array([1.0, 2.5, 4.0, 5.5])
    for hit in hits_s:
        at = int(hit * RATE)
        wave[at : at + 800] += rng.standard_normal(800).astype(np.float32) * np.exp(-np.arange(800) / 200)
    out = effects.stretch_and_shift(wave, tempo, semitones)
    for hit in hits_s:  # t_reference = tempo_ratio * t_query
        expected = int(hit / tempo * RATE)
        around = out[expected - 4000 : expected + 4000] ** 2
        centre = float((np.arange(len(around)) * around).sum() / around.sum()) - 4000
        assert abs(centre / RATE) < 0.03


def test_stretch_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="tempo_ratio"):
        effects.stretch_and_shift(tone(440), 0.0, 0.0)
    with pytest.raises(ValueError, match="samples"):
        effects.stretch_and_shift(np.zeros(0, np.float32), 1.0, 0.0)


@pytest.mark.parametrize(("kind", "kept", "lost"), [("low_pass", 300, 6000), ("high_pass", 6000, 100)])
def test_filters_keep_one_side(kind: str, kept: float, lost: float) -> None:
    through = level_db(effects.filtered(tone(kept), kind, 1000, 0, RATE)) - level_db(tone(kept))
    stopped = level_db(effects.filtered(tone(lost), kind, 1000, 0, RATE)) - level_db(tone(lost))
    assert through > -1 and stopped < -30


def test_shelves_add_their_gain_and_unknown_filters_are_refused() -> None:
    change = level_db(effects.filtered(tone(60), "bass", 500, 6, RATE)) - level_db(tone(60))
    assert change == pytest.approx(6, abs=0.5)
    with pytest.raises(ValueError, match="unknown filter 'comb'"):
        effects.filtered(tone(60), "comb", 500, 6, RATE)


def test_compression_narrows_the_range_and_reverb_rings_on() -> None:
    wave = tone(440) * np.repeat([1.0, 0.1], RATE).astype(np.float32)
    out = effects.compressed(wave, -6, 4, RATE)

    def loud_to_soft(x: np.ndarray) -> float:
        return level_db(x[1000:20000]) - level_db(x[RATE + 2000 :])

    assert loud_to_soft(out) < loud_to_soft(wave) - 3
    burst = np.zeros(RATE, np.float32)
    burst[:2000] = tone(440)[:2000]
    wet = effects.reverberated(burst, 0.5, 0.5, RATE, np.random.default_rng(0))
    assert len(wet) == len(burst) and level_db(wet[3000:6000]) > level_db(burst) - 40
    assert level_db(wet[-2000:]) < -90


def test_fades_end_in_silence() -> None:
    faded = effects.faded(np.ones(1000, np.float32), RATE)
    assert faded[0] == 0 == faded[-1] and faded[500] == 1
