"""The comparison of latents: what its runs share, its file, and its section of docs/results.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.latents import DIVERGENCE_WEIGHTS, main, settings
from spikevae.config import ObjectiveConfig
from spikevae.evaluation.reports.latents import latent_section, latent_table
from spikevae.evaluation.reports.results import write_results
from spikevae.evaluation.scores import Scores, write_scores_json


def entry(**scores: tuple[float, float | None]) -> dict[str, Any]:
    return {"scores": scores, "microjoule": 40.26, "microjoule_folded": 8.1, "parameters": 1234567, "seconds": 90}


def test_runs_differ_in_the_latent_and_what_belongs_to_it_alone() -> None:
    made = {latent: settings(latent, "root", 3) for latent in DIVERGENCE_WEIGHTS}
    alike = [
        replace(
            config,
            model=replace(config.model, latent="potential"),
            objective=ObjectiveConfig(),
            train=replace(config.train, deterministic_share=0.0),
        )
        for config in made.values()
    ]
    assert all(config == alike[0] for config in alike)
    assert {config.train.adversarial_epochs for config in made.values()} == {0}
    assert {latent: config.train.deterministic_epochs for latent, config in made.items()} == {
        "grid": 1,
        "potential": 1,
        "autoregressive": 0,
        "esvae": 0,
    }
    with pytest.raises(ValueError, match="'bernoulli' is not compared; the latents are grid, potential"):
        settings("bernoulli", "root", 3)


def test_the_table_has_a_row_for_each_latent_and_a_column_for_each_metric_that_was_measured() -> None:
    results = {"esvae": entry(fad=(12.345, 0.21), accuracy=(0.9, 0.003)), "mine": entry(accuracy=(0.8, 0.004))}
    table = latent_table(results)
    assert table.head[:3] == ("latent", "FAD (autoencoder)", "accuracy")
    assert table.rows[0] == (
        "`esvae`: ESVAE's", "12.35 ± 0.21", "0.9000 ± 0.0030", "40.3, 8.1", "1,234,567", "1.5 min",
    )  # fmt: skip
    assert table.rows[1][:3] == ("`mine`", "–", "0.8000 ± 0.0040")


def test_a_comparison_is_run_once_and_becomes_a_section_of_the_page(
    made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(out, str(made_root), ("esvae",), epochs=1, image_limit=40, count=40)
    first = (out / "results.json").read_bytes()
    found = json.loads(first)["esvae"]
    assert {"reconstruction_mse_32", "fad", "domain_frechet", "domain_recall", "sharpness"} <= set(found["scores"])
    assert "fad_papers" not in found["scores"]
    assert found["microjoule"] > found["microjoule_folded"] > 0
    main(out, str(made_root), ("esvae",), epochs=1, image_limit=40, count=40)
    assert (out / "results.json").read_bytes() == first
    assert "| `esvae`: ESVAE's |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds esvae of another number of epochs or images; give another folder"):
        main(out, str(made_root), ("esvae",), epochs=2, image_limit=40, count=40)

    scores = Scores("tiny", "", "mnist", "paper", 0, "spikevae evaluate tiny", {}, ())
    write_scores_json(scores, tmp_path / "scores.json")
    write_results([tmp_path / "scores.json"], tmp_path / "results.md", out / "results.json")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert f"--latents {out / 'results.json'} --out" in page
    assert "T = 4, L = 196, 1 epochs of 40 images" in page
    assert page.count("| `esvae`: ESVAE's |") == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"esvae": {}}', '{"esvae": {"settings": {}, "versions": {}}}'])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json holds no comparison of latents: write it with"):
        list(latent_section(tmp_path / "x.json"))
