"""The mel scale (HTK's formula) as filters over the bins of a spectrum, for the codec's ears and for its losses."""

import math

import torch
from torch import Tensor


def mel_filters(sample_rate: int, window: int, bands: int) -> Tensor:
    """Triangular filters [window // 2 + 1, bands], each summing to one, evenly spaced in mel from 0 to half the rate."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    # A band narrower than one bin would be empty: it takes the bin nearest to its centre.
    nearest = (bins[:, None] - edges[1:-1]).abs().argmin(dim=0)
    filters[nearest, torch.arange(bands)] += 1e-3
    return filters / filters.sum(dim=0)
