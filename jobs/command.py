"""What all verbs share: common options, configuration, logging, progress, error messages, exit code, summary line."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from asid_core import config as configs
from asid_core.plain_text import shown
from asid_core.plain_values import ConfigError, to_dict
from jobs import logs
from jobs.errors import is_expected, is_storage_error, unwrapped
from jobs.interruption import Stopped, how_to_resume, stoppable
from jobs.progress import Progress
from jobs.standard_output import reader_is_gone
from pipelines.runtime import ray_is_up, stop_ray

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

RESUME_HINT = ". Committed work is kept. Fix the cause, then run the same command again to resume."
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # 130 = 128 + SIGINT, the shells' convention


class Failure(Exception):
    """A verb cannot do what was asked. The message is for the user and says what to do next."""


@dataclass(frozen=True)
class Outcome:
    """The result of a verb: its summary line (not printed if empty) and its exit code."""

    summary: str
    code: int = DONE
    to_stderr: bool = False  # True when standard output holds a table for another program


@dataclass(frozen=True)
class Session:
    """What `Verb.work` receives."""

    args: argparse.Namespace
    config: configs.Config
    progress: Callable[[dict[str, Any]], None]
    started: float = field(default_factory=time.monotonic)

    def weights(self) -> str:
        """The argument for `Fingerprinter.from_pretrained`: `--weights`, or else the shipped weights of this config."""
        return str(self.args.weights or self.config.model.name)

    def summary(self, counts: str, audio_s: float = 0.0) -> str:
        """The summary line: counts, hours of audio processed, seconds since the start, multiple of real time."""
        seconds = time.monotonic() - self.started
        audio = f"; {audio_s / 3600:.2f} h audio" if audio_s else ""
        speed = f", {audio_s / max(seconds, 1e-3):.0f} x real time" if audio_s else ""
        return f"{counts}{audio} in {seconds:.1f} s{speed}"


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    `options` adds the verb's own arguments to a parser, `work` runs it, `example` holds one command per line.
    """

    name: str
    summary: str
    example: str
    options: Callable[[argparse.ArgumentParser], None]
    work: Callable[[Session], Outcome]
    config: str = "discriminant"  # used without --config and --weights
    uses_ray: bool = False


def catalogue_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--catalogue", metavar="URI", required=True, help="the catalogue: a folder or an s3:// prefix")


def corpus_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        metavar="URI|MANIFEST",
        required=True,
        help="a folder or s3:// prefix of recordings, or a .csv, .jsonl or .parquet with a column `uri`",
    )


def gpus_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpus",
        metavar="N",
        type=whole_number,
        help="number of GPUs for embedding; an autoscaler adds missing ones (default: all that are there)",
    )


def rejects_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-rejects",
        metavar="SHARE",
        type=share,
        default=0.05,
        help="exit with code 1 if more than this share of the files is unreadable (default 0.05)",
    )


def format_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="of standard output (default: table)"
    )


def score_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-score", metavar="S", type=share, help="report pairs that score at least this (default: from the config)"
    )


def show(rows: pa.Table, columns: Mapping[str, tuple[str, Callable[[Any], str]]], format: str) -> None:
    """Print a table: the given columns, aligned, for `format` "table"; all columns for "csv" and "json"."""
    from jobs import tables

    if format == "table":
        if rows.num_rows:
            print(tables.aligned(rows.to_pylist(), columns))
    else:
        print(tables.encode(rows, format).decode(), end="")


def show_rows(rows: Sequence[dict[str, Any]], format: str) -> None:
    """Print rows as csv or json."""
    import pyarrow as pa

    from jobs import tables

    print(tables.encode(pa.Table.from_pylist(list(rows)), format).decode(), end="")


def share(text: str) -> float:
    """argparse type: a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def whole_number(text: str) -> int:
    """argparse type: a number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _add_common(parser: argparse.ArgumentParser, verb: Verb) -> None:
    group = parser.add_argument_group("common options")
    shipped = ", ".join(configs.names())
    group.add_argument("--config", metavar="NAME|FILE.yaml", help=f"{shipped} (default {verb.config}), or a file")
    group.add_argument("--weights", metavar="W", help="name of a shipped model, a directory, or an s3:// prefix")
    group.add_argument("--set", metavar="A.B=C", action="append", default=[], help="override one key of the config")
    group.add_argument("--print-config", action="store_true", help="print the resulting config and exit")
    if verb.uses_ray:
        group.add_argument("--ray-address", metavar="ADDRESS", help="Ray cluster to join (default: start Ray locally)")
    logs.options(group)


def build_parser(verb: Verb) -> argparse.ArgumentParser:
    """The verb's complete parser: its own options first, then the common ones."""
    parser = argparse.ArgumentParser(
        prog=f"asid {verb.name}",
        description=verb.summary,
        epilog="\n  ".join(["examples:", *verb.example.splitlines()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.options(parser)
    _add_common(parser, verb)
    parser.set_defaults(verb=verb.name)
    return parser


@contextlib.contextmanager
def _weights_here(args: argparse.Namespace) -> Iterator[None]:
    """In the block, `args.weights` names a local copy of weights on S3, and `args.weights_uri` what was passed."""
    args.weights_uri = args.weights
    if not args.weights:
        yield
        return
    from pipelines.store.weights import local_weights

    with local_weights(args.weights) as args.weights:
        yield


def resolve_config(verb: Verb, args: argparse.Namespace) -> configs.Config:
    """The configuration to use: `--config`, else the one stored with `--weights`, else the default; then `--set`.

    Raises ConfigError for an unknown name, an invalid value, or weights that cannot be found.
    """
    source = args.config or verb.config
    if args.weights and not args.config:
        from asid_core.model.weights import weights_directory

        source = str(weights_directory(args.weights) / "config.json")
    return configs.load(source, args.set)


def main(verb: Verb, argv: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code. Errors that a user can cause are printed, not raised."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if "--print-config" in argv:  # works without the verb's required arguments
            only_common = argparse.ArgumentParser(add_help=False)
            _add_common(only_common, verb)
            args, _ = only_common.parse_known_args(argv)
            with _weights_here(args):
                print(yaml.safe_dump(to_dict(resolve_config(verb, args)), sort_keys=False), end="")
            return DONE
        args = build_parser(verb).parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    except ConfigError as error:
        return _complain(verb, error, USAGE)
    except BrokenPipeError:
        raise
    except OSError as error:  # no such weights
        return _complain(verb, error, FAILED)
    logs.set_up(args)
    try:
        with stoppable():
            return _guarded(verb, args, argv)
    except Stopped as stopped:  # the signal came during clean-up
        return stopped.code


def _guarded(verb: Verb, args: argparse.Namespace, argv: Sequence[str]) -> int:
    progress = logs.JsonProgress() if args.log_format == "json" else Progress(sys.stderr, quiet=args.quiet)
    ray_was_up = ray_is_up()
    try:
        with _weights_here(args):
            outcome = verb.work(Session(args, resolve_config(verb, args), progress))
    except KeyboardInterrupt as stopped:
        progress.close()
        logs.tell(how_to_resume(verb.name, getattr(args, "catalogue", None), argv), logging.WARNING)
        return stopped.code if isinstance(stopped, Stopped) else INTERRUPTED
    except ConfigError as error:
        progress.close()
        return _complain(verb, error, USAGE)
    except Exception as wrapped:
        progress.close()
        cause = unwrapped(wrapped)
        if isinstance(cause, BrokenPipeError) and reader_is_gone():
            return DONE
        if not isinstance(cause, Failure) and not is_expected(cause):
            log.exception("this is a bug in asid; please report it with this traceback")
        hint = RESUME_HINT if hasattr(args, "catalogue") and is_storage_error(cause) else ""
        return _complain(verb, cause, FAILED, hint)
    finally:
        if not ray_was_up and ray_is_up():
            stop_ray()
    progress.close()
    if outcome.to_stderr and outcome.summary:
        logs.tell(outcome.summary)
    elif outcome.summary and not reader_is_gone():
        with contextlib.suppress(BrokenPipeError):
            print(outcome.summary)
    reader_is_gone()
    return outcome.code


def _complain(verb: Verb, error: Exception, code: int, hint: str = "") -> int:
    log.debug("traceback", exc_info=error)
    text = shown(" ".join(str(error).split())) or type(error).__name__
    logs.tell(f"asid {verb.name}: {text}{hint}", logging.ERROR)
    return code
