"""The discriminator of adversarial fine-tuning."""

from __future__ import annotations

import pytest
import torch

from spikevae.training.discriminator import Discriminator, _variety


@pytest.mark.parametrize("count", [1, 6, 8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_variety_of_neighbours_is_their_standard_deviation(count: int, layout: torch.memory_format) -> None:
    maps = torch.rand(count, 5, 3, 4).contiguous(memory_format=layout)
    found = _variety(maps)
    assert found.shape == (count, 1, 3, 4)
    size = 4 if count == 8 else count  # four images beside each other, or all where they make no fours
    for first in range(0, count, size):
        neighbours = maps[first : first + size].double()
        expected = (neighbours.var(dim=0, unbiased=False) + 1e-4).sqrt().mean()
        torch.testing.assert_close(found[first : first + size].double(), expected.expand(size, 1, 3, 4))


def test_images_that_are_all_alike_are_judged_otherwise_than_varied_ones() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(1, 0).eval()
    varied = torch.rand(4, 1, 28, 28)
    alike = varied[:1].expand(4, -1, -1, -1)
    with torch.no_grad():
        among_varied, among_alike = discriminator(varied, None), discriminator(alike, None)
    torch.testing.assert_close(among_varied.patches[0], among_alike.patches[0])  # patches are judged alone
    assert (among_varied.whole[0] - among_alike.whole[0]).abs() > 1e-5
