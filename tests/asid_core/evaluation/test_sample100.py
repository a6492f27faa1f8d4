import json
from pathlib import Path
from typing import Any

import pytest

from asid_core.evaluation import sample100
from asid_core.evaluation.sample100 import AnnotationError, read_annotations

PUBLISHED = Path(__file__).parents[4] / "shared" / "sample100-ext"
published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs ../shared/sample100-ext")

HEADER = (
    "sample_id,target_track_id,query_track_id,t_target,t_query,n_repetitions,estimated_tempo_ratio,"
    "target_instruments,query_interfering_instruments,sample_type,interpolation,comments\n"
)


def span(start: float, end: float, layer: int, **kind: str) -> dict[str, object]:
    return {"start_time": start, "end_time": end, "id": layer, **kind}


def write_set(folder: Path, samples: str, tracks: str, files: dict[str, tuple[list[Any], list[Any]]]) -> None:
    """Rows of samples.csv, tracks.csv as it is, and the spans of query and target of the annotated samples."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "samples.csv").write_text(HEADER + samples)
    (folder / "tracks.csv").write_text(tracks)
    for name, (query, target) in files.items():
        content = {"query_time_annotations": query, "target_time_annotations": target, "sample_id": name}
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def miniature(tmp_path: Path) -> Path:
    """Three relations: annotated by absence, annotated by occurrence, and not annotated."""
    samples = (
        "S001,T002,T001,0,0,19,1.08,drums,,beat,no, by absence\n"
        "S002,T003,T001,4,8,3,0.9,bass,,riff,maybe, by occurrence\n"
        "S003,T003,T004,4,8,60,1.0,bass,,1-note,no,\n"
    )
    tracks = 'track_id, artist, title, year, genre\nT001, A, "B, C", 1994, Hip-hop\n'
    absence = [span(0, 5, 1, type="absence"), span(5.1, 7.5, 2, type="occurrence"), span(20, 22, 1), span(22.5, 24, 1)]
    files = {
        "S001": (absence, [span(1, 3, 2)]),
        "S002": ([span(30, 37, 1), span(40, 42, 1)], [span(9, 16, 1), span(50, 57, 2)]),
    }
    write_set(tmp_path, samples, tracks, files)
    return tmp_path


def test_what_lies_between_absences_is_presence(miniature: Path) -> None:
    sample = read_annotations(miniature).samples[0]
    assert sample.presence() == [(5.0, 20.0)]  # the half second between the last two is not a query
    assert sample.presence(track_s=60.0) == [(5.0, 20.0), (24.0, 60.0)]


def test_truth_has_every_relation_and_pairs_spans_by_layer(miniature: Path) -> None:
    truth = read_annotations(miniature).truth({"T001": 60.0})
    assert truth.relevant() == {"T001": {"T002", "T003"}, "T004": {"T003"}}
    riff = truth.relations[1]
    assert [o.query_start_s for o in riff.occurrences] == [30, 40] and riff.occurrences[0].reference_end_s == 16
    assert riff.groups == {"type": "riff", "interpolation": "maybe", "tempo": "slower", "occurrences": "1-9"}
    assert truth.relations[2].occurrences == ()
    assert truth.queries[0].duration_s == 60.0


def test_cuts_are_queries_for_their_own_reference(miniature: Path) -> None:
    annotations = read_annotations(miniature)
    cuts = annotations.clips(7.0)
    assert [(c.track, c.start_s, c.end_s, c.reference) for c in cuts] == [
        ("T001", 5, 12, "T002"),
        ("T001", 30, 37, "T003"),
    ]
    truth = sample100.clip_truth(cuts, annotations)
    assert truth.relevant() == {cuts[0].name: {"T002"}, cuts[1].name: {"T003"}}
    # its other sample, itself, and a query that nobody samples
    assert truth.queries[0].ignored == ("T001", "T003", "T004")
    strange = sample100.Clip("x", "T001", 0, 5, "S999", "T002")
    with pytest.raises(AnnotationError, match="S999"):
        sample100.clip_truth([strange], annotations)


def test_missing_audio_is_named(miniature: Path) -> None:
    annotations = read_annotations(miniature)
    assert annotations.missing(["disc/T001.mp3", "T003.flac", "T002"]) == ["T004"]
    assert annotations.tracks["T001"]["title"] == "B, C"


def test_errors_name_the_file_or_the_sample(miniature: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no samples\.csv"):
        read_annotations(tmp_path / "annotations")
    (miniature / "samples.csv").write_text(HEADER + "S009,T002,T001,0,0,many,1.0,,,beat,no,\n")
    with pytest.raises(AnnotationError, match="S009"):
        read_annotations(miniature)


@published
def test_known_facts_of_the_published_data() -> None:
    a = read_annotations(PUBLISHED)
    kinds = [s.sample_type for s in a.samples]
    assert (len(kinds), kinds.count("riff"), kinds.count("beat"), kinds.count("1-note")) == (106, 71, 33, 2)
    assert (len(a.queries), len(a.references), len({(s.query, s.reference) for s in a.samples})) == (75, 68, 90)
    annotated = [s for s in a.samples if s.query_layers]
    assert len(annotated) == 103
    assert sum(len(layer.spans) for s in annotated for layer in s.query_layers) == 1038
    assert sum(any(layer.kind == "absence" for layer in s.query_layers) for s in annotated) == 53
    assert sum(len(found) for found in a.truth().relevant().values()) == 90


@published
def test_known_facts_of_the_authors_query_list() -> None:
    cuts = sample100.read_authors_clips(PUBLISHED / "authors" / "sample100_query_index.json")
    assert len(cuts) == 971
    lengths = sample100.QUERY_LENGTHS_S
    cut = [sample100.read_authors_clips(PUBLISHED / "authors" / "sample100_query_index.json", n) for n in lengths]
    assert [len({c.name for c in some}) for some in cut] == [540, 456, 349, 230, 161]
    assert all(c.end_s - c.start_s == pytest.approx(n) for n, some in zip(lengths, cut, strict=True) for c in some)
    sample100.clip_truth(cuts, read_annotations(PUBLISHED))


@published
def test_our_places_of_presence_are_near_the_authors() -> None:
    """We merge a first occurrence with the stretch that it begins, so we may have a few places less, but not many."""
    a = read_annotations(PUBLISHED)
    for length, theirs in zip(sample100.QUERY_LENGTHS_S, [540, 456, 349, 230, 161], strict=True):
        assert 0.9 * theirs < len(a.clips(length)) <= theirs
