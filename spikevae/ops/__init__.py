"""The seam between the papers and speed.

Each operation stands here as a plain PyTorch reference, which defines what is right, and a function of the same
arguments that takes a faster way where it may (:mod:`spikevae.ops.dispatch`). ``SPIKEVAE_OPS=reference`` runs
everything on the references.
"""

from __future__ import annotations

from spikevae.ops.density import points_of_gaussians, triangles
from spikevae.ops.dispatch import (
    RateMeter,
    is_traced,
    is_transformed,
    known,
    known_reader,
    known_synapses,
    reference_only,
)
from spikevae.ops.lif import THRESHOLD, lif, lif_step
from spikevae.ops.planes import GatedSpikes
from spikevae.ops.read_out import weighted_sum
from spikevae.ops.remembered import Remembered
from spikevae.ops.repeated import each_step
from spikevae.ops.stage import norm_fire_gate, spiking_stage
from spikevae.ops.stages import spiking_stages
from spikevae.ops.synapses import spike_convolution

__all__ = [
    "THRESHOLD",
    "GatedSpikes",
    "RateMeter",
    "Remembered",
    "each_step",
    "is_traced",
    "is_transformed",
    "known",
    "known_reader",
    "known_synapses",
    "lif",
    "lif_step",
    "norm_fire_gate",
    "points_of_gaussians",
    "reference_only",
    "spike_convolution",
    "spiking_stage",
    "spiking_stages",
    "triangles",
    "weighted_sum",
]
