"""Centred, normalised correlation of whitened spectrograms, for the matched filter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.signal.probing import centred

MOST_COPIES = 128  # of an excerpt, one for each place; of 4 s, they take 12 MB
PLACES_PER_PART = 8192  # places correlated at once, 5 minutes: 3 MB per template frame

# Minimum of the product of the norms of template and place, per cell. Lower values (1 % of the pairs, mostly ends of
# fades) would make any two sounds of similar shape correlate by 0.6 or more. The median of music is 0.08.
FLOOR = 0.02


def correlate(templates: Tensor, features: Tensor) -> Tensor:
    """Centred, normalised correlation of templates [n, F, W] with every place of features [F, T]: [n, T - W + 1].

    Centring is a projection, so only the templates need it. The norm of each centred place comes from running sums.
    If the norms are below FLOOR, the correlation falls towards 0.
    """
    bins, width = templates.shape[1:]
    filters = centred(templates)
    products = _slide(filters, features)
    energy = _sums(features.square().sum(0), width)
    rows = _sums(features, width).square().sum(0) / width
    columns = _sums(features.sum(0).square(), width) / bins
    whole = _sums(features.sum(0), width).square() / (bins * width)
    places = (energy - rows - columns + whole).clamp(min=0).sqrt()
    norms = filters.flatten(1).norm(dim=1)[:, None] * places
    return products / norms.clamp(min=FLOOR * bins * width)


def _slide(filters: Tensor, features: Tensor) -> Tensor:
    """Sums of products of filters [n, F, W] with every place of features [F, T]: [n, T - W + 1].

    For few places, one product with a copy of each. For many, one product over frequency, then sums along its
    diagonals. Both are faster than conv1d, which is optimised for many small filters.
    """
    count, bins, width = filters.shape
    if count > 1 and features.shape[1] - width < min(width, MOST_COPIES):
        return filters.flatten(1) @ features.unfold(1, width, 1).transpose(0, 1).flatten(1).T
    rows = filters.transpose(1, 2).reshape(count * width, bins)
    places = features.shape[1] - width + 1
    parts = []
    for start in range(0, places, PLACES_PER_PART):
        product = (rows @ features[:, start : start + PLACES_PER_PART + width - 1]).unflatten(0, (count, width))
        along, down, _ = product.stride()
        size = (count, width, min(PLACES_PER_PART, places - start))
        parts.append(product.as_strided(size, (along, down + 1, 1)).sum(1))
    return torch.cat(parts, 1)


def _sums(values: Tensor, width: int) -> Tensor:
    """Running sums of `width` values along the last dimension."""
    running = F.pad(values.double().cumsum(-1), (1, 0))
    return (running[..., width:] - running[..., :-width]).float()


def running_correlation(query: Tensor, reference: Tensor, width: int) -> Tensor:
    """Centred correlation [T] of two aligned spectrograms [F, T], over `width` frames around each frame."""
    query, reference = (F.pad(x, (width // 2, width - 1 - width // 2)) for x in (query, reference))
    rows = _sums(query, width), _sums(reference, width)
    columns = query.sum(0), reference.sum(0)
    wholes = _sums(columns[0], width), _sums(columns[1], width)

    def product(a: int, b: int) -> Tensor:
        frames = (query, reference)
        means = (rows[a] * rows[b]).sum(0) / width + _sums(columns[a] * columns[b], width) / len(query)
        return _sums((frames[a] * frames[b]).sum(0), width) - means + wholes[a] * wholes[b] / (len(query) * width)

    norms = (product(0, 0).clamp(min=0) * product(1, 1).clamp(min=0)).sqrt()
    return product(0, 1) / norms.clamp(min=FLOOR * len(query) * width)
