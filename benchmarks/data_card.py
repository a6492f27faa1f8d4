"""Writes the data card, docs/data.md: hours, authors and licences of the music for training and validation.

Reads the training tables of asid stems, the list of packages with their splits, and the packages' copyright files.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from asid_core.config import SAMPLE_RATE_HZ
from pipelines.train.stem_files import SPAN_SAMPLES, StemTables

MUSIC_FILES = re.compile(r"music|songs|soundtrack", re.IGNORECASE)
FREE_FORM = "see its copyright file"  # if that file is not machine-readable
HEAD = """# Data card

Music that the models are trained and validated on. Splits are by whole packages or folders, so by composer; the test
packages are in no training table. Hours are those of the tables' spans of 15.36 s. Authors and licences are those that
each Debian package states for its music, or for all its files where it says nothing of music; titles and sources of the
other folders are in the `SOURCES.csv` of the development music. Made by:

```sh
{command}
```

| package or folder | split | tracks | hours | licences | authors |
|---|---|---|---|---|---|
"""


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a machine-readable Debian copyright file; continuation lines are joined by newlines."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if match := re.match(r"([A-Za-z-]+):\s*(.*)", line):
                name = match[1].lower()
                fields[name] = match[2]
            elif name and line[:1] in (" ", "\t"):
                fields[name] += "\n" + line.strip()
        if "files" in fields:
            yield fields


def terms(text: str) -> tuple[list[str], list[str]]:
    """(licences, authors) of the music in a package, from the text of its copyright file."""
    every = list(stanzas(text))
    music = [one for one in every if MUSIC_FILES.search(one["files"])] or [one for one in every if one["files"] == "*"]
    licences = {one.get("license", "").split("\n")[0].strip() for one in music}
    holders = {person(line) for one in music for line in one.get("copyright", "").split("\n")}
    return sorted(licences - {""}) or [FREE_FORM], sorted(holders - {""}) or [FREE_FORM]


def person(line: str) -> str:
    """The name in a line of a Copyright field, without years, signs and addresses."""
    without = re.sub(r"<[^>]*>|\(c\)|copyright|©|https?://\S+|\b\d{4}(\s*-\s*\d{4})?\b", "", line, flags=re.IGNORECASE)
    return without.replace("()", "").strip(" ,.;:-\t|")


def credits(packages: Path, sources: Path, name: str) -> tuple[list[str], list[str]]:
    """(licences, authors) of a package or a folder of the development music."""
    copyright_file = packages / name / "copyright"
    if copyright_file.is_file():
        return terms(copyright_file.read_text(errors="replace"))
    with sources.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["file"].split("/")[0] == name]
    return tuple(sorted({row[key] for row in rows} - {""}) for key in ("licence", "composer"))  # type: ignore[return-value]


def table(tables: StemTables, splits: dict[str, str], packages: Path, sources: Path) -> str:
    """The rows of the card, one per package or folder."""
    spans: dict[str, list[int]] = defaultdict(list)
    for track_id, about in tables.tracks.items():
        spans[track_id.split("/")[0]].append(about["spans"])
    lines = []
    for name, counts in sorted(spans.items()):
        licences, authors = credits(packages, sources, name)
        hours = sum(counts) * SPAN_SAMPLES / SAMPLE_RATE_HZ / 3600
        lines.append(
            f"| {name} | {splits.get(name, 'train')} | {len(counts)} | {hours:.2f} | {', '.join(licences)} "
            f"| {', '.join(authors)} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stems", required=True, help="tables of asid stems")
    parser.add_argument("--packages", type=Path, required=True, help="folder with PACKAGE/copyright")
    parser.add_argument("--splits", type=Path, required=True, help="csv with columns package, split")
    parser.add_argument("--sources", type=Path, required=True, help="SOURCES.csv of the other music")
    parser.add_argument("--output", type=Path, default=Path("docs/data.md"))
    args = parser.parse_args(argv)
    with args.splits.open(newline="") as stream:
        splits = {row["package"]: row["split"] for row in csv.DictReader(stream)}
    command = "python -m benchmarks.data_card --stems STEMS --packages PACKAGES --splits CSV --sources CSV"
    text = HEAD.format(command=command) + table(StemTables(args.stems), splits, args.packages, args.sources)
    args.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
