"""Reader of Sample100-ext (arXiv:2506.14684): relations, annotated occurrences, and the queries cut from them.

Layout: `samples.csv` (a relation a row), `tracks.csv`, `annotations/S001.json` (spans of query and target in layers; a
layer's first span states its type), optionally `extra_annotations.json` (types of layers). A benchmark of ours is
written in the same layout and read by the same functions; it knows more of its samples (columns of samples.csv) and
names queries that sample nothing and references that nobody samples (column `role` of tracks.csv).
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
MIN_SPAN_S = 1.0  # the authors' loader drops shorter ones


class AnnotationError(ValueError):
    """The folder is not in the published layout; the message names the file."""


@dataclass(frozen=True)
class Layer:
    """Annotated spans of one kind, in order: 'occurrence', 'absence', 'presence', 'partial occurrence'..."""

    layer_id: int
    kind: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Sample:
    """A row of samples.csv with its annotations; `query_layers` is empty where nobody annotated it."""

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
        """Where the sample sounds in the query: what was annotated and, where absence was marked, all between absences.

        After the last absence it is taken to sound on only where the track's length is known.
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
    """A query cut from an occurrence: `name` is its id, `track` the recording it is cut from."""

    name: str
    track: str
    start_s: float
    end_s: float
    sample_id: str
    reference: str


@dataclass(frozen=True)
class Annotations:
    """The data set: relations, titles by track id."""

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
        """Tracks of the annotations that `track_ids` (a catalogue's, whatever their folder and ending) lack."""
        there = {track_name(t) for t in track_ids}
        return [name for name in sorted({*self.queries, *self.references}) if name not in there]

    def truth(self, durations_s: dict[str, float] | None = None) -> Truth:
        """Whole-track truth; `durations_s` by track name, where known."""
        lengths = durations_s or {}
        queries = tuple(Query(name, lengths.get(name)) for name in self.queries)
        relations = tuple(_relation(s, lengths.get(s.query)) for s in self.samples)
        return Truth(queries, tuple(self.references), relations)

    def cuts(self, length_s: float) -> list[Clip]:
        """The first `length_s` of every place the sample sounds for so long; a place in two layers counts once."""
        found = [
            _cut(sample.sample_id, sample.query, start, length_s, sample.reference)
            for sample in self.samples
            for start, end in sample.presence()
            if end - start >= length_s
        ]
        return list({cut.name: cut for cut in found}.values())


def clip_truth(cuts: Collection[Clip], annotations: Annotations) -> Truth:
    """Truth in which every cut is a query and the reference it was cut for the right answer.

    Nobody annotated which of a track's samples sound at once, so the track's other references are neither right nor
    wrong for its cuts; nor is the track itself, nor another query track that nobody samples, as for whole tracks.
    Raises AnnotationError for a cut of a relation that the annotations lack.
    """
    samples = {s.sample_id: s for s in annotations.samples}
    unknown = sorted({c.sample_id for c in cuts} - set(samples))
    if unknown:
        raise AnnotationError(f"cuts of {unknown[0]}, which samples.csv does not have; take both from one data set")
    references: dict[str, set[str]] = {}
    for sample in annotations.samples:
        references.setdefault(sample.query, set()).add(sample.reference)
    only_queries = set(annotations.queries) - set(annotations.references)
    queries, relations = [], []
    for cut in cuts:
        sample, length = samples[cut.sample_id], cut.end_s - cut.start_s
        others = tuple(sorted((references[cut.track] | only_queries | {cut.track}) - {cut.reference}))
        queries.append(Query(cut.name, length, ignored=others))
        relations.append(Relation(cut.name, cut.reference, (), sample.tempo_ratio, None, (), _groups(sample)))
    return Truth(tuple(queries), tuple(annotations.references), tuple(relations))


def read_annotations(directory: Path) -> Annotations:
    """Read the published layout. Raises AnnotationError naming what is missing or malformed."""
    samples = directory / "samples.csv"
    if not samples.is_file():
        raise AnnotationError(f"no samples.csv in {directory}; give the folder of Sample100-ext or of a benchmark")
    extra = directory / "extra_annotations.json"
    kinds: dict[str, Any] = {e["sample_id"]: e for e in json.loads(extra.read_text())} if extra.is_file() else {}
    tracks = directory / "tracks.csv"
    titles = {row["track_id"]: row for row in _rows(tracks)} if tracks.is_file() else {}
    return Annotations(tuple(_sample(row, directory, kinds) for row in _rows(samples)), titles)


def read_authors_clips(path: Path, length_s: float = 0.0) -> list[Clip]:
    """The authors' own derived list (`sample100_query_index.json`), for the paper protocol; spans of 1 s and more.

    With `length_s` the first so many seconds of the spans that are as long. A place that is listed twice counts twice,
    as with them.
    """
    spans = [(r, r["end_time"] - r["start_time"]) for r in json.loads(path.read_text())]
    found = [
        _cut(r["sample_id"], r["query_file"], r["start_time"], length_s or span_s, r["ref_file"])
        for r, span_s in spans
        if span_s >= max(length_s, MIN_SPAN_S)
    ]
    seen: Counter[str] = Counter()
    result = []
    for cut in found:
        seen[cut.name] += 1
        result.append(cut if seen[cut.name] == 1 else replace(cut, name=f"{cut.name}#{seen[cut.name]}"))
    return result


def _cut(sample_id: str, track: str, start_s: float, length_s: float, reference: str) -> Clip:
    """Named by what it is: the same place from two lists is one query."""
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
    """Spans by layer; a layer is of the kind its spans or the extra annotations state, else an occurrence."""
    kinds = {layer["id"]: layer["type"] for layer in extra}
    kinds |= {span["id"]: span["type"] for span in spans if span.get("type")}
    found: dict[int, list[Span]] = {}
    for span in spans:
        found.setdefault(span["id"], []).append((float(span["start_time"]), float(span["end_time"])))
    return tuple(Layer(i, kinds.get(i, "occurrence"), tuple(sorted(s))) for i, s in sorted(found.items()))


def _relation(sample: Sample, track_s: float | None) -> Relation:
    """All places the sample sounds; each with the reference span of its layer, or the first."""
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
    """What results are split by."""
    tempo, count = sample.tempo_ratio, sample.repetitions
    return {
        **sample.made,
        "type": sample.sample_type,
        "interpolation": sample.interpolation,
        "tempo": "slower" if tempo < 0.97 else "faster" if tempo > 1.03 else "within 3 %",
        "occurrences": "1-9" if count < 10 else "10-49" if count < 50 else "50 and more",
    }
