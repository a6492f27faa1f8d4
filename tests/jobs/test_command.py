"""What all verbs share: options, configuration, exit codes, errors in one line, progress."""

import argparse
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asid_core.plain_values import to_dict
from jobs import cli, command
from jobs.command import DONE, FAILED, USAGE, Failure, Outcome, Session, Verb
from jobs.progress import Progress


def _verb(work: object = lambda session: Outcome("1 thing in 0.1 s")) -> Verb:
    def options(parser: argparse.ArgumentParser) -> None:
        command.catalogue_option(parser)
        command.rejects_option(parser)

    return Verb("test", "Does a thing.", "asid test --catalogue there", options, work)  # type: ignore[arg-type]


def test_help_is_fast_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jobs.cli import main; rc = main(['--help']); "
        "print(sorted({'torch','ray','lance','pyarrow','numpy','soundfile'} & set(sys.modules))); sys.exit(rc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"\n  {verb} " in done.stdout for verb in cli.VERBS)


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_has_help_with_an_example_and_prints_its_config(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, "--help"]) == DONE
    text = capsys.readouterr().out
    assert f"usage: asid {name}" in text and f"asid {name} " in text.split("\nexamples:\n")[1] + " "
    assert cli.main([name, "--print-config"]) == DONE
    assert "segment:" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["rejects"], ["rejects", "--catalogue", "x", "--nonsense"]])
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == USAGE
    captured = capsys.readouterr()
    assert captured.out == "" and "asid" in captured.err


def test_print_config_shows_overrides_and_needs_no_other_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_verb(), ["--print-config", "--set", "search.hits_per_window=7"]) == DONE
    values = yaml.safe_load(capsys.readouterr().out)
    assert values["search"]["hits_per_window"] == 7 and values["model"]["name"] == "discriminant"


def test_a_config_error_exits_with_2_and_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_verb(), ["--catalogue", "x", "--set", "search.nonsense=7"]) == USAGE
    error = capsys.readouterr().err
    assert error.startswith("asid test: unknown key search.nonsense") and error.count("\n") == 1


def test_the_last_line_is_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_verb(), ["--catalogue", "x"]) == DONE
    assert capsys.readouterr().out.splitlines()[-1] == "1 thing in 0.1 s"


def test_summary_counts_hours_and_speed() -> None:
    session = Session(argparse.Namespace(), command.configs.load("linear"), lambda event: None, started=0.0)
    assert "; 2.00 h audio in " in session.summary("3 tracks", 7200.0)
    assert session.summary("3 tracks", 7200.0).endswith(" x real time")
    assert "audio" not in session.summary("3 tracks")


def _failing(error: BaseException) -> Verb:
    def work(session: Session) -> Outcome:
        raise error

    return _verb(work)


@pytest.mark.parametrize("error", [Failure("no such\nthing: do that"), FileNotFoundError("x.wav is not there")])
def test_an_expected_error_is_one_line_without_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_failing(error), ["--catalogue", "x"]) == FAILED
    text = capsys.readouterr().err
    assert text.startswith("asid test: ") and text.count("\n") == 1
    assert command.main(_failing(error), ["--catalogue", "x", "--log-level", "debug"]) == FAILED
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_failing(ZeroDivisionError("oops")), ["--catalogue", "x"]) == FAILED
    text = capsys.readouterr().err
    assert "Traceback" in text and text.splitlines()[-1] == "asid test: oops"


@pytest.mark.parametrize(("text", "fits"), [("0", True), ("0.05", True), ("1", True), ("1.1", False), ("x", False)])
def test_max_rejects_is_a_share(text: str, fits: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(_verb(), ["--catalogue", "x", "--max-rejects", text]) == (DONE if fits else USAGE)


def test_weights_are_used_with_the_config_stored_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = to_dict(command.configs.load("gnn-paper", ["model.name=mine"]))
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(b"")
    seen: list[Session] = []
    verb = _verb(lambda session: seen.append(session) or Outcome("done"))  # type: ignore[func-returns-value]
    assert command.main(verb, ["--catalogue", "x", "--weights", str(tmp_path)]) == DONE
    assert seen[0].config.model.name == "mine" and seen[0].weights() == str(tmp_path)
    assert command.main(verb, ["--catalogue", "x", "--weights", str(tmp_path), "--config", "linear"]) == DONE
    assert seen[1].config.model.name == "linear" and seen[1].weights() == str(tmp_path)
    assert command.main(verb, ["--catalogue", "x"]) == DONE
    assert seen[2].weights() == "discriminant"


@pytest.mark.parametrize("more", [[], ["--print-config"]])
def test_the_error_for_missing_weights_names_the_missing_file(
    more: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command.main(_verb(), ["--catalogue", "x", "--weights", str(tmp_path / "none"), *more]) == FAILED
    assert "config.json" in capsys.readouterr().err


def test_weights_are_downloaded_from_s3(s3_bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.store.location import Location

    values = to_dict(command.configs.load("gnn-paper", ["model.name=far"]))
    Location(f"{s3_bucket}/w/config.json").write_bytes(json.dumps(values).encode())
    Location(f"{s3_bucket}/w/model.safetensors").write_bytes(b"bytes")
    seen: list[Path] = []

    def work(session: Session) -> Outcome:
        assert session.config.model.name == "far"
        seen.append(Path(session.weights()))
        assert (seen[0] / "model.safetensors").read_bytes() == b"bytes"
        return Outcome("done")

    assert command.main(_verb(work), ["--catalogue", "x", "--weights", f"{s3_bucket}/w"]) == DONE
    assert seen and not seen[0].exists()


def test_quiet_shows_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    def work(session: Session) -> Outcome:
        log = logging.getLogger("pipelines.test")
        log.info("chatter")
        log.warning("careful")
        session.progress({"stage": "embed", "done": 1, "total": 1})
        return Outcome("done")

    command.main(_verb(work), ["--catalogue", "x", "-q"])
    text = capsys.readouterr().err
    assert "careful" in text and "chatter" not in text and "embed" not in text
    command.main(_verb(work), ["--catalogue", "x"])
    text = capsys.readouterr().err
    assert "chatter" in text and text.count("1/1 [") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_without_a_terminal_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream)
    for done in range(0, 41):
        progress({"stage": "embed", "done": done, "total": 40, "audio_s": done * 90.0})
        now[0] += 1.0
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5  # at 0, 10, 20, 30 s, and the last
    assert "10/40 [00:10<00:30,  1.00 tracks/s, 0.25 h audio]" in lines[1]
    assert "40/40 [00:40<00:00,  1.00 tracks/s, 1.00 h audio]" in lines[-1]


def test_progress_of_a_resumed_stage_counts_only_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream)
    progress({"stage": "embed", "done": 900, "total": 1000})
    now[0] = 20.0
    progress({"stage": "embed", "done": 910, "total": 1000})
    assert "910/1000 [00:20<03:00" in stream.getvalue().splitlines()[-1]


def test_progress_on_a_terminal_is_one_line_per_stage() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress({"stage": "segment", "done": 0, "total": 2})
    progress({"stage": "segment", "done": 2, "total": 2})
    progress({"stage": "embed", "done": 5, "unit": "shards"})
    progress.close()
    first, second, rest = stream.getvalue().split("\n")
    assert "segment" in first and "2/2 [" in first and "5 shards [" in second and rest == ""


@pytest.mark.parametrize("event", [{"done": 0, "total": 0}, {"done": 0}, {}])
def test_progress_of_nothing_to_do_is_a_line(event: dict[str, int]) -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress({"stage": "embed", **event})
    progress.close()
    assert stream.getvalue().startswith("embed") and "0" in stream.getvalue()


def test_quiet_is_quiet() -> None:
    stream = Terminal()
    progress = Progress(stream, quiet=True)
    progress({"stage": "embed", "done": 1, "total": 2})
    progress.close()
    assert stream.getvalue() == ""
