"""FAD as FSVAE, ESVAE and FSDDIM measure it: their autoencoder, their statistics, their protocol."""

from __future__ import annotations

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.frechet import distance_to, jackknife_error, matrix_root
from spikevae.evaluation.metrics.registry import JACKKNIFE, SAMPLES, NotComputedError, register
from spikevae.evaluation.networks.papers import LEAST_SAMPLES, PROTOCOL, open_instrument
from spikevae.evaluation.scores import Score


@register(
    "fad_papers",
    {"fad_papers": "FAD (the papers' autoencoder)"},
    spaces=("small pixels",),
    needs=("papers' files",),
    reads=(*SAMPLES, "fad_autoencoder", "fad_statistics"),
)
def measure_fad_papers(evaluation: Evaluation) -> list[Score]:
    """Fréchet distance of the samples' latents from the papers' statistics of the test split."""
    config = evaluation.config
    if config.fad_autoencoder is None or config.fad_statistics is None:
        raise NotComputedError(
            "it needs FSVAE's files (kamata1729/FullySpikingVAE, metrics/): --fad-autoencoder and --fad-statistics"
        )
    if evaluation.samples.count < LEAST_SAMPLES:
        raise NotComputedError(f"the papers take {LEAST_SAMPLES:,} samples or more, not {evaluation.samples.count:,}")
    instrument = open_instrument(config.fad_autoencoder, config.fad_statistics)
    latents = instrument.latents(evaluation.features("small pixels")[0]["pixels"]).double()
    root = matrix_root(instrument.covariance)
    hashes = f"autoencoder SHA-256 {instrument.autoencoder_hash}, statistics SHA-256 {instrument.statistics_hash}"
    return [
        Score(
            "fad_papers",
            distance_to(latents, instrument.mean, root),
            jackknife_error(latents, instrument.mean, root),
            JACKKNIFE,
            "lower",
            extractor=config.fad_autoencoder.stem,
            weights_hash=instrument.autoencoder_hash,
            samples=len(latents),
            reference=f"the statistics in {config.fad_statistics.name}",
            image_size="bilinear to 32x32, antialiased",
            note=f"{PROTOCOL}; {hashes}",
        )
    ]
