"""`asid VERB ...`: finds the verb's module and hands it the rest. Nothing heavy is imported before that."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

from jobs.command import DONE, USAGE, Verb

VERBS = (
    "run",
    "segment",
    "embed",
    "index",
    "sweep",
    "query",
    "reindex",
    "fingerprint",
    "import-weights",
    "status",
    "rejects",
    "report",
    "plan",
    "bench",
    "evaluate",
    "stems",
    "train",
    "demo",
)


def verb_named(name: str) -> Verb:
    """The verb of jobs/NAME.py."""
    verb: Verb = importlib.import_module(f"jobs.{name.replace('-', '_')}").VERB
    return verb


def usage() -> str:
    lines = ["usage: asid VERB ...", "", "Finds every sample in a music catalogue.", "", "verbs:"]
    lines += [f"  {name:<16}{verb_named(name).summary}" for name in VERBS]
    return "\n".join([*lines, "", "asid VERB --help tells more. Start with: asid demo"])


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed or too many rejects, 2 usage."""
    from jobs import command

    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] == "--version":
        print(f"asid {importlib.metadata.version('asid')}")
        return DONE
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if argv else sys.stderr)
        return DONE if argv else USAGE
    name, *rest = argv
    if name not in VERBS:
        print(f"asid: no verb {name!r}; there are {', '.join(VERBS)} (asid --help)", file=sys.stderr)
        return USAGE
    return command.main(verb_named(name), rest)


if __name__ == "__main__":
    sys.exit(main())
