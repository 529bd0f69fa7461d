"""Mel filter banks (HTK's formula) for the codec's features and losses."""

import math

import torch
from torch import Tensor


def mel_filters(sample_rate: int, window: int, bands: int) -> Tensor:
    """Triangular filters [window // 2 + 1, bands], evenly spaced in mel from 0 Hz to half the sample rate; each sums to one."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    # a band narrower than one bin would be empty: it gets the bin nearest to its center
    nearest = (bins[:, None] - edges[1:-1]).abs().argmin(dim=0)
    filters[nearest, torch.arange(bands)] += 1e-3
    return filters / filters.sum(dim=0)
