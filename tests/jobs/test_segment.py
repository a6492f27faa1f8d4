"""`asid segment`: exit codes and summary lines. The tests of the pipeline check what it writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import cli, segment
from pipelines.ingest.segment import SegmentSummary

pytestmark = pytest.mark.ray


def test_segment_again_and_too_many_rejects(
    ray_session: Any, tmp_path: Path, audio: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        audio(f"corpus/{number}.wav", 4.0, seed=number)
    (tmp_path / "corpus" / "bad.mp3").write_text("no music")
    argv = ["segment", "--corpus", str(tmp_path / "corpus"), "--catalogue", str(tmp_path / "cat")]
    assert cli.main(argv) == 1
    captured = capsys.readouterr()
    assert (
        "asid segment: 25.0% of the files are rejects; --max-rejects allows 5.0%. To see why, run: asid rejects"
        in captured.err
    )
    assert captured.out.splitlines()[-1].startswith("3 tracks segmented, 1 reject (1 of them new); 0.00 h audio in ")

    assert cli.main([*argv, "--max-rejects", "0.25"]) == 0
    assert capsys.readouterr().out.startswith("no new tracks, 3 unchanged, 1 reject (0 of them new) in ")
    assert ray_session.is_initialized()  # asid stops only a Ray that it started

    assert cli.main([*argv, "--set", "segment.core_s=15.36"]) == 1
    assert "Add --set segment.core_s=30.72 --set segment.margin_s=6" in capsys.readouterr().err


def test_a_missing_or_empty_corpus_is_an_error(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["segment", "--corpus", str(tmp_path / "none"), "--catalogue", str(tmp_path / "cat")]
    assert cli.main(argv) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("asid segment: ") and "none" in error
    (tmp_path / "empty").mkdir()
    argv[2] = str(tmp_path / "empty")
    assert cli.main(argv) == 1
    assert "no recordings in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (SegmentSummary("r", tracks=2000), "2,000 tracks segmented"),
        (SegmentSummary("r", already=5, skipped={".txt": 2, "": 1}),
         "no new tracks, 5 unchanged, 3 other files skipped (2 .txt, 1 without extension)"),
        (SegmentSummary("r", refreshed=1, rejects=1, rejected_before=2),
         "no new tracks, 1 moved or retitled, 3 rejects (1 of them new)"),
    ],
)  # fmt: skip
def test_counts(summary: SegmentSummary, text: str) -> None:
    assert segment.counts(summary) == text
