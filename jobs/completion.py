"""asid completion: print a script for tab completion of verbs, options and files."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb

SHELLS = ("bash", "zsh", "tcsh")
FILES = {"FILE", "URI", "MANIFEST", "DIR", "F", "W", "CKPT", "CLF"}  # metavars of arguments that may be files


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="your shell")


def work(session: Session) -> Outcome:
    import shtab

    print(shtab.complete(whole_parser(), session.args.shell))
    return Outcome("")  # the shell evaluates the output, so print nothing else


def whole_parser() -> argparse.ArgumentParser:
    """One parser with every verb as a subparser, for shtab. Arguments that take files complete file names."""
    import shtab

    from jobs import cli

    whole = argparse.ArgumentParser(prog="asid")
    verbs = whole.add_subparsers()
    for name in cli.VERBS:
        verb = cli.verb_named(name)
        parser = command.build_parser(verb)
        for action in parser._actions:  # argparse has no public list of them
            if FILES & {part.split(".")[0] for part in str(action.metavar).split("|")}:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        verbs.add_parser(name, help=verb.summary, parents=[parser], add_help=False)
    return whole


VERB = Verb(
    "completion",
    "Print a script for tab completion in your shell.",
    'eval "$(asid completion bash)"     # in ~/.bashrc\neval "$(asid completion zsh)"      # in ~/.zshrc',
    options,
    work,
)
