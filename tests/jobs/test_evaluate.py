"""`asid evaluate` on synthetic music laid out like Sample100-ext, with a distractor and a missing file."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asid_core.config import Config
from jobs import cli, evaluate
from jobs.command import DONE, FAILED, Session
from pipelines.fingerprint.embed import embed
from tests.asid_core.evaluation.test_sample100 import span, write_set
from tests.pipelines.catalogues import LINEAR, make_catalogue, melody, save_model

RATE = 16_000
# T001 plays 8 s of T002 twice; its annotation lists absences instead, with T002 between them. T003 plays 6 s of T004.
# T003 is no reference, T006 is a distractor, T007 is missing.
PLACES = {"T001": ((2.0, "T002", 4.0, 8.0), (20.0, "T002", 4.0, 8.0)), "T003": ((5.0, "T004", 1.0, 6.0),)}


def music() -> dict[str, np.ndarray]:
    waveforms = {f"disc/T{n:03d}.wav": melody(30.0, n) for n in range(1, 7)}
    for query, places in PLACES.items():
        for at, reference, start, length in places:
            part = waveforms[f"disc/{reference}.wav"][round(start * RATE) : round((start + length) * RATE)]
            first = round(at * RATE)
            waveforms[f"disc/{query}.wav"][first : first + len(part)] = part
    return waveforms


def spans(*ends: tuple[float, float], **kind: str) -> list[dict[str, object]]:
    return [span(start, end, 1, **kind) for start, end in ends]


def write_annotations(folder: Path) -> None:
    samples = (
        "S001,T002,T001,4,2,2,1.0,drums,,beat,no,\n"
        "S002,T004,T003,1,5,1,1.0,bass,,riff,no,\n"
        "S003,T004,T007,1,5,60,1.1,bass,,riff,maybe,\n"
    )
    files = {
        "S001": (spans((0.0, 2.0), (10.0, 20.0), (28.0, 30.0), type="absence"), spans((4.0, 12.0))),
        "S002": (spans((5.0, 11.0)), spans((1.0, 7.0))),
        "S003": (spans((5.0, 30.0)), spans((1.0, 7.0))),
    }
    write_set(folder, samples, "track_id,artist,title,year,genre\nT001,A,B,1994,Hip-hop\n", files)
    theirs = [
        {"sample_id": "S001", "query_file": "T001", "ref_file": "T002", "start_time": start, "end_time": start + length}
        for start, length in ((2.0, 8.0), (20.0, 8.0), (2.0, 8.0), (20.0, 0.5))
    ]
    (folder / "authors").mkdir()
    (folder / "authors" / "sample100_query_index.json").write_text(json.dumps(theirs))


@pytest.mark.ray
def test_whole_tracks_and_clips_of_annotated_places(
    ray_session: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_annotations(tmp_path / "annotated")
    weights = save_model(LINEAR, tmp_path / "w")
    embed(make_catalogue(str(tmp_path / "c"), music()), LINEAR, weights)
    output = tmp_path / "figures.json"
    argv = ["evaluate", "--annotations", str(tmp_path / "annotated"), "--catalogue", str(tmp_path / "c")]
    assert cli.main([*argv, "--weights", weights, "--output", str(output)]) == DONE
    printed = capsys.readouterr().out
    assert "not in the catalogue, counted as not found: T007\n" in printed
    results = json.loads(output.read_text())
    assert (results["missing"], results["annotated"]) == (["T007"], 5)
    assert results["reports"]["strict"]["per_query"]["map"] == {"T001": 1.0, "T003": 1.0, "T007": 0.0}

    figures = {(r["protocol"], r["length_s"]): r for r in results["occurrences"]}
    # strict: at 5 s two clips of T001 and one of T003, then only T001's; the missing track counts at every length
    assert {key[1]: r["cuts"] for key, r in figures.items() if key[0] == "strict"} == {5: 4, 7: 3, 10: 1, 15: 1, 20: 1}
    assert figures["strict", 5]["figures"]["hit_at_1"]["value"] == pytest.approx(3 / 4)
    assert figures["strict", 7]["figures"]["hit_at_1"]["value"] == pytest.approx(2 / 3)
    assert figures["strict", 20]["figures"]["hit_at_10"]["value"] == 0
    by_type = {kind: f["hit_at_1"]["value"] for kind, f in figures["strict", 5]["groups"]["type"].items()}
    assert by_type == {"beat": 1.0, "riff": 0.5}
    by_count = {kind: f["hit_at_1"]["value"] for kind, f in figures["strict", 5]["groups"]["occurrences"].items()}
    assert by_count == {"1-9": 1.0, "50 and more": 0.0}
    # paper: a place that is listed twice counts twice, a span under 1 s does not count
    assert {key[1]: r["cuts"] for key, r in figures.items() if key[0] == "paper"} == {5: 3, 7: 3}
    assert figures["paper", 7]["figures"]["hit_at_1"]["value"] == 1.0
    assert "| strict | 5 | 4 | 3 | 0.750 [0.000, 1.000]" in printed and "| interpolation, HR@1 | 5 s | 7 s" in printed


@pytest.mark.parametrize(("missing", "allowed", "code"), [(5, False, DONE), (6, False, FAILED), (6, True, DONE)])
def test_evaluation_fails_if_most_of_the_annotated_tracks_are_missing(
    missing: int, allowed: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(argparse.Namespace(allow_missing=allowed), Config(), lambda event: None)
    assert evaluate.exit_code(session, missing, 10) == code
    assert ("6 of 10 annotated tracks are not in the catalogue" in capsys.readouterr().err) == (code == FAILED)
