"""Reads Sample100-ext (arXiv:2506.14684): relations, annotated occurrences, and the clips cut from them.

Layout: `samples.csv` (one relation per row), `tracks.csv`, `annotations/S001.json` (spans of query and target in
layers; the first span of a layer states its type), and optionally `extra_annotations.json` (types of layers). Our
benchmarks use the same layout, with more columns in samples.csv. Column `role` in their tracks.csv marks queries that
sample nothing and references that nobody samples.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asid_core.evaluation.localisation import Span, merged
from asid_core.evaluation.truth import Occurrence, Query, Relation, Truth, track_name

QUERY_LENGTHS_S = (5.0, 7.0, 10.0, 15.0, 20.0)
MADE_GROUPS = ("tier", "background_db")
MIN_SPAN_S = 1.0  # shorter spans are dropped, as in the authors' code


class AnnotationError(ValueError):
    """The folder does not have the published layout. The message names the file."""


@dataclass(frozen=True)
class Layer:
    """Annotated spans of one kind ('occurrence', 'absence', 'presence', 'partial occurrence'...), in order of time."""

    layer_id: int
    kind: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Sample:
    """A row of samples.csv with its annotations. `query_layers` is empty if it was not annotated."""

    sample_id: str
    query: str
    reference: str
    tempo_ratio: float
    repetitions: int
    sample_type: str  # riff | beat | 1-note
    interpolation: str  # no | maybe | yes | probably | probably not
    query_layers: tuple[Layer, ...] = ()
    reference_layers: tuple[Layer, ...] = ()
    pitch_semitones: float | None = None
    equivalent_starts_s: tuple[float, ...] = ()
    made: dict[str, str] = field(default_factory=dict)  # a benchmark's own groups

    def presence(self, track_s: float | None = None) -> list[Span]:
        """The spans of the query in which the sample sounds: annotated ones and, if absences are marked, those between.

        The time after the last absence counts only if the length of the track is known.
        """
        heard = [s for layer in self.query_layers if layer.kind != "absence" for s in layer.spans]
        silent = merged([s for layer in self.query_layers if layer.kind == "absence" for s in layer.spans])
        if not silent:
            return heard
        edges = [0.0, *(edge for span in silent for edge in span)]
        edges.append(max(track_s or 0.0, edges[-1]))
        between = list(zip(edges[::2], edges[1::2], strict=True))
        return [(start, end) for start, end in merged([*heard, *between]) if end - start >= MIN_SPAN_S]


@dataclass(frozen=True)
class Clip:
    """A clip of the recording `track`, used as a query with id `name`. It was cut for `reference`."""

    name: str
    track: str
    start_s: float
    end_s: float
    sample_id: str
    reference: str


@dataclass(frozen=True)
class Annotations:
    """The annotations of a data set. tracks: rows of tracks.csv by track id."""

    samples: tuple[Sample, ...]
    tracks: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        return sorted({s.query for s in self.samples} | self._of_role("query"))

    @property
    def references(self) -> list[str]:
        return sorted({s.reference for s in self.samples} | self._of_role("reference"))

    def _of_role(self, role: str) -> set[str]:
        return {name for name, row in self.tracks.items() if row.get("role") == role}

    def missing(self, track_ids: Iterable[str]) -> list[str]:
        """Annotated tracks that are not among `track_ids`, ignoring folders and extensions."""
        there = {track_name(t) for t in track_ids}
        return [name for name in sorted({*self.queries, *self.references}) if name not in there]

    def truth(self, durations_s: dict[str, float] | None = None) -> Truth:
        """The truth for whole tracks. durations_s: by track name, if known."""
        lengths = durations_s or {}
        queries = tuple(Query(name, lengths.get(name)) for name in self.queries)
        relations = tuple(_relation(s, lengths.get(s.query)) for s in self.samples)
        return Truth(queries, tuple(self.references), relations)

    def clips(self, length_s: float) -> list[Clip]:
        """The first `length_s` seconds of every span that is long enough. A span in two layers counts once."""
        clips = [
            _clip(sample.sample_id, sample.query, start, length_s, sample.reference)
            for sample in self.samples
            for start, end in sample.presence()
            if end - start >= length_s
        ]
        return list({clip.name: clip for clip in clips}.values())


def clip_truth(clips: Collection[Clip], annotations: Annotations) -> Truth:
    """A truth in which every clip is a query, and the reference that it was cut for is the right answer.

    Ignored, as neither right nor wrong: the track itself, its other references (it is not annotated which samples sound
    together), and other query tracks that nobody samples.
    Raises AnnotationError for a clip of a relation that the annotations lack.
    """
    samples = {s.sample_id: s for s in annotations.samples}
    unknown = sorted({c.sample_id for c in clips} - set(samples))
    if unknown:
        raise AnnotationError(f"there are clips of {unknown[0]}, which is not in samples.csv; use both of one data set")
    references: dict[str, set[str]] = {}
    for sample in annotations.samples:
        references.setdefault(sample.query, set()).add(sample.reference)
    only_queries = set(annotations.queries) - set(annotations.references)
    queries, relations = [], []
    for clip in clips:
        sample, length = samples[clip.sample_id], clip.end_s - clip.start_s
        others = tuple(sorted((references[clip.track] | only_queries | {clip.track}) - {clip.reference}))
        queries.append(Query(clip.name, length, ignored=others))
        relations.append(Relation(clip.name, clip.reference, (), sample.tempo_ratio, None, (), _groups(sample)))
    return Truth(tuple(queries), tuple(annotations.references), tuple(relations))


def read_annotations(directory: Path) -> Annotations:
    """Read a folder in the published layout. Raises AnnotationError, which names what is missing or malformed."""
    samples = directory / "samples.csv"
    if not samples.is_file():
        raise AnnotationError(f"no samples.csv in {directory}. Pass the folder of Sample100-ext or of a benchmark.")
    extra = directory / "extra_annotations.json"
    kinds: dict[str, Any] = {e["sample_id"]: e for e in json.loads(extra.read_text())} if extra.is_file() else {}
    tracks = directory / "tracks.csv"
    titles = {row["track_id"]: row for row in _rows(tracks)} if tracks.is_file() else {}
    return Annotations(tuple(_sample(row, directory, kinds) for row in _rows(samples)), titles)


def read_authors_clips(path: Path, length_s: float = 0.0) -> list[Clip]:
    """The clips in the authors' own list (`sample100_query_index.json`), for the paper protocol; spans of at least 1 s.

    With `length_s`, the first `length_s` seconds of spans that are long enough. A place that is listed twice counts
    twice, as in the authors' code.
    """
    spans = [(r, r["end_time"] - r["start_time"]) for r in json.loads(path.read_text())]
    clips = [
        _clip(r["sample_id"], r["query_file"], r["start_time"], length_s or span_s, r["ref_file"])
        for r, span_s in spans
        if span_s >= max(length_s, MIN_SPAN_S)
    ]
    seen: Counter[str] = Counter()
    result = []
    for clip in clips:
        seen[clip.name] += 1
        result.append(clip if seen[clip.name] == 1 else replace(clip, name=f"{clip.name}#{seen[clip.name]}"))
    return result


def _clip(sample_id: str, track: str, start_s: float, length_s: float, reference: str) -> Clip:
    """A clip, named after its contents, so that the same place from two lists is one query."""
    name = f"{sample_id}@{start_s:.2f}+{length_s:.2f}"
    return Clip(name, track, start_s, start_s + length_s, sample_id, reference)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        return [{(k or "").strip(): (v or "").strip() for k, v in row.items() if k} for row in reader]


def _sample(row: dict[str, str], directory: Path, kinds: dict[str, Any]) -> Sample:
    try:
        sample_id = row["sample_id"]
        path = directory / "annotations" / f"{sample_id}.json"
        spans = json.loads(path.read_text()) if path.is_file() else {}
        extra = kinds.get(sample_id, {})
        return Sample(
            sample_id,
            row["query_track_id"],
            row["target_track_id"],
            float(row["estimated_tempo_ratio"]),
            int(row["n_repetitions"]),
            row["sample_type"],
            row["interpolation"],
            _layers(spans.get("query_time_annotations", []), extra.get("query_time_annotations", [])),
            _layers(spans.get("target_time_annotations", []), extra.get("target_time_annotations", [])),
            float(row["pitch_semitones"]) if row.get("pitch_semitones") else None,
            tuple(float(start) for start in row.get("equivalent_starts_s", "").split()),
            {name: row[name] for name in MADE_GROUPS if row.get(name)},
        )
    except (KeyError, ValueError) as error:
        raise AnnotationError(f"{directory}: sample {row.get('sample_id', '?')}: {error!r}") from error


def _layers(spans: list[dict[str, Any]], extra: list[dict[str, Any]]) -> tuple[Layer, ...]:
    """Spans by layer. The kind of a layer is that of its spans, else of the extra annotations, else 'occurrence'."""
    kinds = {layer["id"]: layer["type"] for layer in extra}
    kinds |= {span["id"]: span["type"] for span in spans if span.get("type")}
    layers: dict[int, list[Span]] = {}
    for span in spans:
        layers.setdefault(span["id"], []).append((float(span["start_time"]), float(span["end_time"])))
    return tuple(Layer(i, kinds.get(i, "occurrence"), tuple(sorted(s))) for i, s in sorted(layers.items()))


def _relation(sample: Sample, track_s: float | None) -> Relation:
    """The relation with all spans in which the sample sounds, each with its layer's reference span, or the first."""
    references = {layer.layer_id: layer.spans[0] for layer in sample.reference_layers}
    occurrences: tuple[Occurrence, ...] = ()
    if references:
        fallback = next(iter(references.values()))
        layer_of = {span: layer.layer_id for layer in sample.query_layers for span in layer.spans}
        occurrences = tuple(
            Occurrence(*span, *references.get(layer_of.get(span, -1), fallback)) for span in sample.presence(track_s)
        )
    return Relation(
        sample.query,
        sample.reference,
        occurrences,
        sample.tempo_ratio,
        sample.pitch_semitones,
        sample.equivalent_starts_s,
        _groups(sample),
    )


def _groups(sample: Sample) -> dict[str, str]:
    """The groups by which results are split."""
    tempo, count = sample.tempo_ratio, sample.repetitions
    return {
        **sample.made,
        "type": sample.sample_type,
        "interpolation": sample.interpolation,
        "tempo": "slower" if tempo < 0.97 else "faster" if tempo > 1.03 else "within 3 %",
        "occurrences": "1-9" if count < 10 else "10-49" if count < 50 else "50 and more",
    }
