"""Every block of docs/extending.md runs, and the parts that it adds are those that the model is made of."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spikevae
from spikevae.config import CLASS_NAMES
from spikevae.registry import choose

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
REGISTERS: dict[str, dict[str, Any]] = {
    "squeeze": spikevae.ATTENTIONS,
    "integrate": spikevae.NEURONS,
    "coins": spikevae.LATENTS,
    "stripes": spikevae.DATASETS,
    "brightness": spikevae.METRICS,
    "duration": spikevae.MODEL_METRICS,
}


def written(page: Path, to: Path) -> Path:
    """A program of all blocks, as a reader would copy them."""
    to.write_text("\n\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)))
    return to


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("extending")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        yield runpy.run_path(str(written(PAGE, folder / "mine.py")))
    for name, parts in REGISTERS.items():
        del parts[name]
    del CLASS_NAMES["stripes"]


def test_the_parts_of_the_page_are_the_parts_of_its_trained_model(page: dict[str, Any]) -> None:
    model = page["trained"]
    assert isinstance(model.encoder.stages[0].attention, page["SqueezeAttention"])
    assert isinstance(model.encoder.stages[0].neurons, page["IntegrateAndFire"])
    assert isinstance(model.latent, page["CoinLatent"])
    assert model.config.class_names == ("columns", "rows")
    assert torch.equal(page["images"], model.sample(8, seed=0))


def test_the_metric_of_the_page_measures_its_samples(page: dict[str, Any]) -> None:
    (score,) = page["scores"].scores
    samples = page["trained"].sample(20, seed=0).mul(255).round()
    assert score.value == pytest.approx(float(samples.mean()) / 127.5, rel=1e-4)  # half of the stripes are light
    assert score.name == "brightness over real"


def test_a_metric_is_given_the_spaces_that_it_names_and_another_name_is_refused(
    page: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.METRICS", dict(spikevae.METRICS))
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.MODEL_METRICS", dict(spikevae.MODEL_METRICS))

    def measure(evaluation: Any) -> list[spikevae.Score]:
        ours, _ = evaluation.features("edges")
        return [spikevae.Score("edge", float(ours["laplacian"].mean()))]

    for name, space in (("edge", "edges"), ("wrong", "fad")):
        spikevae.register_metric(name, {"edge": "edge"}, spaces=(space,))(measure)
    found = spikevae.evaluate(page["trained"], data="stripes", metrics=("edge",), count=10)
    assert found.value("edge") is not None
    with pytest.raises(ValueError, match="space='fad' is none of autoencoder, classifier, inception, edges, small pix"):
        spikevae.evaluate(page["trained"], data="stripes", metrics=("wrong",), count=10)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("made", "kept"),
    [
        (lambda: [spikevae.Score("own", torch.tensor(1.5), np.float32(0.25))], (1.5, 0.25)),  # type: ignore[arg-type]
        (lambda: [spikevae.Score("own", np.array([2.5]))], (2.5, None)),  # type: ignore[arg-type]
        (lambda: spikevae.Score("own", 1.0), (1.0, None)),
        (lambda: iter([spikevae.Score("own", 3)]), (3, None)),
        (lambda: [spikevae.Score("own", None, note="no")], (None, None)),
    ],
)
def test_what_a_metric_of_ones_own_gives_is_written_as_numbers(
    page: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    made: Callable[[], Any],
    kept: tuple[object, object],
) -> None:
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.METRICS", dict(spikevae.METRICS))
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.MODEL_METRICS", dict(spikevae.MODEL_METRICS))

    def measure(evaluation: Any) -> Any:
        evaluation.details["own"] = {"table": torch.ones(2, 2), "row": np.arange(3)}
        return made()

    spikevae.register_metric("own", needs="model")(measure)  # type: ignore[arg-type]
    found = spikevae.evaluate(page["trained"], data="stripes", metrics="own", count=10, json=tmp_path / "scores.json")
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert [(score["value"], score["error"]) for score in stored["scores"]] == [kept]
    assert [(score.value, score.error) for score in found.scores] == [kept]
    assert stored["details"]["own"] == {"table": [[1.0, 1.0], [1.0, 1.0]], "row": [0, 1, 2]}


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: None, "the metric 'own' gave NoneType, and not a list of spikevae.Score"),
        (lambda: torch.tensor(0.5), "the metric 'own' gave Tensor"),
        (lambda: [{"own": 1.0}], "the metric 'own' gave dict"),
        (lambda: [spikevae.Score("own", "1.0")], "the score 'own' has the value 1.0, and not a number"),  # type: ignore[arg-type]
        (lambda: [spikevae.Score("own", torch.ones(2))], "the score 'own' has the value"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_score_is_refused_in_one_line(
    page: dict[str, Any], monkeypatch: pytest.MonkeyPatch, made: Callable[[], Any], message: str
) -> None:
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.METRICS", dict(spikevae.METRICS))
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.MODEL_METRICS", dict(spikevae.MODEL_METRICS))
    spikevae.register_metric("own")(lambda evaluation: made())
    with pytest.raises(ValueError, match=message):
        spikevae.evaluate(page["trained"], data="stripes", metrics="own", count=10)


@pytest.mark.usefixtures("unchecked_types")
def test_a_register_without_a_name_and_an_unknown_need_are_refused(page: dict[str, Any]) -> None:
    anything: Any = spikevae
    for register in (anything.register_attention, anything.register_latent, anything.register_metric):
        with pytest.raises(ValueError, match=r"is no name; say @register_…\('NAME'\)"):
            register(torch.nn.Linear)
    with pytest.raises(ValueError, match=r"own: needs='modell' is none of model, split"):
        anything.register_metric("own", needs=("modell",))


def test_a_model_whose_neurons_are_of_ones_own_has_a_report(page: dict[str, Any], tmp_path: Path) -> None:
    spikevae.evaluate(page["trained"], data="stripes", metrics=("spikes",), count=20, report=tmp_path)
    assert "no layer is a BaseNode" in (tmp_path / "report.html").read_text()


def test_the_integrating_neurons_of_the_page_fire_as_worked_by_hand(page: dict[str, Any]) -> None:
    neurons = page["IntegrateAndFire"](page["trained"].config)
    currents = torch.tensor([0.6, 0.6, 0.6, 0.3, 0.3]).reshape(5, 1, 1)  # 0.6, 1.2 fires, 0.6, 0.9, 1.2 fires
    assert neurons(currents).flatten().tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("name", REGISTERS)
def test_a_name_is_registered_once_and_an_unknown_one_lists_the_known(page: dict[str, Any], name: str) -> None:
    before = REGISTERS[name][name]
    again: dict[str, Callable[[str], Callable[[Any], Any]]] = {
        "squeeze": spikevae.register_attention,
        "integrate": spikevae.register_neuron,
        "coins": spikevae.register_latent,
        "stripes": lambda taken: spikevae.register_dataset(taken, class_names=("a",)),
        "brightness": spikevae.register_metric,
        "duration": lambda taken: spikevae.register_metric(taken, of="models"),
    }
    with pytest.raises(ValueError, match=f"'{name}' is registered already"):
        again[name](name)(page["measure_brightness"])
    assert REGISTERS[name][name] is before
    with pytest.raises(ValueError, match=name):
        choose(REGISTERS[name], "part", f"{name}s")


def test_the_command_line_knows_the_parts_of_a_program_that_ends_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: dict[str, Any]
) -> None:
    text = written(PAGE, tmp_path / "mine.py").read_text()
    ending = text[text.index('if __name__ == "__main__":') :]
    (tmp_path / "main.py").write_text(ending)
    monkeypatch.chdir(tmp_path)
    tiny = "--model.image-size 16 --model.image-channels 1 --model.encoder-widths 4 --model.decoder-widths 4 4"
    parts = "--model.attention squeeze --model.neuron integrate --model.latent coins"
    command = f"train stripes --out run --train.epochs 1 {tiny} {parts}"
    monkeypatch.setattr(sys, "argv", ["main.py", *command.split()])
    runpy.run_path("main.py", run_name="__main__")  # ends without an exit status, which is 0
    assert spikevae.load("run").config.attention == "squeeze"


def test_a_model_that_is_saved_is_loaded_with_the_same_images(tmp_path: Path) -> None:
    config = spikevae.ModelConfig(
        image_size=8, encoder_widths=(4,), decoder_widths=(4, 4), latent_size=4, attention="none", latent="potential"
    )
    model = spikevae.SpikingVAE(config).eval()
    model.load_state_dict({name: x.half().to(x.dtype) for name, x in model.state_dict().items()})
    spikevae.save(model, tmp_path / "mine", dataset="mnist")
    assert torch.equal(spikevae.load(tmp_path / "mine").sample(3, seed=1), model.sample(3, seed=1))


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_saving_replaces_a_model_and_no_file_of_another_kind(name: str, tmp_path: Path) -> None:
    config = spikevae.ModelConfig(
        image_size=8, encoder_widths=(4,), decoder_widths=(4, 4), latent_size=4, attention="none", latent="potential"
    )
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds {name}, which is of no model of spikevae"):
        spikevae.save(spikevae.SpikingVAE(config), tmp_path, dataset="mnist")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "{}")]
    for _ in range(2):
        spikevae.save(spikevae.SpikingVAE(config), tmp_path / "mine", dataset="mnist")


@pytest.mark.usefixtures("unchecked_types")
def test_a_model_in_memory_is_scored_as_its_folder_is_and_needs_a_data_set(page: dict[str, Any]) -> None:
    model = page["trained"].train()
    in_memory = spikevae.evaluate(model, data="stripes", metrics=("brightness",), count=20)
    assert model.training
    model.eval()
    assert in_memory.scores == page["scores"].scores
    compiled: Any = torch.compile(model)
    compiled = spikevae.evaluate(compiled, data="stripes", metrics=("brightness",), count=20)
    assert compiled.scores == in_memory.scores
    from_folder = spikevae.evaluate("runs/stripes", metrics=("brightness",), count=20)
    assert from_folder.scores == in_memory.scores
    with pytest.raises(ValueError, match="does not know its data set"):
        spikevae.evaluate(model)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_no_model_is_not_scored() -> None:
    anything: Any = spikevae.evaluate
    for network in (torch.nn.Linear(2, 2), torch.nn.DataParallel(torch.nn.Linear(2, 2))):
        with pytest.raises(ValueError, match=f"got {type(network).__name__}; of a wrapped one give"):
            anything(network, data="mnist")


def test_all_that_is_public_is_there() -> None:
    for name in spikevae.__all__:
        assert getattr(spikevae, name) is not None
    assert set(spikevae.__all__) <= set(dir(spikevae))
