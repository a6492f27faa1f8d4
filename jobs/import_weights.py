"""asid import-weights: convert the authors' published checkpoints to our weight format."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CKPT.pth", type=Path, help="checkpoint of the encoder")
    parser.add_argument("--reranker", metavar="CLF.pth", type=Path, help="checkpoint of the classifier")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for config.json and model.safetensors"
    )


def work(session: Session) -> Outcome:
    from asid_core.model.published import import_checkpoint

    args = session.args
    try:
        model = import_checkpoint(args.checkpoint, args.reranker, session.config)
    except ValueError as error:
        raise command.Failure(str(error)) from error
    model.save(args.output)
    count = sum(p.numel() for p in model.parameters())
    return Outcome(session.summary(f"{count:,} parameters, model {model.model_id} -> {args.output}"))


VERB = Verb(
    "import-weights",
    "Convert the checkpoints that the paper's authors published.",
    "asid import-weights model_best.pth --reranker clf_best.pth --output weights/published",
    options,
    work,
    config="gnn-paper",  # the only architecture they published
)
