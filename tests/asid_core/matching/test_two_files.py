"""Comparing two files without a catalogue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asid_core
from asid_core import identify
from asid_core.config import COHERENT
from asid_core.matching.two_files import TwoFiles
from asid_core.signal.decode import DecodeError
from jobs import cli
from jobs.compare import describe
from tests.conftest import write_audio
from tests.pipelines.catalogues import melody


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("two")
    old, user = melody(30.0, 1), melody(24.0, 3)
    user[32_000:160_000] = 0.3 * user[32_000:160_000] + old[64_000:192_000]
    for name, wave in {"old": old, "user": user, "other": melody(24.0, 9)}.items():
        write_audio(place / f"{name}.flac", wave[:, None], 16_000)
    return place


def test_a_sample_is_found_where_it_is(music: Path) -> None:
    found = identify(music / "user.flac", music / "old.flac")
    assert found and found.kind == "sample" and found.score > 0.5
    best = found.places[0]
    assert best.query_start_s == pytest.approx(2.0, abs=0.5) and best.reference_start_s == pytest.approx(4.0, abs=0.5)
    assert best.tempo_ratio == pytest.approx(1.0, abs=0.02) and found.query_s == pytest.approx(8.0, abs=1.0)
    assert best.coherence and best.coherence > COHERENT


def test_two_that_share_nothing(music: Path) -> None:
    assert identify(music / "other.flac", music / "old.flac") is None


def test_a_soft_copy_is_found_and_silence_is_named(music: Path) -> None:
    wave, _ = soundfile.read(music / "old.flac", dtype="float32", always_2d=True)
    soft = write_audio(music / "soft.flac", wave[64_000:320_000] * np.float32(0.005), 16_000)
    found = identify(soft, music / "old.flac")
    assert found and found.score > 0.9 and found.places[0].reference_start_s == pytest.approx(4.0, abs=0.3)
    silent = write_audio(music / "silent.flac", wave * 0, 16_000)
    with pytest.raises(DecodeError, match="silent.flac: silent"):
        identify(music / "old.flac", silent)


def test_the_verb(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(music / "user.flac"), str(music / "old.flac")]
    assert cli.main(["compare", *files]) == 0
    assert "score" in (said := capsys.readouterr().out) and "of A" in said
    assert cli.main(["compare", files[0], str(music / "none.flac")]) == 1


@pytest.mark.parametrize(
    ("probability", "said"), [(0.9, "A samples B: 90 %"), (0.29, "B samples A: 71 %"), (None, "of A")]
)
def test_the_summary_names_the_more_probable_direction(probability: float | None, said: str) -> None:
    assert describe(TwoFiles("sample", 0.8, probability, 9.0, 9.0, ())).endswith(said)


def test_what_takes_long_to_import_is_not_imported(music: Path) -> None:
    slow = {"torch_geometric", "torch._dynamo", "ray", "lance", "lancedb", "sklearn"}
    code = "import asid_core, sys; asid_core.identify(*sys.argv[1:]); print(*sys.modules)"
    files = [music / "user.flac", music / "old.flac"]
    modules = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True).stdout
    assert slow & set(modules.split()) == set()


def test_the_package_offers_it_and_names_what_it_lacks(music: Path) -> None:
    offered = vars(asid_core)["__all__"]
    assert {getattr(asid_core, name).__name__ for name in offered} == set(offered)
    with pytest.raises(AttributeError, match="nothing"):
        asid_core.nothing  # type: ignore[attr-defined]  # noqa: B018
