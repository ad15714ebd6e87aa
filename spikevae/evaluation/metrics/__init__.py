"""Every metric, in a file of its own. `METRICS` and `MODEL_METRICS` have them by name; `register` adds one."""

from __future__ import annotations

from spikevae.evaluation.metrics.registry import METRICS, MODEL_METRICS, NotComputedError, register

# Importing a metric's file registers it.
from spikevae.evaluation.metrics import (  # noqa: F401  # isort: skip
    frechet,
    fad_papers,
    domain,
    sharpness,
    kid,
    inception_score,
    precision_recall,
    near_copies,
    label_agreement,
    reconstruction,
    accuracy,
    spikes,
    recordings,
)

__all__ = ["METRICS", "MODEL_METRICS", "NotComputedError", "register"]
