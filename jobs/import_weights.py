"""asid import-weights: the authors' published checkpoints become weights of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CKPT.pth", type=Path, help="the encoder's checkpoint")
    parser.add_argument("--reranker", metavar="CLF.pth", type=Path, help="the classifier's checkpoint")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="gets config.json, model.safetensors")


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
    "Turn the checkpoints that the paper's authors published into weights of ours.",
    "asid import-weights model_best.pth --reranker clf_best.pth --output weights/published",
    options,
    work,
    config="gnn-paper",  # the only shape they were published in
)
