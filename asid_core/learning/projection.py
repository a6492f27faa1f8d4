"""Fits projections of whitened patches in closed form: principal components, or linear discriminants of pairs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asid_core.learning.pairs import Pairs
from asid_core.model.linear import centred_roots

# Directions are divided by this power of their variance, half-way to whitening: the first directions are common to all
# music, and the later ones distinguish recordings.
WHITENING = 0.25
RIDGE = 0.2  # share of the mean within-pair variance that is added to the variance of every direction


def fit_projection(patches: Iterable[Tensor], dim: int) -> Tensor:
    """Components [dim, D] from a stream of patches [n, bins, frames] of unit norm; zero patches (silence) are ignored.

    Uses the second moment instead of the covariance, because subtracting a mean would distort the angles of
    non-negative features. Raises ValueError if there are fewer patches than dimensions.
    """
    moment, count = torch.zeros(0, 0, dtype=torch.float64), 0
    for batch in patches:
        flat = batch.flatten(1)
        flat = flat[flat.abs().amax(1) > 0]
        if not count:
            moment = torch.zeros(flat.shape[1], flat.shape[1], dtype=torch.float64)
        moment += (flat.T @ flat).double()
        count += len(flat)
    if count < dim:
        raise ValueError(
            f"{count} windows of music are too few for {dim} dimensions; use more audio or a smaller encoder.dim"
        )
    variance, directions = torch.linalg.eigh(moment / count)
    variance, directions = variance.flip(0)[:dim], directions.flip(1)[:, :dim]
    # the sign of an eigenvector is arbitrary; fix it, so that all machines give the same weights
    signs = directions.sum(0).sign()
    return (directions * signs / variance.clamp(min=1e-9) ** WHITENING).T.float().contiguous()


def fit_discriminant(pairs: Iterable[Pairs], dim: int) -> Tensor:
    """Components [dim, D] from a stream of training pairs, by linear discriminant analysis; each pair is a class.

    The components are the directions v with the largest v'Bv / v'Wv, scaled to v'Wv = 1. W is the second moment of
    query minus reference (what the mix changes), B that of query with reference (what stays the same), both of
    `centred_roots`. Raises ValueError if windows have fewer values than `dim`.
    """
    within, between = torch.zeros(0, 0, dtype=torch.float64), torch.zeros(0, 0, dtype=torch.float64)
    for batch in pairs:
        queries, references = centred_roots(batch.queries), centred_roots(batch.references)
        heard = (queries.abs().amax(1) > 0) & (references.abs().amax(1) > 0)
        queries, references = queries[heard], references[heard]
        if not len(within):
            within = torch.zeros(queries.shape[1], queries.shape[1], dtype=torch.float64)
            between = torch.zeros_like(within)
        differences, together = queries - references, queries.T @ references
        within += (differences.T @ differences).double()
        between += ((together + together.T) / 2).double()
    if len(within) < dim:
        raise ValueError(f"windows of {len(within)} values are too small for {dim} dimensions; reduce encoder.dim")
    within.diagonal().add_(RIDGE * within.diagonal().mean())
    lower = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(lower, between, upper=False)
    both = torch.linalg.solve_triangular(lower, half.T, upper=False)
    _, turned = torch.linalg.eigh((both + both.T) / 2)
    directions = torch.linalg.solve_triangular(lower.T, turned[:, -dim:].flip(1), upper=True)
    directions = directions * directions.sum(0).sign() / directions.norm(dim=0).mean()
    return directions.T.float().contiguous()
