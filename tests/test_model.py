"""The whole model: calls that do not influence each other, batches that do not matter, images and latents in range."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import spikevae
from spikevae.config import ModelConfig
from spikevae.nn.latents.mixture import check_temperature
from spikevae.nn.networks import build_network
from spikevae.nn.vae import SpikingVAE

T, N, L = 3, 5, 6
POTENTIAL = ModelConfig(
    image_size=10,  # padded to 12
    class_names=("a", "b", "c", "d"),
    time_steps=T,
    encoder_widths=(8, 8),
    decoder_widths=(8, 8, 4),
    latent_size=L,
    prior_rank=2,
)
AUTOREGRESSIVE = replace(POTENTIAL, latent="autoregressive", latent_choices=5, neuron="lif", upsampling="transposed")
both_latents = pytest.mark.parametrize("config", [POTENTIAL, AUTOREGRESSIVE], ids=lambda config: config.latent)


def trained(config: ModelConfig) -> SpikingVAE:
    """A model in eval mode whose norms know their inputs, so that about a third of all neurons fire."""
    model = SpikingVAE(config).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
            nn.init.constant_(module.weight, 2.0)
            nn.init.constant_(module.bias, 1.0)
    with torch.no_grad():
        for _ in range(3):
            model(images(16, config))
    return model.eval()


def images(count: int = N, config: ModelConfig = POTENTIAL) -> Tensor:
    return torch.rand(count, config.image_channels, config.image_size, config.image_size)


@torch.no_grad()
def everything(model: SpikingVAE, x: Tensor) -> dict[str, Tensor]:
    """What each public call answers."""
    posterior = model.encode(x)
    return {
        "rate": posterior.rate(),
        "spikes": posterior.mode(),
        "drawn": posterior.sample(torch.Generator().manual_seed(1)),
        "decoded": model.decode(posterior.mode()),
        "reconstruction": model.reconstruct(x),
        "classes": model.classify(x),
        "samples": model.sample(4, seed=2),
    }


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@both_latents
def test_other_images_give_other_results(config: ModelConfig) -> None:
    """Without this, none of the tests below could fail."""
    model = trained(config)
    for name, value in everything(model, images(4)).items():
        rows = value.transpose(0, 1) if value.shape[0] == T and value.dim() == 3 else value
        assert len(rows.flatten(1).unique(dim=0)) == 4, name


@both_latents
def test_two_equal_calls_agree(config: ModelConfig) -> None:
    model, x = trained(config), images()
    assert_same(everything(model, x), everything(model, x))


@both_latents
def test_what_a_model_did_before_does_not_matter(config: ModelConfig) -> None:
    model, x = trained(config), images()
    fresh = copy.deepcopy(model)
    everything(model, images(N + 2))
    assert_same(everything(model, x), everything(fresh, x))


@both_latents
@pytest.mark.parametrize("part", ["encoder", "latent", "decoder"])
def test_a_call_after_one_that_failed_half_way_agrees(config: ModelConfig, part: str) -> None:
    model, x = trained(config), images()
    before = everything(model, x)
    calls: list[str] = []
    fails_at = 10**9

    def hook(*_: Any) -> None:
        calls.append(part)
        if len(calls) >= fails_at:
            raise RuntimeError("half way")

    leaves = [module for module in model.get_submodule(part).modules() if not list(module.children())]
    hooks = [module.register_forward_hook(hook) for module in leaves]
    model.reconstruct(images(N + 1))
    fails_at = len(calls) + len(calls) // 2 + 1
    with pytest.raises(RuntimeError, match="half way"):
        model.reconstruct(images(N + 1))
    for handle in hooks:
        handle.remove()
    assert_same(everything(model, x), before)


@both_latents
def test_training_passes_are_independent_of_each_other(config: ModelConfig) -> None:
    """But for the statistics of batch norms, which are there to change."""
    model, x = SpikingVAE(config).train(), images()
    start = copy.deepcopy(model.state_dict())
    gradients = []
    for _ in range(2):
        model.load_state_dict(start)
        model.zero_grad()
        torch.manual_seed(3)  # of the classifier's dropout
        outputs = model(x, torch.Generator().manual_seed(3))
        outputs.reconstruction.square().mean().add(outputs.divergence).add(outputs.logits.square().mean()).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert_same(*gradients)
    assert any(bool(gradient.abs().max() > 0) for name, gradient in gradients[0].items() if name.startswith("encoder"))


@both_latents
def test_a_last_smaller_batch_changes_nothing(config: ModelConfig) -> None:
    model, x = trained(config), images(7)
    whole, parts = model.reconstruct(x), model.reconstruct(x, batch_size=3)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.classify(x, batch_size=3), model.classify(x), rtol=0, atol=1e-5)


@both_latents
def test_an_image_alone_and_among_64_gives_the_same(config: ModelConfig) -> None:
    """Up to 1e-5: a convolution of another batch size may sum in another order."""
    model, x = trained(config), images(64)
    alone = [everything(model, image) for image in x[:6].split(1)]
    among = everything(model, x)
    for name, axis in (("spikes", 1), ("rate", 1), ("reconstruction", 0), ("classes", 0)):
        found = torch.cat([result[name] for result in alone], dim=axis)
        torch.testing.assert_close(found, among[name].narrow(axis, 0, 6), rtol=0, atol=1e-5)


@both_latents
def test_images_of_another_order_give_the_same_results_in_that_order(config: ModelConfig) -> None:
    model, x = trained(config), images(8)
    order = torch.randperm(8)
    torch.testing.assert_close(model.reconstruct(x[order]), model.reconstruct(x)[order], rtol=0, atol=1e-5)


@both_latents
def test_a_copy_of_a_used_model_agrees_with_it(config: ModelConfig) -> None:
    model, x = trained(config), images()
    before = everything(model, x)
    assert_same(everything(copy.deepcopy(model), x), before)


def test_batches_of_samples_leave_gradients_on_for_whoever_takes_them() -> None:
    model = SpikingVAE(ModelConfig())
    model.eval()
    for images in model.sample_batches(4, batch_size=2):
        assert not images.requires_grad
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["fashion-mnist", "faces", "n-mnist"])
def test_no_image_at_all_is_encoded_decoded_and_classified(name: str) -> None:
    model = spikevae.load(name)
    config = model.config
    x = torch.zeros(0, config.image_channels, *config.frame_size)
    if config.takes_events:
        x = x.expand(config.time_steps, -1, -1, -1, -1)
    assert model.reconstruct(x).shape == x.shape
    if config.classes:
        assert model.classify(x).shape == (0, config.classes)


@both_latents
def test_image_i_of_a_seed_depends_on_neither_count_nor_batch_size(config: ModelConfig) -> None:
    model = trained(config)
    many = model.sample(9, seed=4)
    torch.testing.assert_close(model.sample(5, seed=4), many[:5], rtol=0, atol=1e-5)
    torch.testing.assert_close(model.sample(9, seed=4, batch_size=2), many, rtol=0, atol=1e-5)
    later = torch.cat(list(model.sample_batches(4, seed=4, batch_size=3, start=5)))
    torch.testing.assert_close(later, many[5:], rtol=0, atol=1e-5)
    assert torch.equal(model.sample_prior([7], seed=4)[:, 0], model.sample_prior(range(9), seed=4)[:, 7])


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": torch.tensor([-1, 0])}, r"label=-?.*classes are 0 a, 1 b"),
        ({"labels": torch.tensor([4, 0])}, "classes are 0 a, 1 b"),
        ({"labels": torch.tensor([0, 1, 2])}, "3 labels for 2 images"),
        ({"indices": [-1, 0]}, "index=-1: expected a whole number from 0"),
        ({"indices": [1.5, 2]}, "index=1.5: expected a whole number"),
        ({"indices": [2**64]}, "expected a whole number from 0"),
        ({"indices": []}, "indices=0: expected at least 1 image"),
    ],
)
def test_new_latent_spikes_of_no_image_or_class_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    model = trained(POTENTIAL)
    for draw in (model.sample_prior, model.sample_potential):
        with pytest.raises(ValueError, match=message):
            draw(**{"indices": [0, 1], "seed": 0, **given})


@pytest.mark.usefixtures("unchecked_types")
@both_latents
def test_a_seed_in_place_of_a_generator_is_refused(config: ModelConfig) -> None:
    anything: Any = trained(config).encode(images())
    with pytest.raises(ValueError, match=r"generator=3: expected a torch\.Generator"):
        anything.sample(3)


def test_an_image_and_its_mirror_image_are_of_one_class_where_that_was_asked_for() -> None:
    plain, x = trained(POTENTIAL), images()
    model = SpikingVAE(replace(POTENTIAL, classify_mirrored=True)).eval()
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model.classify(x), (plain.classify(x) + plain.classify(x.flip(3))) / 2)
    torch.testing.assert_close(model.classify(x), model.classify(x.flip(3)))
    assert not torch.allclose(plain.classify(x), plain.classify(x.flip(3)))


@both_latents
def test_other_seeds_and_other_numbers_give_other_images(config: ModelConfig) -> None:
    model = trained(config)
    z_seq = torch.cat([model.sample_prior(range(4), seed=0), model.sample_prior(range(4), seed=1)], dim=1)
    distinct = z_seq.transpose(0, 1).flatten(1).unique(dim=0)
    assert len(distinct) == 8


@both_latents
def test_sampling_leaves_torchs_own_random_numbers_alone(config: ModelConfig) -> None:
    model = trained(config)
    state = torch.get_rng_state()
    model.sample(3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@both_latents
def test_latent_spikes_are_binary_and_rates_and_images_within_their_ranges(config: ModelConfig) -> None:
    model, x = trained(config), images()
    results = everything(model, x)
    for name in ("spikes", "drawn"):
        assert results[name].shape == (T, N, L)
        assert set(results[name].unique().tolist()) == {0.0, 1.0}, name
    assert results["rate"].shape == (T, N, L)
    for name in ("rate", "reconstruction", "decoded", "samples", "classes"):
        assert 0 <= float(results[name].min()) <= float(results[name].max()) <= 1, name
    torch.testing.assert_close(results["classes"].sum(dim=1), torch.ones(N))


@both_latents
def test_reconstruction_is_decoding_of_the_most_probable_spikes(config: ModelConfig) -> None:
    model, x = trained(config), images()
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x).mode()))


@pytest.mark.parametrize("size", [7, 9, 28, 30, 32])
@pytest.mark.parametrize("latent", ["potential", "autoregressive"])
def test_images_of_any_size_come_back_at_their_own_size(size: int, latent: str) -> None:
    config = replace(AUTOREGRESSIVE if latent == "autoregressive" else POTENTIAL, image_size=size, image_channels=3)
    config = replace(config, decoder_widths=(8, 4, 4, 4))  # doubles three times: 28 is padded to 32
    model, x = trained(config), images(2, config)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(2).shape == x.shape
    assert model.sample(2, size=13).shape == (2, 3, 13, 13)


def test_padding_is_even_and_what_the_network_paints_there_is_cut_off() -> None:
    """The encoder sees the image in the middle of black, and the middle of what the decoder paints is the image."""
    model = trained(replace(POTENTIAL, image_size=9))  # inside: 12, 1 before and 2 after
    seen: list[Tensor] = []
    painted: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.decoder.register_forward_hook(lambda _, __, output: painted.append(output))
    x = torch.rand(N, 1, 9, 9)
    y = model.reconstruct(x)
    torch.testing.assert_close(seen[0][..., 1:10, 1:10], 2 * x - 1)
    assert float(seen[0].sum()) == pytest.approx(float((2 * x - 1).sum()) - N * (12**2 - 9**2), abs=1e-3)
    torch.testing.assert_close(y, (painted[0][..., 1:10, 1:10] + 1) / 2)


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(N, 3, 10, 10),
        torch.rand(N, 1, 12, 12),
        torch.rand(N, 1, 10, 9),
    ],
    ids=["channels", "padded size", "not square"],
)
def test_images_of_another_shape_are_refused_with_what_was_expected(x: Tensor) -> None:
    model = trained(POTENTIAL)
    for call in (model.encode, model.reconstruct, model.classify, model):
        with pytest.raises(ValueError, match=r"images must be"):
            call(x)


@pytest.mark.parametrize("shape", [(T + 1, N, L), (1, N, L), (T, N, L + 1), (N, T, L)])
def test_latent_spikes_of_another_t_or_l_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"latent spikes must be \[T=3, N, L=6\]"):
        trained(POTENTIAL).decode(torch.zeros(shape))


@both_latents
def test_a_model_in_double_precision_computes_its_latents_in_it(config: ModelConfig) -> None:
    model = trained(config).double()
    assert model.encode(images().double()).rate().dtype == torch.float64


@pytest.mark.parametrize("temperature", [10**400, torch.ones(3), "1", None])
def test_a_temperature_that_is_no_number_is_refused(temperature: Any) -> None:
    with pytest.raises(ValueError, match="temperature="):
        inspect.unwrap(check_temperature)(temperature)  # without the tests' own check of its type


@both_latents
def test_images_in_double_precision_are_taken_as_well(config: ModelConfig) -> None:
    model, x = trained(config), images()
    assert torch.equal(model.reconstruct(x.double()), model.reconstruct(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count=0"),
        ({"count": -3}, "count=-3"),
        ({"count": 2, "seed": -1}, "seed=-1"),
        ({"count": 2, "seed": 2**63}, "seed=9223372036854775808"),
        ({"count": 2, "size": 0}, "size=0"),
        ({"count": 2, "label": 4}, "label=4: this model.s classes are 0 a"),
        ({"count": 2, "label": -1}, "label=-1"),
        ({"count": 2, "label": [0, 1, 2]}, "3 labels for 2 images"),
        ({"count": 2, "temperature": -0.1}, "temperature=-0.1"),
        ({"count": 2, "temperature": float("nan")}, "temperature=nan"),
        ({"count": 2, "batch_size": 0}, "batch_size=0"),
        ({"count": 2, "batch_size": -1}, "batch_size=-1"),
    ],
)
def test_a_setting_of_sampling_that_is_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(POTENTIAL).sample(**settings)


def test_a_batch_size_below_one_is_named() -> None:
    model = trained(POTENTIAL)
    for call in (model.reconstruct, model.classify):
        with pytest.raises(ValueError, match="batch_size=0"):
            call(images(), batch_size=0)


@pytest.mark.parametrize("settings", [{"label": 1}, {"temperature": 0.5}])
def test_the_autoregressive_latent_says_what_it_cannot_do(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="latent='autoregressive'"):
        trained(AUTOREGRESSIVE).sample(2, **settings)


def test_a_model_without_labels_says_so() -> None:
    model = trained(replace(POTENTIAL, class_names=()))
    assert model.sample(2).shape == (2, 1, 10, 10)
    assert model(images()).logits is None
    with pytest.raises(ValueError, match="without labels"):
        model.classify(images())
    with pytest.raises(ValueError, match="without labels"):
        model.sample(2, label=0)


def test_a_label_for_each_image_is_the_same_as_that_label_for_all() -> None:
    model = trained(POTENTIAL)
    mixed = model.sample(3, seed=5, label=[2, 0, 2])
    torch.testing.assert_close(mixed[[0, 2]], model.sample(3, seed=5, label=2)[[0, 2]], rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed[1], model.sample(3, seed=5, label=0)[1], rtol=0, atol=1e-5)


def test_nothing_but_weights_is_kept_after_a_call() -> None:
    """No neuron holds a membrane potential between calls: memory does not grow, and there is nothing to reset."""
    for config in (POTENTIAL, AUTOREGRESSIVE):
        model = trained(config)
        everything(model, images())
        left = [
            name
            for name, module in model.named_modules()
            for value in getattr(module, "_memories", {}).values()
            if isinstance(value, Tensor)
        ]
        assert not left


def test_labels_and_seeds_may_be_names_and_scalars_of_other_libraries() -> None:
    model = trained(POTENTIAL)
    name = model.config.class_names[1]
    expected = model.sample(3, seed=5, label=1)
    labels: list[Any] = [name, np.int64(1), torch.tensor(1), [1, name, np.int64(1)], torch.tensor([1, 1, 1])]
    for label in labels:
        assert torch.equal(model.sample(3, seed=5, label=label), expected)
    assert torch.equal(model.sample(3, seed=np.int64(5), label=1), expected)
    with pytest.raises(ValueError, match=f"this model's classes are .*{name}"):
        model.sample(1, label="no such class")


def test_a_generator_gives_other_images_at_every_call_and_the_same_ones_again() -> None:
    model = trained(POTENTIAL)
    generator = torch.Generator().manual_seed(3)
    first, second = model.sample(2, generator=generator), model.sample(2, generator=generator)
    assert not torch.equal(first, second)
    assert torch.equal(model.sample(2, generator=torch.Generator().manual_seed(3)), first)


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "not finite"), (255.0, "divide bytes by 255"), (-1.0, "-1")]
)
def test_pictures_that_are_not_in_range_are_refused(value: float, message: str) -> None:
    model, x = trained(POTENTIAL), images()
    x[0, 0, 0, 0] = value
    for call in (model.classify, model.reconstruct, model.encode):
        with pytest.raises(ValueError, match=message):
            call(x)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("given", [np.zeros((2, 1, 10, 10), "f4"), [[0.0]], None, Image.new("L", (10, 10)), "a.png"])
def test_what_is_no_tensor_is_refused_in_the_same_words_everywhere(given: Any) -> None:
    model, mask = trained(POTENTIAL), torch.ones(10, 10)
    network = replace(POTENTIAL, network="classifier", layers="conv4 readout")
    events = replace(network, image_channels=2)
    event_vae = replace(POTENTIAL, network="event-vae", image_channels=2, slice_by="time")
    calls: list[Any] = [model, model.encode, model.features, model.reconstruct, model.classify, model.decode]
    calls += [lambda x: model.inpaint(x, mask)]
    for config in (network, events, event_vae):
        other: Any = build_network(config).eval()
        calls += [other, other.features, other.classify, other.probabilities]
    calls += [other.encode, other.reconstruct, other.decode]
    message = r"must be a tensor of torch, got .*; for an array say torch\.as_tensor\(x\)"
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call(given)


@pytest.mark.usefixtures("unchecked_types")
def test_latent_spikes_that_are_none_are_refused_and_no_picture_is_made_of_them() -> None:
    model = trained(POTENTIAL)
    posterior = model.encode(images())
    potential, z_seq = posterior.potential, posterior.mode()
    assert potential is not None
    event_vae: Any = build_network(replace(POTENTIAL, network="event-vae", image_channels=2, slice_by="time")).eval()
    for network in (model, event_vae):
        for given in (potential * 10, -z_seq - 0.1, z_seq * torch.nan, z_seq.half() + torch.inf):
            with pytest.raises(
                ValueError, match=r"latent spikes are 0 or 1, these go from .* decode \(potential > 0\)"
            ):
                network.decode(given)
        for spikes in (z_seq > 0, z_seq.int(), z_seq.double()):
            assert torch.equal(network.decode(spikes), network.decode(z_seq))
        assert network.decode(z_seq + potential - potential).isfinite().all()  # spikes with a gradient, and rounding


@pytest.mark.usefixtures("unchecked_types")
def test_tensors_that_no_layer_computes_with_are_refused_in_one_line() -> None:
    model, x = trained(POTENTIAL), images()
    calls = (model.encode, model.reconstruct, model.classify, model.features)
    for given, message in (
        (x.to_sparse(), r"a dense tensor, got a sparse one; call \.to_dense\(\)"),
        (x.to(torch.float8_e4m3fn), r"floats of 16 bits or more, got .*; call \.float\(\)"),
        (x.sum(), r"images must be \[N, C, H, W\]"),
    ):
        for call in calls:
            with pytest.raises(ValueError, match=message):
                call(given)


@pytest.mark.usefixtures("unchecked_types")
def test_wrong_images_and_numbers_are_named_and_right_ones_of_numpy_taken() -> None:
    model, x = trained(POTENTIAL), images()
    for call in (model, model.encode, model.reconstruct, model.classify):
        for image in (x[0], x[0, 0, 0], (x * 255).to(torch.uint8), x > 0.5):
            with pytest.raises(ValueError, match="images must be"):
                call(image)
    with pytest.raises(ValueError, match="one image"):
        model.inpaint(x[0, 0, 0], torch.ones(10, 10))
    nothing, two, sample = cast(Any, None), cast(Any, np.int64(2)), cast(Any, model.sample)
    with pytest.raises(ValueError, match="mask must be numbers"):
        model.inpaint(x[:1], nothing)
    wrong_numbers = [("seed", 1.5), ("seed", "1"), ("count", None), ("temperature", "1"), ("size", 32.0)]
    wrong_numbers += [("start", wrong) for wrong in (1.5, "1", None, -1, 2**70)]
    for name, wrong in wrong_numbers:
        with pytest.raises(ValueError, match=f"{name}="):
            sample(**{"count": 2, name: wrong})
    assert torch.equal(sample(2, start=two), sample(4)[2:])
    assert sample(1, size=True).shape[2:] == (1, 1)  # a whole number of Python
    with pytest.raises(ValueError, match="a number goes to seed"):
        sample(2, generator=3)
    assert torch.equal(model.classify(x, batch_size=two), model.classify(x, batch_size=2))


def test_a_classification_may_see_the_mirror_image_too() -> None:
    model, x = trained(POTENTIAL), images()
    plain, mirrored = model.classify(x, flip_tta=False), model.classify(x.flip(3), flip_tta=False)
    torch.testing.assert_close(model.classify(x, flip_tta=True), (plain + mirrored) / 2)


def test_what_a_model_answers_can_be_learned_from() -> None:
    model, x = trained(POTENTIAL), images()
    nn.Conv2d(1, 2, 3)(model.reconstruct(x)).sum().backward()
    (nn.Linear(4, 2)(model.classify(x).log())).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_of_a_model_in_half_precision_add_up_to_1(dtype: torch.dtype) -> None:
    probabilities = trained(POTENTIAL).to(dtype).classify(images().to(dtype))
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(N))
