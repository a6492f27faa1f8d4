"""The frame every verb stands in: options, configuration, logging, progress, errors, exit code, last line."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from asid_core import config as configs
from asid_core.plain_text import shown
from asid_core.plain_values import ConfigError, to_dict
from jobs.interruption import Stopped, how_to_go_on, stoppable
from jobs.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

GOES_ON = ". What was committed is kept; once this is mended, the same command goes on."
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # 128 + SIGINT, as shells have it


class Failure(Exception):
    """What a verb cannot do, in words for its user, with what to do next."""


@dataclass(frozen=True)
class Outcome:
    """What a verb ends with: its last line (none where it is empty) and its exit code."""

    summary: str
    code: int = DONE
    to_stderr: bool = False  # where standard output is a table for a program to read


@dataclass(frozen=True)
class Session:
    """What a verb's work is given."""

    args: argparse.Namespace
    config: configs.Config
    progress: Callable[[dict[str, Any]], None]
    started: float = field(default_factory=time.monotonic)

    def weights(self) -> str:
        """What `Fingerprinter.from_pretrained` takes: `--weights`, else those shipped under the config's name."""
        return str(self.args.weights or self.config.model.name)

    def summary(self, counts: str, audio_s: float = 0.0) -> str:
        """The last line: counts, hours of audio worked on, seconds since the start, x real time."""
        seconds = time.monotonic() - self.started
        audio = f"; {audio_s / 3600:.2f} h audio" if audio_s else ""
        speed = f", {audio_s / max(seconds, 1e-3):.0f} x real time" if audio_s else ""
        return f"{counts}{audio} in {seconds:.1f} s{speed}"


@dataclass(frozen=True)
class Verb:
    """One verb of the command line. `options` adds its own arguments, `work` does it; `example`: a command a line."""

    name: str
    summary: str
    example: str
    options: Callable[[argparse.ArgumentParser], None]
    work: Callable[[Session], Outcome]
    config: str = "discriminant"  # without --config and --weights


def catalogue_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--catalogue", metavar="URI", required=True, help="the catalogue: a folder or an s3:// prefix")


def corpus_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        metavar="URI|MANIFEST",
        required=True,
        help="a folder or s3:// prefix of recordings, or a .csv, .jsonl or .parquet with a column `uri`",
    )


def rejects_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-rejects",
        metavar="SHARE",
        type=share,
        default=0.05,
        help="share of the files that may be unusable before the exit code is 1 (default 0.05)",
    )


def format_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")


def score_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-score", metavar="S", type=share, help="report from this score on (default: the config's)"
    )


def show(rows: pa.Table, columns: Mapping[str, tuple[str, Callable[[Any], str]]], format: str) -> None:
    """Print a table: `columns` of it aligned for people, or all of it as csv or json."""
    from jobs import tables

    if format == "table":
        if rows.num_rows:
            print(tables.aligned(rows.to_pylist(), columns))
    else:
        print(tables.encode(rows, format).decode(), end="")


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def _add_common(parser: argparse.ArgumentParser, verb: Verb) -> None:
    group = parser.add_argument_group("options of every verb")
    shipped = ", ".join(configs.names())
    group.add_argument("--config", metavar="NAME|FILE.yaml", help=f"{shipped} (default {verb.config}) or a file")
    group.add_argument("--weights", metavar="W", help="a name we ship, a directory or an s3:// prefix")
    group.add_argument("--set", metavar="A.B=C", action="append", default=[], help="change one key of the config")
    group.add_argument("--print-config", action="store_true", help="print the config in force and end")
    group.add_argument("--ray-address", metavar="ADDRESS", help="a Ray cluster (default: a Ray of its own, here)")
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, warnings only")


def build_parser(verb: Verb) -> argparse.ArgumentParser:
    """The verb's whole parser: its own options first, then those every verb has."""
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
    """Weights on S3 are brought here for as long as the block: in it `args.weights` names the copy."""
    if not (args.weights or "").startswith("s3://"):
        yield
        return
    from pipelines.store.location import Location

    uri = Location(args.weights)
    with tempfile.TemporaryDirectory(prefix="asid-weights-") as directory:
        for name in ("config.json", "model.safetensors"):
            (Path(directory) / name).write_bytes(uri.join(name).read_bytes())
        args.weights = directory
        yield


def resolve_config(verb: Verb, args: argparse.Namespace) -> configs.Config:
    """The config in force: `--config`, else the one stored with `--weights`, else the default; then `--set`."""
    source = args.config or verb.config
    if args.weights and not args.config:
        from asid_core.model.weights import weights_directory

        source = str(weights_directory(args.weights) / "config.json")
    return configs.load(source, args.set)


def main(verb: Verb, argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code and raises nothing that a user can cause."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if "--print-config" in argv:  # needs none of the verb's own arguments
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
    except OSError as error:  # no such weights
        return _complain(verb, error, FAILED)
    _set_up_logging(args)
    try:
        with stoppable():
            return _guarded(verb, args, argv)
    except Stopped as stopped:  # while it ended
        return stopped.code


def _guarded(verb: Verb, args: argparse.Namespace, argv: Sequence[str]) -> int:
    progress = Progress(sys.stderr, quiet=args.quiet)
    ray_was_up = _ray_is_up()
    try:
        with _weights_here(args):
            outcome = verb.work(Session(args, resolve_config(verb, args), progress))
    except KeyboardInterrupt as stopped:
        progress.close()
        print(how_to_go_on(verb.name, getattr(args, "catalogue", None), argv), file=sys.stderr, flush=True)
        return stopped.code if isinstance(stopped, Stopped) else INTERRUPTED
    except ConfigError as error:
        progress.close()
        return _complain(verb, error, USAGE)
    except Exception as wrapped:
        progress.close()
        met = _unwrapped(wrapped)
        if isinstance(met, BrokenPipeError) and _reader_is_gone():
            return DONE
        if not _is_expected(met):
            log.exception("this is a bug of asid")
        goes_on = GOES_ON if hasattr(args, "catalogue") and _is_of_storage(met) else ""
        return _complain(verb, met, FAILED, goes_on)
    finally:
        if not ray_was_up and _ray_is_up():
            from pipelines.runtime import stop_ray

            stop_ray()  # leave no processes behind
    progress.close()
    if outcome.summary and not _reader_is_gone():
        print(outcome.summary, file=sys.stderr if outcome.to_stderr else sys.stdout)
        _reader_is_gone()
    return outcome.code


def _reader_is_gone() -> bool:
    """Whether whoever read standard output has ended, such as `head`; what is written from then on goes nowhere."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _complain(verb: Verb, error: Exception, code: int, what_next: str = "") -> int:
    log.debug("traceback", exc_info=error)
    text = shown(" ".join(str(error).split())) or type(error).__name__
    print(f"asid {verb.name}: {text}{what_next}", file=sys.stderr)
    return code


def _unwrapped(error: Exception) -> Exception:
    """What a Ray worker met, where that is what failed."""
    if "ray" not in sys.modules:
        return error
    from pipelines.runtime import met_by_worker

    return met_by_worker(error)


def _is_of_storage(error: Exception) -> bool:
    """Whether a disk or a store failed: full, gone, too busy. Arrow and Lance raise OSError itself for it."""
    from pipelines.store.location import StoreFailure

    return isinstance(error, StoreFailure) or type(error) is OSError


def _is_expected(error: Exception) -> bool:
    """Whether the user can do something about it. The classes are imported only now: they load heavy libraries."""
    from asid_core.signal.decode import DecodeError
    from pipelines.store.catalogue import CatalogueError

    return isinstance(error, DecodeError | CatalogueError | OSError | Failure)


def _set_up_logging(args: argparse.Namespace) -> None:
    level = "WARNING" if args.quiet else args.log_level.upper()
    logging.basicConfig(level="WARNING", stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s", force=True)
    for package in ("asid_core", "pipelines", "jobs"):
        logging.getLogger(package).setLevel(level)


def _ray_is_up() -> bool:
    """Asked without importing Ray: a verb that needs none pays nothing."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())
