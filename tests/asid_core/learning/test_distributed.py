"""Two workers with B pairs each compute the same as one with 2B. Uses gloo, without Ray."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from asid_core.config import Config, GnnConfig, RerankerConfig, load
from asid_core.learning import losses
from asid_core.learning.distributed import synchronise
from asid_core.learning.loop import Loop, NotANumber
from asid_core.learning.pairs import Pairs
from asid_core.learning.tasks import EncoderTask, RerankerTask, attend_to_likeness
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker

PAIRS = 8


def tiny(heads: int = 0) -> Config:
    """A small GNN without random operations in training, because those would differ between workers."""
    config = load("gnn-paper")
    encoder = GnnConfig(
        channels=(16, 32), blocks=(1, 1), pooled_dim=32, hidden_dim=32, dim=16, edge_drop=0.0, stochastic_depth=0.0
    )
    return replace(
        config, model=replace(config.model, encoder=encoder, reranker=RerankerConfig(heads=heads, dropout=0.0))
    )


def pairs(count: int = PAIRS) -> Pairs:
    generator = torch.Generator().manual_seed(1)
    references = torch.rand(count, 64, 128, generator=generator)
    queries = references + 0.3 * torch.rand(count, 64, 128, generator=generator)
    return Pairs(references, queries, torch.zeros(count, count, dtype=torch.bool))


def half(whole: Pairs, rank: int) -> Pairs:
    rows = slice(rank * PAIRS // 2, (rank + 1) * PAIRS // 2)
    return Pairs(whole.references[rows], whole.queries[rows], whole.ambiguous[rows, rows])


def one_step(mine: Pairs) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Loss, clipped gradients and buffers, float32. Alone as well with the batch norms of many workers, whose sums are
    in float64: with torch's own, rows in another order change a last digit, that one a ReLU's side, and the gradient by
    1e-3 of its norm, in one process as between two."""
    torch.manual_seed(0)
    model = Fingerprinter(tiny())
    synchronise(model.encoder)
    loop = Loop(EncoderTask(model, model.config.training), model.config.training, 10, 1e-3)
    loop.half = False
    loop.task.train()
    measured = loop.take(mine)
    gradients = {name: p.grad.clone() for name, p in model.encoder.named_parameters() if p.grad is not None}
    return measured.loss, gradients, {name: b.clone() for name, b in model.encoder.named_buffers()}


def worker(rank: int, folder: str, broken: bool) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    mine = half(pairs(), rank)
    if broken and rank == 1:
        mine.queries[0, 0, 0] = torch.nan
    try:
        torch.save(one_step(mine), Path(folder) / f"{rank}.pt")
    except NotANumber as error:
        (Path(folder) / f"{rank}.nan").write_text(str(error))
    dist.destroy_process_group()
    # the result is on disk; gloo's threads have aborted an interpreter that shut down on a busy machine
    os._exit(0)


def test_two_workers_are_one_with_twice_the_batch(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path), False), nprocs=2)
    loss, gradients, buffers = one_step(pairs())
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert norm > 0.1
    for rank in range(2):
        their_loss, theirs, their_buffers = torch.load(tmp_path / f"{rank}.pt")
        assert abs(their_loss - loss) < 1e-5
        assert theirs.keys() == gradients.keys()
        apart = torch.stack([(theirs[name] - gradient).norm() for name, gradient in gradients.items()]).norm()
        assert apart < 1e-5 * norm
        for name, buffer in buffers.items():
            assert torch.allclose(their_buffers[name], buffer, atol=1e-5), name


def test_their_batch_norm_is_torchs() -> None:
    torch.manual_seed(0)
    rows = torch.randn(64, 5, 7) * 3 + 100
    own, synced = torch.nn.BatchNorm1d(5), synchronise(torch.nn.BatchNorm1d(5))
    assert torch.allclose(own(rows), synced(rows), atol=1e-4)
    for (_, one), (_, other) in zip(own.named_buffers(), synced.named_buffers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5)


def test_a_loss_that_is_no_number_stops_every_worker_and_keeps_the_weights(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path), True), nprocs=2)
    assert "not a number at step 0" in (tmp_path / "0.nan").read_text()
    assert "not a number at step 0" in (tmp_path / "1.nan").read_text()


def test_nan_leaves_the_weights_and_names_the_batch() -> None:
    model = Fingerprinter(tiny())
    loop = Loop(EncoderTask(model, model.config.training), model.config.training, 10, 1e-3)
    before = {name: p.clone() for name, p in model.encoder.named_parameters()}
    broken = pairs()
    broken.references[3] = torch.nan
    with pytest.raises(NotANumber) as caught:
        loop.take(broken)
    assert caught.value.pairs is broken and loop.step == 0
    assert all(torch.equal(p, before[name]) for name, p in model.encoder.named_parameters())


def test_training_learns_and_resumes_where_it_stopped() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(tiny())
    loop = Loop(EncoderTask(model, model.config.training), model.config.training, 40, 3e-3)
    loop.task.train()
    losses = [loop.take(pairs()).loss for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    again = Loop(EncoderTask(Fingerprinter(tiny()), model.config.training), model.config.training, 40, 3e-3)
    again.restore(loop.state())
    again.task.train()
    assert again.step == 30
    assert abs(again.take(pairs()).loss - loop.take(pairs()).loss) < 1e-3


def test_the_reranker_learns_on_a_frozen_encoder() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(tiny(heads=4))
    first = Loop(EncoderTask(model, model.config.training), model.config.training, 40, 3e-3)
    first.task.train()
    for _ in range(30):
        first.take(pairs())
    assert isinstance(model.reranker, Reranker)
    attend_to_likeness(model.reranker)
    loop = Loop(RerankerTask(model, model.config.training), model.config.training, 150, 1e-2)
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    loop.task.train()
    losses = [loop.take(pairs()).loss for _ in range(150)]
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())
    assert losses[-1] < 0.9 * losses[0]
    figures = loop.task.validate(pairs())
    assert figures["score"] == figures["auc"] > 0.65


def test_negatives_of_the_reranker_come_from_earlier_batches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    task = RerankerTask(Fingerprinter(tiny(heads=4)), tiny(heads=4).training)
    task.train()
    first, second = replace(pairs(), track=torch.arange(PAIRS)), pairs()
    task.loss(task.module, first, None, 0)
    assert len(task.negatives) == PAIRS
    asked: list[torch.Tensor] = []
    hardest = losses.hardest_negatives

    def noted(*arguments: Any) -> torch.Tensor:
        asked.append(hardest(*arguments))
        return asked[-1]

    monkeypatch.setattr(losses, "hardest_negatives", noted)
    # the same windows under other names: each one's copy in the catalogue is the hardest there is
    task.loss(task.module, replace(second, track=torch.arange(100, 100 + PAIRS)), None, 0)
    own_copy = (asked[0] == PAIRS + torch.arange(PAIRS)[:, None]).any(1)
    assert own_copy.float().mean() > 0.5
    # under their own names they are excluded, and validation does not look there
    task.loss(task.module, replace(second, track=torch.arange(PAIRS)), None, 0)
    chosen = asked[1]
    assert not (chosen == PAIRS + torch.arange(PAIRS)[:, None]).any()
    task.validate(replace(second, track=torch.arange(PAIRS)))
    assert asked[2].max() < PAIRS and len(task.negatives) == 3 * PAIRS


def test_a_model_without_a_reranker_of_nodes_is_refused() -> None:
    model = Fingerprinter(tiny())
    with pytest.raises(ValueError, match="heads to 4"):
        RerankerTask(model, model.config.training)
