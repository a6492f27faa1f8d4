"""`asid VERB ...`: imports the verb's module and passes it the remaining arguments."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

from jobs import command
from jobs.command import DONE, USAGE, Verb
from jobs.noise import without_noise
from jobs.standard_output import reader_is_gone

GROUPS = {
    "find samples": ("run", "query", "compare", "report", "review"),
    "keep a catalogue": ("reindex", "watch", "status", "rejects", "maintain"),
    "the stages of run": ("segment", "embed", "index", "sweep"),
    "models and evaluation": ("bench", "evaluate", "stems", "train", "import-weights", "fingerprint"),
    "getting started": ("demo", "plan", "completion"),
}
TOUR = (
    "asid run --corpus ~/Music --catalogue ~/music.asid",
    "asid report --catalogue ~/music.asid --output ~/samples",
)
VERBS = tuple(name for names in GROUPS.values() for name in names)


def verb_named(name: str) -> Verb:
    """The `VERB` defined in jobs/NAME.py."""
    verb: Verb = importlib.import_module(f"jobs.{name.replace('-', '_')}").VERB
    return verb


def usage() -> str:
    lines = ["usage: asid VERB ...", "", "Finds every sample in a music catalogue."]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<16}{verb_named(name).summary}" for name in names)]
    lines += [
        "",
        "examples:",
        "  asid demo",
        *(f"  {line}" for line in TOUR),
        "",
        "asid VERB --help shows the options of a verb.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed or too many rejects, 2 wrong usage."""
    try:
        code = _main(argv)
    except BrokenPipeError:
        if not reader_is_gone():
            raise
        return DONE
    reader_is_gone()
    return code


def _main(argv: Sequence[str] | None) -> int:
    is_process = argv is None  # then file descriptor 2 is ours
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] == "--version":
        print(f"asid {importlib.metadata.version('asid')}")
        return DONE
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if argv else sys.stderr)
        return DONE if argv else USAGE
    name, *rest = argv
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(VERBS)}"
        print(f"asid: unknown verb {name!r}; {hint} (asid --help)", file=sys.stderr)
        return USAGE
    verb = verb_named(name)
    with without_noise() if is_process and verb.uses_ray else contextlib.nullcontext():
        return command.main(verb, rest)


if __name__ == "__main__":
    sys.exit(main())
