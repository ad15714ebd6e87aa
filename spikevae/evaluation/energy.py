"""What a network costs: spikes, operations, and energy by the field's convention. docs/energy.md has a worked example.

An operation is one use of one weight by one input that is not zero. A 45 nm chip needs 4.6 pJ for a 32-bit
multiply-accumulate (MAC), 3.7 pJ for the multiplication alone and 0.9 pJ for an accumulate (AC) (Horowitz, ISSCC 2014).
A multiplication by 2^k adds k to an exponent: 0.1 pJ, a 32-bit integer's addition.
Energy is counted in three columns:

* plain: binary spikes accumulate, and so do an event camera's events, once for each event of a count; whatever else
  reaches a weight, also a spike with TCJA's gate, is a MAC.
* folded: a gate is one number for all places of a channel, so the channel's kernel is multiplied by it once a time
  step, and every spike then accumulates. The same result, in another order. Gates of 2^-k only shift.
* ordinary: the same layers in a network without spikes, each run once, every connection a MAC.

Batch norm folds into the weights beforehand. Left out are the neurons' leak, the product of TCJA's two small tables,
and moving data, which costs real chips more than all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from spikevae.evaluation.costs import Cost, Folded, LayerCost
from spikevae.evaluation.operations import Counter
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.latents.mixture import Mixtures
from spikevae.nn.networks import Network


def measure_costs(model: Network, x: Tensor, *, seed: int) -> dict[str, Cost]:
    """Costs per image, or recording, of what the model can do of encoding, decoding, sampling and classifying.

    ``classify`` looks at each image once; ``classify_flip``, of models made for it, at its mirror image too.

    Args:
        model: in eval mode.
        x: images [N, C, H, W] in [0, 1], or event frames [T, N, 2, H, W], to encode, decode and classify; as many are
            sampled.
        seed: of the samples.
    """
    count = x.shape[1] if x.dim() == 5 else len(x)
    calls: dict[str, Callable[[], object]] = {}
    if not isinstance(model, SpikingClassifier):
        with torch.inference_mode():
            z_seq = model.encode(x).mode()
        calls["encode"] = lambda: model.encode(x).mode()
        calls["decode"] = lambda: model.decode(z_seq)
        calls["sample"] = lambda: model.sample(count, seed=seed, batch_size=count)
    if isinstance(model, SpikingEventVAE):
        if model.config.classes:
            calls["classify"] = lambda: model.classify(x, batch_size=count)
    elif model.config.classes:
        calls["classify"] = lambda: model.classify(x, batch_size=count, flip_tta=False)
        if model.config.classify_mirrored:
            calls["classify_flip"] = lambda: model.classify(x, batch_size=count, flip_tta=True)
    return count_calls(model, calls, images=count)


@torch.inference_mode()
def count_calls(model: nn.Module, calls: Mapping[str, Callable[[], object]], *, images: int) -> dict[str, Cost]:
    """Costs of each call, divided by the number of images that it is done for; ``sample`` draws from the density."""
    costs = {}
    for name, call in calls.items():
        with counting(model, images=images) as costs[name]:
            call()
    if "sample" in costs:
        add_density(costs["sample"], model)
    return costs


def add_density(cost: Cost, model: nn.Module) -> None:
    """Add to the cost of a sample its draw from the density: not a module's forward, so no hook sees it."""
    for name, module in model.named_modules():
        if isinstance(module, Mixtures):
            products = float(module.connections)
            layer = cost.layers[name] = LayerCost(name, dense=products)
            layer.add(0.0, products, Folded(multiply_accumulates=products))


@contextmanager
def counting(network: nn.Module, *, images: int) -> Iterator[Cost]:
    """Count what ``network`` does inside the block, divided by the number of images it is done for.

    The counts of a layer that runs several times add up; ``dense`` is that of its first run for one image.
    """
    counter = Counter(network, images)
    try:
        yield counter.cost
    finally:
        counter.remove()
