"""A sweep finds a passage of one track in another, resumes after being killed, and does nothing when repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from asid_core.config import COHERENT, SAMPLE_RATE_HZ, Config, ProbesConfig, ScoreConfig, SearchConfig
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.schema import DETECTIONS
from asid_core.signal.pcm import from_pcm, to_pcm
from asid_core.signal.windows import level_db, padded_to_window, window_starts
from pipelines.fingerprint.embed import embed
from pipelines.ingest import segment as segmentation
from pipelines.search.features import HeardReferences, SpanFeatures, features_of
from pipelines.search.identify import Identifier
from pipelines.search.query import query
from pipelines.search.sweep import sweep
from pipelines.search.sweep_plan import find_references
from pipelines.store import detections, fingerprints
from pipelines.store.audio import segments_of_tracks
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.files import read_json
from tests.conftest import write_audio
from tests.pipelines.catalogues import GNN, LINEAR, make_catalogue, melody, newest_sweep, save_model
from tests.pipelines.ingest.test_segment import snapshot

pytestmark = pytest.mark.ray
# a threshold of 0: noise is found as well, so that there is something to compare
PROBED = replace(
    LINEAR,
    probes=ProbesConfig((-1.0, 0.0, 1.0), (1.0,), 0.4),
    search=SearchConfig(hits_per_window=10, shard_tracks=1),
    score=ScoreConfig(threshold=0.0),
)


def music() -> dict[str, np.ndarray]:
    """Six tracks. From second 3, `user` plays seconds 4 to 10 of `source`."""
    waveforms = {f"other {n}": melody(9.0 + n, n) for n in range(4)}
    waveforms["source"], waveforms["user"] = melody(14.0, 10), melody(12.0, 11)
    waveforms["user"][48_000:144_000] = 0.2 * waveforms["user"][48_000:144_000] + waveforms["source"][64_000:160_000]
    return waveforms


@pytest.fixture(scope="module")
def embedded(ray_session: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A catalogue with fingerprints, to be copied by tests, and the weights."""
    folder = tmp_path_factory.mktemp("embedded")
    weights = save_model(LINEAR, folder / "w")
    embed(make_catalogue(str(folder / "c"), music()), LINEAR, weights)
    return folder / "c", weights


@pytest.fixture()
def catalogue(embedded: tuple[Path, str], tmp_path: Path) -> Catalogue:
    import shutil

    shutil.copytree(embedded[0], tmp_path / "c")
    return Catalogue(str(tmp_path / "c"))


def rows(catalogue: Catalogue, sweep_id: str) -> list[dict[str, Any]]:
    detected = detections.detections(catalogue, sweep_id).to_pylist()
    return sorted(
        ({k: v for k, v in row.items() if k != "sweep_id"} for row in detected),
        key=lambda row: [str(row[k]) for k in ("query_id", "reference_id", "query_start_s", "reference_start_s")],
    )


def test_a_sweep_finds_the_sample_and_a_second_one_does_nothing(
    catalogue: Catalogue, embedded: tuple[Path, str], tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    assert newest_sweep(catalogue) is None
    summary = sweep(catalogue, PROBED, embedded[1], min_score=0.0, progress=events.append)
    audio_s = sum(len(wave) for wave in music().values()) / 16_000
    assert events[-1] == {"stage": "sweep", "done": 6, "total": 6, "audio_s": pytest.approx(audio_s)}
    assert (summary.queries, summary.references, summary.shards) == (6, 6, 6)
    assert summary.detections.schema == DETECTIONS
    detected = summary.detections.to_pylist()
    assert all(row["query_id"] != row["reference_id"] for row in detected)
    best = max((row for row in detected if row["query_id"] == "user"), key=lambda row: row["score"])
    assert (best["reference_id"], best["rank"]) == ("source", 1)
    assert (best["pitch_semitones"], best["tempo_ratio"]) == (pytest.approx(0, abs=0.3), pytest.approx(1, abs=0.03))
    assert 0.5 <= best["direction"] <= 1
    assert best["coherence"] > COHERENT  # the very waveform, with other music below it
    pairs = {(row["query_id"], row["reference_id"]) for row in detected}
    assert not any((reference, query) in pairs for query, reference in pairs)  # compared once
    both = {(row["query_id"], row["reference_id"]) for row in summary.of_all_queries.to_pylist()}
    assert both == pairs | {(reference, query) for query, reference in pairs}
    spans = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")
    assert [best[name] for name in spans] == pytest.approx([3, 9, 4, 10], abs=0.5)
    for name in {row["query_id"] for row in detected}:
        ranked = sorted((row for row in detected if row["query_id"] == name), key=lambda row: -row["score"])
        order = list(dict.fromkeys(row["reference_id"] for row in ranked))
        assert [row["rank"] for row in ranked] == [order.index(row["reference_id"]) + 1 for row in ranked]
    assert newest_sweep(catalogue) == summary.sweep_id
    before = snapshot(tmp_path / "c")
    again = sweep(catalogue, PROBED, embedded[1], min_score=best["score"] - 1e-6)
    assert (again.sweep_id, again.shards) == (summary.sweep_id, 0)
    assert str(again).startswith("nothing new to sweep")
    assert again.detections.num_rows < len(detected)
    assert min(again.detections["score"].to_pylist()) >= best["score"] - 1e-6
    assert snapshot(tmp_path / "c") == before


def test_a_sweep_by_votes_finds_the_sample_too(catalogue: Catalogue, embedded: tuple[Path, str]) -> None:
    by_votes = replace(PROBED, search=replace(PROBED.search, exact_below_rows=1))
    exact, voted = (sweep(catalogue, config, embedded[1], min_score=0.0) for config in (PROBED, by_votes))
    assert voted.sweep_id != exact.sweep_id
    found = [
        max((row for row in summary.detections.to_pylist() if row["query_id"] == "user"), key=lambda row: row["score"])
        for summary in (exact, voted)
    ]
    assert [row["reference_id"] for row in found] == ["source"] * 2
    for name in ("query_start_s", "query_end_s", "reference_start_s", "pitch_semitones", "tempo_ratio"):
        assert found[0][name] == pytest.approx(found[1][name], abs=0.1)
    assert sweep(catalogue, by_votes, embedded[1]).shards == 0
    pairs = {(row["query_id"], row["reference_id"]) for row in voted.detections.to_pylist()}
    assert not any((reference, query) in pairs for query, reference in pairs)


def test_a_sweep_goes_on_as_it_was_begun_and_serves_as_one_of_the_other_kind(
    catalogue: Catalogue, embedded: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings compare every row on one machine and take votes on another."""
    exact = sweep(catalogue, PROBED, embedded[1], queries="user")
    monkeypatch.setattr("pipelines.search.sweep_plan.takes_votes", lambda *_: True)
    assert sweep(catalogue, PROBED, embedded[1], queries="user").sweep_id == exact.sweep_id
    detections.folder(catalogue, exact.sweep_id).join(detections.HEAD).delete()  # as if it had been killed
    detections.part(catalogue, exact.sweep_id, 0).delete()
    again = sweep(catalogue, PROBED, embedded[1], queries="user")
    assert (again.sweep_id, again.shards) == (exact.sweep_id, 1)
    assert read_json(detections.folder(catalogue, exact.sweep_id).join(detections.HEAD))["votes"] is False
    others = sweep(catalogue, PROBED, embedded[1], queries="source")
    assert read_json(detections.folder(catalogue, others.sweep_id).join(detections.HEAD))["votes"] is True


def test_few_new_tracks_are_compared_with_every_row_after_a_sweep_by_votes(
    catalogue: Catalogue, embedded: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.search.sweep_plan.takes_votes", lambda *_: True)
    whole = sweep(catalogue, PROBED, embedded[1])
    assert read_json(detections.folder(catalogue, whole.sweep_id).join(detections.HEAD))["votes"] is True
    write_audio(tmp_path / "corpus" / "new.wav", music()["source"][:, None], 16_000)
    segmentation.segment(str(tmp_path / "corpus"), catalogue, PROBED)
    embed(catalogue, PROBED, embedded[1])
    monkeypatch.undo()
    few = sweep(catalogue, PROBED, embedded[1], new_only=True)
    head = read_json(detections.folder(catalogue, few.sweep_id).join(detections.HEAD))
    assert (head["base"], head["votes"], few.queries) == (whole.sweep_id, False, 7)


def test_a_release_of_asid_alone_is_no_reason_to_sweep_again(
    catalogue: Catalogue, embedded: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sweep(catalogue, PROBED, embedded[1], queries="user")
    monkeypatch.setattr(metadata, "version", lambda name: "99.0")
    assert sweep(catalogue, PROBED, embedded[1], queries="user").shards == 0
    monkeypatch.setattr("pipelines.search.sweep_plan.ALGORITHM", 99)
    after = sweep(catalogue, PROBED, embedded[1], queries="user")
    assert after.shards and after.sweep_id != before.sweep_id


def test_a_sample_played_backwards_is_found_where_the_config_asks_for_it(
    embedded: tuple[Path, str], tmp_path: Path
) -> None:
    waveforms = music()
    waveforms["backwards"] = melody(12.0, 12)
    waveforms["backwards"][48_000:144_000] *= 0.2
    waveforms["backwards"][48_000:144_000] += waveforms["source"][64_000:160_000][::-1]
    catalogue = make_catalogue(str(tmp_path / "c"), waveforms)
    embed(catalogue, LINEAR, embedded[1])
    both = replace(PROBED, probes=replace(PROBED.probes, reversed=True))
    detected = sweep(catalogue, both, embedded[1], queries="*a*", references="source").detections.to_pylist()
    best = max((row for row in detected if row["query_id"] == "backwards"), key=lambda row: row["score"])
    assert best["reversed"] and best["score"] > 0.5
    spans = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")
    assert [best[name] for name in spans] == pytest.approx([3, 9, 4, 10], abs=0.5)
    forwards = sweep(catalogue, PROBED, embedded[1], queries="*a*", references="source").detections.to_pylist()
    assert not any(row["reversed"] for row in forwards)
    assert max(row["score"] for row in forwards if row["query_id"] == "backwards") < best["score"]


@pytest.mark.parametrize("searched", ["twice", "source"])
def test_two_plays_are_found_whichever_track_is_searched(
    embedded: tuple[Path, str], tmp_path: Path, searched: str
) -> None:
    waveforms = music()
    waveforms["twice"] = melody(27.0, 12)
    for start in (48_000, 256_000):
        waveforms["twice"][start : start + 96_000] *= 0.2
        waveforms["twice"][start : start + 96_000] += waveforms["source"][64_000:160_000]
    catalogue = make_catalogue(str(tmp_path / "c"), waveforms)
    embed(catalogue, LINEAR, embedded[1])
    model = fingerprints.load_model(embedded[1], PROBED)
    tracks, references = find_references(catalogue, model)
    ids = tracks["track_id"].to_pylist()
    order = np.array([len(ids) if track_id == searched else n for n, track_id in enumerate(ids)], np.int32)
    identifier = Identifier(catalogue, model, PROBED, replace(references, order=order))
    segments = segments_of_tracks(catalogue, [(searched, tracks["segment_files"][ids.index(searched)].as_py())])
    ((_, found),) = identifier.identify(segments)
    rows = [one for one in found if {one.query_id, one.reference_id} == {"twice", "source"} and one.score > 0.5]
    rows.sort(key=lambda one: one.query_start_s)
    assert [(one.query_id, one.reference_id) for one in rows] == [("twice", "source")] * 2
    for row, start_s in zip(rows, (3.0, 16.0), strict=True):
        assert [row.query_start_s, row.query_end_s] == pytest.approx([start_s, start_s + 6], abs=0.5)
        assert [row.reference_start_s, row.reference_end_s] == pytest.approx([4, 10], abs=0.5)


def test_globs_choose_queries_and_references(catalogue: Catalogue, embedded: tuple[Path, str]) -> None:
    summary = sweep(catalogue, PROBED, embedded[1], queries="user", references="[!s]*", min_score=0.0)
    assert (summary.queries, summary.references, summary.shards) == (1, 5, 1)
    names = {(row["query_id"], row["reference_id"][:5]) for row in summary.detections.to_pylist()}
    assert names == {("user", "other")}
    with pytest.raises(CatalogueError, match="asid embed"):
        sweep(catalogue, PROBED, save_model(LINEAR, Path(catalogue.location.uri) / "w", seed=5))


def test_files_are_queried_as_tracks_are(catalogue: Catalogue, embedded: tuple[Path, str], tmp_path: Path) -> None:
    swept = sweep(catalogue, PROBED, embedded[1], queries="user", min_score=0.0).detections.to_pylist()
    file = str(write_audio(tmp_path / "u.flac", music()["user"][:, None], 16_000))
    table = query([file], catalogue, PROBED, embedded[1], 50)[0]
    by_votes = replace(PROBED, search=replace(PROBED.search, votes_from_rows=1))
    assert query([file], catalogue, by_votes, embedded[1], 50)[0].equals(table)  # compares every row nevertheless
    detected = table.to_pylist()
    assert detected[0]["query_id"] == file and detected[0]["reference_id"] == "user"  # itself: it is in the catalogue
    best = max((row for row in detected if row["reference_id"] == "source"), key=lambda row: row["score"])
    theirs = next(row for row in swept if row["reference_id"] == "source")
    for row in (best, theirs):  # not the same scores: the query's own audio is among the references now
        assert row["reference_start_s"] - row["query_start_s"] == pytest.approx(1.0, abs=0.1)
    (tmp_path / "text.mp3").write_text("no music")
    one, unreadable = query([str(tmp_path / "text.mp3"), file], catalogue, PROBED, embedded[1], 1)
    assert one.num_rows == 1 and "not readable audio" in unreadable[str(tmp_path / "text.mp3")]
    soft = str(write_audio(tmp_path / "soft.flac", music()["user"][:, None] * np.float32(0.02), 16_000))
    silent = str(write_audio(tmp_path / "silent.flac", np.zeros((48_000, 2), np.float32), 16_000))
    short = str(write_audio(tmp_path / "short.flac", music()["user"][:8000, None], 16_000))
    one, unusable = query([soft, silent, short], catalogue, PROBED, embedded[1], 1)
    assert one.column("query_id").to_pylist() == [soft] and one.column("reference_id").to_pylist() == ["user"]
    assert "silent: -120 dB" in unusable[silent] and "only 0.50 s" in unusable[short]


@pytest.mark.parametrize("verified", [2, 6])
def test_how_many_tracks_are_verified_depends_on_how_many_there_are(
    catalogue: Catalogue, embedded: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verified: int
) -> None:
    def among(search: SearchConfig, references: int) -> SearchConfig:
        assert references == len(music())
        return replace(search, verify_tracks=verified)

    monkeypatch.setattr(SearchConfig, "among", among)
    file = str(write_audio(tmp_path / "u.flac", music()["user"][:, None], 16_000))
    table = query([file], catalogue, PROBED, embedded[1], 50)[0]
    assert len(set(table["reference_id"].to_pylist())) == verified


KILLED = """
import os, signal, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
from pipelines.store.catalogue import Catalogue
from pipelines.search.sweep import sweep
from tests.pipelines.search.test_sweep import PROBED
def progress(event):
    if event["done"] >= 2:
        os.kill(os.getpid(), signal.SIGKILL)
sweep(Catalogue(sys.argv[2]), PROBED, sys.argv[3], progress=progress)
"""


def test_a_killed_driver_is_started_again_and_ends_the_same(
    ray_session: Any, catalogue: Catalogue, embedded: tuple[Path, str]
) -> None:
    address = ray_session.get_runtime_context().gcs_address
    command = [sys.executable, "-c", KILLED, address, catalogue.location.uri, embedded[1]]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, env=os.environ)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert newest_sweep(catalogue) is None
    (begun,) = {e.name.split("/")[0] for e in detections.folder(catalogue).list()}
    summary = sweep(catalogue, PROBED, embedded[1])
    assert summary.sweep_id == begun and 1 <= summary.shards <= 4
    clean = Catalogue(str(embedded[0]))
    assert rows(catalogue, begun) == rows(clean, sweep(clean, PROBED, embedded[1]).sweep_id) != []


def test_a_model_with_a_reranker(ray_session: Any, tmp_path: Path) -> None:
    config: Config = replace(GNN, search=SearchConfig(hits_per_window=10, rerank_pairs=6))
    weights = save_model(config, tmp_path / "w")
    catalogue = make_catalogue(str(tmp_path / "c"), {k: v for k, v in music().items() if not k.startswith("other")})
    embed(catalogue, config, weights)
    detected = sweep(catalogue, config, weights, min_score=0.0).of_all_queries
    assert set(detected["query_id"].to_pylist()) == {"source", "user"}
    scores = pa.table(detected)["rerank_score"].drop_null().to_pylist()
    assert scores and all(0 < score < 1 for score in scores)


@pytest.mark.parametrize("config", [LINEAR, GNN], ids=["linear", "gnn"])
def test_features_of_tracks_and_of_spans_are_those_of_the_whole_audio(tmp_path: Path, config: Config) -> None:
    waveforms = {"long": melody(13.3, 1), "short": melody(0.4, 2), "cut": melody(5.12, 3)}
    catalogue = make_catalogue(str(tmp_path / "c"), waveforms)
    tracks = pa.Table.from_batches(catalogue.tracks()).sort_by("track_id")
    model, front = Fingerprinter(config).eval(), config.model.front_end
    spans = SpanFeatures(catalogue, tracks, model, config.verify.features, max_bytes=300_000)
    segments = segments_of_tracks(catalogue, [(row["track_id"], row["segment_files"]) for row in tracks.to_pylist()])
    for at, features in enumerate(features_of(segments, model, config.verify.features)):
        audio = torch.from_numpy(from_pcm(to_pcm(waveforms[features.track_id])))
        whole = model.features(padded_to_window(front, audio, 0)[None])[0]
        np.testing.assert_allclose(features.model.numpy(), whole.numpy(), atol=1e-3)
        first = window_starts(front, whole.shape[1])
        centres = first + front.window_frames / 2
        # the last hop is not whole, and where a short track is padded, the silence counts
        level = features.level_db(centres, front.window_frames)
        np.testing.assert_allclose(
            level.numpy(), level_db(front, audio, first).numpy(), atol=7.0 if features.track_id == "short" else 0.1
        )
        for start_s, end_s in ((0.0, 0.3), (2.0, 6.1), (11.9, 90.0)):
            part, origin_s = spans.span(model.front_end, at, start_s, end_s)
            first_frame = round(origin_s * 16_000 / model.hop_samples)
            np.testing.assert_allclose(
                part.float().numpy(), whole[:, first_frame:][:, : part.shape[1]].numpy(), atol=1e-3
            )
            length_s = (whole.shape[1] - 1) * model.hop_samples / 16_000
            assert origin_s <= min(start_s, length_s)
            assert first_frame + part.shape[1] >= min(end_s * 16_000 / model.hop_samples, whole.shape[1])


def test_frames_and_levels_of_a_reference_are_read_together_and_are_those_of_a_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = make_catalogue(str(tmp_path / "c"), {"a": melody(13.3, 1), "b": melody(13.3, 2)})
    tracks = pa.Table.from_batches(catalogue.tracks()).sort_by("track_id")
    model, config = Fingerprinter(LINEAR).eval(), LINEAR.verify.features
    files = [(row["track_id"], row["segment_files"]) for row in tracks.to_pylist()]
    queries = list(features_of(segments_of_tracks(catalogue, files), model, config))
    spans = SpanFeatures(catalogue, tracks, model, config, max_bytes=10**9)
    references = HeardReferences(spans, tracks)
    for track, heard in enumerate(queries):
        np.testing.assert_allclose(references.features(track, 0.0, 90.0)[0].float(), heard.audio, atol=2e-3)
    monkeypatch.setattr(spans, "_read", lambda _: pytest.fail("read again"))
    for track, heard in enumerate(queries):
        assert torch.equal(references.levels(track, 0.0, 90.0)[0], heard.level)


def test_the_cache_of_references_keeps_its_size_and_answers_in_any_order(tmp_path: Path) -> None:
    waves = {name: melody(3.0 + 2.6 * n, n) for n, name in enumerate("abcd")}  # their last segments differ in length
    catalogue = make_catalogue(str(tmp_path / "c"), waves)
    tracks = pa.Table.from_batches(catalogue.tracks()).sort_by("track_id")
    model = Fingerprinter(LINEAR).eval()
    whole = SpanFeatures(catalogue, tracks, model, LINEAR.verify.features, max_bytes=10**9)
    size_s = catalogue.geometry.core_samples / SAMPLE_RATE_HZ
    rng = np.random.default_rng(0)
    for max_bytes in (60_000, 150_000, 400_000):
        spans = SpanFeatures(catalogue, tracks, model, LINEAR.verify.features, max_bytes)
        for track, kind, segment in rng.integers((4, 2, 3), size=(150, 3)).tolist():
            front_ends = [(some.audio, some.level)[kind] for some in (spans, whole)]
            at_s = segment * size_s
            found, wanted = (
                some.span(front_end, track, at_s, at_s + 0.1)[0]
                for some, front_end in zip((spans, whole), front_ends, strict=True)
            )
            assert torch.equal(found, wanted)
            kept = [frames.nbytes for both in spans._kept.values() for frames in both.values()]
            assert spans._bytes == sum(kept) and (sum(kept) <= max_bytes or len(kept) == 2)


@pytest.mark.parametrize("others", [(), (np.full(80_000, 0.3, np.float32),)], ids=["alone", "beside silence"])
def test_a_track_without_a_candidate_ends_nothing(
    ray_session: Any, embedded: tuple[Path, str], tmp_path: Path, others: tuple[np.ndarray, ...]
) -> None:
    waveforms = {"music": melody(9.0, 1)} | {f"other {n}": wave for n, wave in enumerate(others)}
    catalogue = make_catalogue(str(tmp_path / "c"), waveforms)
    embed(catalogue, LINEAR, embedded[1])
    summary = sweep(catalogue, PROBED, embedded[1])
    assert (summary.queries, summary.reported) == (len(waveforms), 0)
