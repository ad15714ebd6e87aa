"""The released models' measured scores, as the evaluation wrote them beside each model."""

from __future__ import annotations

from collections.abc import Sequence

from spikevae.evaluation.reports.tables import bounds_by_metric, comparison_text, label, value_text
from spikevae.evaluation.scores import Scores, read_scores_json
from spikevae.hub.checkpoints import model_folder
from spikevae.hub.measured import measured_scores

from .models import name_of
from .pictures import Row, scores_table

MEANINGS = {
    "fad": "How far new pictures are from real ones, in the features of an autoencoder; 0 is no difference.",
    "fad_papers": "The same with the autoencoder that published figures were measured with.",
    "domain_frechet": "The same distance in the features of a classifier of this data set.",
    "domain_kernel": "A second distance in those features, less sensitive to the number of pictures.",
    "domain_precision": "Share of new pictures that lie among the real ones: are they good?",
    "domain_recall": "Share of real pictures that lie among the new ones: are all kinds drawn?",
    "sharpness": "Detail of new pictures as a share of real ones' detail; less than 1 is blurred.",
    "fid": "The usual distance between new and real pictures, in the features of Inception; 0 is no difference.",
    "kid": "A second distance in Inception's features, less sensitive to the number of pictures.",
    "inception_score": "How clearly Inception names new pictures, and how many kinds it sees.",
    "inception_precision": "Share of new pictures among the real ones, in Inception's features.",
    "inception_recall": "Share of real pictures among the new ones, in Inception's features.",
    "copies_pixels": "Share of new pictures that are nearly one of the training pictures, by pixels.",
    "copies_features": "The same by features, so that a shifted copy counts too.",
    "label_agreement": "How often a classifier names the class that was asked for.",
    "reconstruction_mse": "Mean squared difference between a picture and its reconstruction, pixels from -1 to 1.",
    "reconstruction_mse_32": "The same at 32x32 pixels, as in the papers.",
    "psnr": "The same difference in decibels; from 30 on it is hard to see.",
    "ssim": "Likeness of structure between a picture and its reconstruction; 1 is the same.",
    "accuracy": "How often the model names a test picture rightly.",
    "firing_rate": "Share of neurons that fire at a time step; fewer spikes take less energy.",
    "encode_energy": "Energy to turn a picture into latent spikes, by counted operations.",
    "decode_energy": "Energy to turn latent spikes into a picture.",
    "sample_energy": "Energy to draw a new picture.",
    "classify_energy": "Energy to name a picture.",
    "classify_flip_energy": "Energy to name a picture from itself and its mirror image.",
}
"""What each measure says, in a line."""


def scores_section(model: str) -> str:
    """A table; without scores of these weights, how to measure them.

    Args:
        model: a bundled name or a folder.

    Raises:
        ValueError: if the file of scores is damaged.
    """
    path = measured_scores(model_folder(model))
    if path is None:
        words = f"These weights were not measured yet; `spikevae evaluate {model}` does it."
        return scores_table((), (), name_of(model), words)
    scores = read_scores_json(path)
    baselines = list(dict.fromkeys(baseline.what for baseline in scores.baselines))
    head = ("measure", "value", "best is", *baselines, "measured on")
    part = f" ({scores.split})" if scores.split != "test" and scores.split else ""
    words = f"Measured on {scores.data}{part}, protocol {scores.protocol}, seed {scores.seed}. Again: {scores.command}"
    return scores_table(head, _rows(scores, baselines), name_of(model), words)


def _rows(scores: Scores, baselines: Sequence[str]) -> list[Row]:
    bounds = bounds_by_metric(scores)
    return [
        Row(
            label(score),
            (
                value_text(score),
                score.better,
                *(bounds.get(score.metric, {}).get(baseline, "") for baseline in baselines),
                comparison_text(score),
            ),
            note=MEANINGS.get(score.metric, ""),
        )
        for score in scores.scores
        if score.value is not None
    ]
