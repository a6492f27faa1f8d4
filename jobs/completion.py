"""asid completion: what a shell needs to complete verbs, options and files when Tab is pressed."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb

SHELLS = ("bash", "zsh", "tcsh")
FILES = {"FILE", "URI", "MANIFEST", "DIR", "F", "W", "CKPT", "CLF"}  # what help calls an argument that may be a file


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def work(session: Session) -> Outcome:
    import shtab

    print(shtab.complete(whole_parser(), session.args.shell))
    return Outcome("")  # the shell reads this: not a word more


def whole_parser() -> argparse.ArgumentParser:
    """Every verb under one parser, each argument with the files that fit it."""
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
    "What a shell needs to complete verbs, options and files.",
    'eval "$(asid completion bash)"     # in ~/.bashrc; zsh: the same with zsh, in ~/.zshrc',
    options,
    work,
)
