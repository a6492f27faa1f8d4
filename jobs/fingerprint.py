"""asid fingerprint: write the fingerprints of files as numpy arrays, without a catalogue."""

from __future__ import annotations

import argparse
import io
import logging
import zipfile
from typing import TYPE_CHECKING

from jobs import command, logs
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    import numpy as np

    from asid_core.model.fingerprinter import Fingerprinter


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, local or s3://")
    parser.add_argument("--output", metavar="F.npz", required=True, help="holds arrays file, start_s, embedding, nodes")
    parser.add_argument("--nodes", action="store_true", help="also write the final graph nodes (gnn models only)")


def work(session: Session) -> Outcome:
    import numpy as np

    from asid_core.model.fingerprinter import Fingerprinter
    from asid_core.signal.decode import DecodeError
    from pipelines.runtime import assigned_device
    from pipelines.store.location import Location

    args = session.args
    model = Fingerprinter.from_pretrained(session.weights()).to(assigned_device())
    columns: dict[str, list[np.ndarray]] = {}
    failed, seconds = 0, 0.0
    for number, file in enumerate(args.files, 1):
        try:
            rows, duration_s = fingerprint(model, file, args.nodes)
        except (DecodeError, OSError) as error:
            failed += 1
            logs.tell(f"asid fingerprint: {file}: {error}", logging.WARNING)
            continue
        seconds += duration_s
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
        session.progress({"stage": "fingerprint", "done": number, "total": len(args.files), "audio_s": seconds})
    if not columns:
        raise command.Failure("none of the files could be read; nothing was written")
    Location(args.output).write_bytes(npz({name: np.concatenate(parts) for name, parts in columns.items()}))
    windows = sum(len(part) for part in columns["start_s"])
    counts = f"{len(args.files) - failed} files, {windows} windows, {failed} unreadable -> {args.output}"
    return Outcome(session.summary(counts, seconds), command.FAILED if failed else command.DONE)


def fingerprint(model: Fingerprinter, file: str, nodes: bool) -> tuple[dict[str, np.ndarray], float]:
    """The columns of one file, one row per window, and its duration in seconds.

    Columns: `file`, `start_s`, `embedding [n, dim]`, and `nodes [n, C, N]` if asked for.
    Raises DecodeError or OSError if the file cannot be read, Failure if the model has no graph nodes.
    """
    import numpy as np
    import torch

    from asid_core.config import SAMPLE_RATE_HZ
    from asid_core.signal.level import read_levelled
    from pipelines.store.location import Location

    with Location(file).local_copy() as path:
        waveform = read_levelled(path, model.config.segment)
    fingerprints = model.fingerprint(torch.from_numpy(waveform), nodes)
    columns = {
        "file": np.full(len(fingerprints.start_s), file),
        "start_s": fingerprints.start_s.cpu().numpy(),
        "embedding": fingerprints.vectors.cpu().numpy(),
    }
    if nodes:
        if fingerprints.nodes is None:
            raise command.Failure(f"the model {model.config.model.name!r} has no graph nodes. Drop --nodes.")
        columns["nodes"] = fingerprints.nodes.cpu().numpy()
    return columns, len(waveform) / SAMPLE_RATE_HZ


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file. np.savez cannot write an array called `file`: its first parameter has that name."""
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    return buffer.getvalue()


VERB = Verb(
    "fingerprint",
    "Write the fingerprints of files as numpy arrays.",
    "asid fingerprint song.mp3 --output song.npz\nasid fingerprint *.wav --output all.npz --config gnn-paper --nodes",
    options,
    work,
)
