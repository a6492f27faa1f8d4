"""Commands in the pages: the tour through README and docs/using.md runs on synthetic audio, all others must parse."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import cli, command
from tests.conftest import write_audio
from tests.docs.commands import PAGES, ROOT, blocks, spans
from tests.pipelines.catalogues import melody

COMMANDS = [(page, words) for page in PAGES for words in itertools.chain(*blocks(page), spans(page))]
TOUR_PAGES = (ROOT / "README.md", ROOT / "docs" / "using.md")
TOUR = [words for page in TOUR_PAGES for words in itertools.chain(*blocks(page)) if words[0] == "asid"]


def asid_part(words: list[str]) -> list[str] | None:
    """The arguments of `asid` in a command, also after a prefix such as `ray job submit ... --`."""
    return words[words.index("asid") + 1 :] if "asid" in words else None


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page.stem}-{i}-{words[0]}" for i, (page, words) in enumerate(COMMANDS)]
)
def test_every_command_exists(page: Path, words: list[str]) -> None:
    arguments = asid_part(words)
    if arguments and arguments[0] not in ("VERB", "--help"):
        known = command.build_parser(cli.verb_named(arguments[0]))._option_string_actions
        assert {word for word in arguments if word.startswith("--")} <= set(known)
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    for word in words:
        if word.startswith("cluster/"):
            assert (ROOT / word).is_file()


def test_commands_in_blocks_are_complete() -> None:
    """A command that can be pasted must parse as a whole."""
    for page in PAGES:
        for words in itertools.chain(*blocks(page)):
            if words[0] == "asid":
                command.build_parser(cli.verb_named(words[1])).parse_args(words[2:])


@pytest.fixture()
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home directory with music in which one track samples another, and a new file that samples a third.

    The other tracks are needed because hits are scored against the rest of the catalogue.
    """
    old, older = melody(16.0, 1), melody(16.0, 2)
    user, new = melody(14.0, 3), melody(12.0, 4)
    user[32_000:128_000] = 0.3 * user[32_000:128_000] + old[64_000:160_000]
    new[16_000:112_000] = 0.3 * new[16_000:112_000] + older[48_000:144_000]
    music = {"old.ogg": old, "older.wav": older, "album/user.flac": user}
    music |= {f"album/{seed}.flac": melody(10.0, seed) for seed in range(10, 18)}
    for name, wave in (music | {"../new-track.mp3": new}).items():
        write_audio(tmp_path / "Music" / name, wave[:, None], 16_000)
    (tmp_path / "Music" / "broken.mp3").write_bytes(b"not audio")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def save_verdict(report: Path, file: Path) -> None:
    """Write a file of verdicts as the report does: its first relation is confirmed."""
    row = pq.read_table(report / "exports/relations.parquet").to_pylist()[0]
    given = {"relation": row["relation_id"], "query": row["query_id"], "reference": row["reference_id"]}
    given |= {"verdict": "confirmed", "note": "", "when": "2026-01-02T03:04:05Z"}
    file.parent.mkdir()
    file.write_text(json.dumps({"verdicts": [given]}))


def test_the_tour_runs(home: Path, ray_session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[str, str] = {}
    for words in TOUR:
        arguments = [str(Path(word).expanduser()) if word.startswith("~") else word for word in words[1:]]
        if arguments[0] in ("run", "reindex"):
            arguments += ["--max-rejects", "0.5"]  # one of twelve files is broken
        elif arguments[0] == "review" and "--list" not in arguments:
            save_verdict(home / "samples", Path(arguments[-1]))
        assert cli.main(arguments) == 0, words
        said.setdefault(arguments[0], capsys.readouterr().out)
    assert re.search(r"user\.flac +old\.ogg .*\d %$", said["run"], re.M)  # and not the other way round
    assert (
        "added 1 verdict by" in said["review"]
        and "next: asid report" in said["status"]
        and "1 reject" in said["rejects"]
    )
    assert re.search(r"new-track\.mp3 +older\.wav .*\d %$", said["query"], re.M)
    assert (home / "samples" / "index.html").is_file() and "old.ogg" in (home / "samples.csv").read_text()
    write_audio(home / "silence.wav", np.zeros((32_000, 1), np.float32), 16_000)
    write_audio(home / "strange.wav", melody(12.0, 99)[:, None], 16_000)
    files = [str(home / name) for name in ("silence.wav", "strange.wav")]
    assert cli.main(["query", *files, "--catalogue", str(home / "music.asid")]) == 1
    why = capsys.readouterr().err
    assert "silence.wav: silent" in why and "strange.wav: readable, but it samples nothing in this catalogue" in why
    shown = {path.name for path in (home / "samples" / "exports").iterdir()}
    texts = [(ROOT / "docs" / page).read_text("utf-8") for page in ("using.md", "report.md")]
    assert all(f"`{name}`" in text for name in shown for text in texts)
    assert json.loads((home / "samples/exports/detections.jsonl").read_text().splitlines()[0])["kind"] == "sample"


def test_links_have_targets() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tour_has_the_main_verbs() -> None:
    assert {"run", "report", "status", "rejects", "query", "reindex", "sweep", "review"} == {words[1] for words in TOUR}
