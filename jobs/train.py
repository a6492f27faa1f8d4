"""asid train encoder|reranker: train weights on the tables of `asid stems`."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from asid_core.plain_values import ConfigError
from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("encoder", "reranker"), help="what to train; a reranker needs --weights of its encoder"
    )
    parser.add_argument(
        "--stems", metavar="URI", help="tables written by asid stems; an aligned reranker needs --bench"
    )
    parser.add_argument(
        "--bench",
        metavar="DIR",
        nargs="+",
        help="for an aligned reranker: benchmarks of music to train on (asid bench make)",
    )
    parser.add_argument(
        "--output", metavar="URI", required=True, help="folder for weights and checkpoints; run again to resume"
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, default=1, help="number of processes; each uses one GPU if there are GPUs"
    )
    parser.add_argument("--gpu", action="store_true", help="fail if there are too few GPUs, instead of using CPUs")


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.train.training import TrainingError

    args, config = session.args, session.config
    if args.what == "reranker" and not args.weights:
        raise command.Failure("a reranker is trained on top of an encoder. Pass the encoder's --weights.")
    aligned = args.what == "reranker" and config.model.reranker.kind == "aligned"
    source = "--bench" if aligned else "--stems"
    if (args.bench is None) == aligned or (args.stems is None) != aligned:
        raise ConfigError(f"this training reads {source}, and nothing else (asid train --help)")
    if aligned:
        return _on_candidates(session)
    if args.what == "encoder" and config.model.encoder.trained_by == "principal_components":
        from pipelines.train.encoder import fit_linear

        windows = fit_linear(args.stems, args.output, config)
        return Outcome(session.summary(f"projection fitted to {windows:,} windows, in {args.output}/best"))
    if args.what == "encoder" and config.model.encoder.trained_by == "discriminant":
        from pipelines.train.encoder import fit_discriminant_encoder

        pairs = fit_discriminant_encoder(args.stems, args.output, config)
        return Outcome(session.summary(f"projection fitted to {pairs:,} pairs, in {args.output}/best"))
    start = args.weights_uri  # workers on other nodes do not have the local copy of weights on S3
    start_ray(args.ray_address)
    try:
        if args.what == "encoder":
            from pipelines.train.encoder import train_encoder

            done = train_encoder(args.stems, args.output, config, args.workers, start, session.progress, args.gpu)
        else:
            from pipelines.train.reranker import train_reranker

            done = train_reranker(args.stems, args.output, config, start, args.workers, session.progress, args.gpu)
    except TrainingError as error:
        raise command.Failure(str(error)) from error
    figures = ", ".join(f"{name} {value:.3f}" for name, value in done.best.items() if name not in ("step", "score"))
    counts = f"all {done.steps:,} steps were already done" if done.already else f"{done.steps:,} steps"
    counts += f", resumed from step {done.resumed_from:,}" if done.resumed_from else ""
    return Outcome(session.summary(f"{counts}; best at step {done.best.get('step', 0):,.0f}: {figures}"))


def _on_candidates(session: Session) -> Outcome:
    from jobs.bench import catalogue_of_bench
    from pipelines.mined import train_on_candidates

    args, config, folders = session.args, session.config, [Path(folder) for folder in session.args.bench]
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(catalogue_of_bench(session, "train reranker", folder)) for folder in folders]
            benches = list(zip(folders, opened, strict=True))
            done = train_on_candidates(benches, args.output, config, args.weights, session.progress)
    except ValueError as error:
        raise command.Failure(str(error)) from error
    windows = f"{done.right:,} right and {done.wrong:,} wrong windows"
    return Outcome(
        session.summary(f"trained on {windows}; AUC {done.auc:.3f} on held-out queries, in {args.output}/best")
    )


VERB = Verb(
    "train",
    "Train an encoder or a reranker; run again to resume.",
    "asid train encoder --stems ~/training/stems --output ~/training/gnn --config gnn --weights ~/training/start/best\n"
    "asid train reranker --stems ~/training/stems --output ~/training/reranker --weights ~/training/gnn-paper/best\n"
    "asid train reranker --bench ~/wild --output ~/training/aligned --weights discriminant",
    options,
    work,
    config="gnn-paper",
    uses_ray=True,
)
