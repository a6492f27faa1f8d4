"""Tab completion, tested in a real bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from jobs import cli, completion

ASK = """
_init_completion() { :; }
source /dev/stdin
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_asid asid "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["re"], {"report", "reindex", "rejects", "review"}),
        (["run", "--c"], {"--corpus", "--catalogue", "--config"}),
        (["status", "--format", ""], {"table", "csv", "json"}),
        (["report", "--output", "/et"], {"/etc"}),
        (["plan", "--tracks", ""], {""}),  # a number has no completions
    ],
)
def test_bash_completes(typed: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    asked = ["bash", "--norc", "-c", ASK, "bash", "asid", *typed]
    done = subprocess.run(asked, input=script, capture_output=True, text=True, timeout=60)
    assert set(done.stdout.splitlines()) == offered, done.stderr


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_gets_a_script_with_every_verb_and_no_other_output(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert all(verb in captured.out for verb in cli.VERBS) and captured.err == ""
