"""asid train encoder|reranker: from training tables to weights."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("encoder", "reranker"), help="the reranker needs the encoder's --weights")
    parser.add_argument("--stems", metavar="URI", required=True, help="tables that asid stems made")
    parser.add_argument(
        "--output", metavar="URI", required=True, help="where weights and checkpoints go; the same command goes on"
    )
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes, a GPU each where there are any")


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.train.training import TrainingError

    args, config = session.args, session.config
    if args.what == "reranker" and not args.weights:
        raise command.Failure("the reranker is trained on top of an encoder: give its --weights")
    if args.what == "encoder" and config.model.encoder.trained_by == "principal_components":
        from pipelines.train.encoder import fit_linear

        windows = fit_linear(args.stems, args.output, config)
        return Outcome(session.summary(f"projection fitted to {windows:,} windows, in {args.output}/best"))
    if args.what == "encoder" and config.model.encoder.trained_by == "discriminant":
        from pipelines.train.encoder import fit_discriminant_encoder

        pairs = fit_discriminant_encoder(args.stems, args.output, config)
        return Outcome(session.summary(f"projection fitted to {pairs:,} pairs, in {args.output}/best"))
    start_ray(args.ray_address)
    try:
        if args.what == "encoder":
            from pipelines.train.encoder import train_encoder

            done = train_encoder(args.stems, args.output, config, args.workers, args.weights, session.progress)
        else:
            from pipelines.train.reranker import train_reranker

            done = train_reranker(args.stems, args.output, config, args.weights, args.workers, session.progress)
    except TrainingError as error:
        raise command.Failure(str(error)) from error
    figures = ", ".join(f"{name} {value:.3f}" for name, value in done.best.items() if name not in ("step", "score"))
    said = f"all {done.steps:,} steps were done before" if done.already else f"{done.steps:,} steps"
    said += f", resumed from step {done.resumed_from:,}" if done.resumed_from else ""
    return Outcome(session.summary(f"{said}; best at step {done.best.get('step', 0):,.0f}: {figures}"))


VERB = Verb(
    "train",
    "Train an encoder or a reranker on training tables; the same command goes on where it stopped.",
    "asid train encoder --stems ~/training/stems --output ~/training/gnn --config gnn --weights ~/training/start/best\n"
    "asid train reranker --stems ~/training/stems --output ~/training/reranker --weights ~/training/gnn-paper/best",
    options,
    work,
    config="gnn-paper",
)
