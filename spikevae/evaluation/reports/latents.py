"""Latents side by side in docs/results.md, from what ``python -m benchmarks.latents`` measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spikevae.evaluation.reports.tables import Table, number_text

NAMES = {
    "grid": "`grid`: bits on a 7x7 grid",
    "potential": "`potential`: ours, without a grid",
    "autoregressive": "`autoregressive`: FSVAE's",
    "esvae": "`esvae`: ESVAE's",
}
COLUMNS = {
    "reconstruction_mse_32": "error at 32x32",
    "fad_papers": "FAD (the papers' autoencoder)",
    "fad": "FAD (autoencoder)",
    "domain_frechet": "Fréchet distance, domain classifier",
    "domain_precision": "precision",
    "domain_recall": "recall",
    "sharpness": "sharpness over real",
    "accuracy": "accuracy",
}
"""Metrics of the comparison, and what its table calls them."""
_TEXT = """## Latents side by side

Published models differ in more than their latent. Here encoder, decoder, attention and neurons are the same, and so are
data, classifier, learning rate and number of epochs. Only the latent differs. Each has its own divergence, and a weight
for it: 1 for FSVAE and 0.001 for ESVAE, as in their code, and 0.0001 for the two others. None has an adversarial phase.
Two things belong to `potential` (and `grid`, where it has a row): in the last third of the epochs their spikes are not
random, and at the end a density is fitted. All latents send T x L bits for an image. The decoder of a grid starts with
a convolution, the others with a linear layer. Energy is counted with
[gates multiplied (a), and folded (b)](energy.md#three-columns).

`{command}`:
encoder {encoder}, decoder {decoder}, T = {time_steps}, L = {latent_size}, {epochs} epochs of {images:,} images;
{machine}. {versions}.
"""


def latent_table(results: Mapping[str, Any]) -> Table:
    """One row for each latent, one column for each metric that was computed."""
    shown = [metric for metric in COLUMNS if any(metric in entry["scores"] for entry in results.values())]
    head = ("latent", *(COLUMNS[metric] for metric in shown), "µJ a sample, (a), (b)", "parameters", "training")
    rows = [
        (
            NAMES.get(name, f"`{name}`"),
            *(number_text(*entry["scores"][metric]) if metric in entry["scores"] else "–" for metric in shown),
            f"{entry['microjoule']:.3g}, {entry['microjoule_folded']:.3g}",
            f"{entry['parameters']:,}",
            f"{entry['seconds'] / 60:.1f} min",
        )
        for name, entry in results.items()
    ]
    return Table(head, rows)


def latent_section(path: Path) -> Iterator[str]:
    """The section of the page.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is not what the benchmark writes.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        first = next(iter(results.values()))
        settings, versions = first["settings"], first["versions"]
        words = {key: ", ".join(map(str, settings[f"{key}_widths"])) for key in ("encoder", "decoder")}
        text = _TEXT.format(
            **{**settings, **words},
            machine=first["machine"],
            versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        )
        table = latent_table(results).as_markdown()
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ValueError(
            f"{path} holds no comparison of latents: write it with `python -m benchmarks.latents`"
        ) from error
    yield text
    yield table
