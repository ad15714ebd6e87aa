"""What other runtimes cost and keep: ``python -m benchmarks.export`` (needs ``spikevae[export]`` and Fashion-MNIST)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

import spikevae
from spikevae.config import DataConfig
from spikevae.data.sets import load_split
from spikevae.hub.export.gates import fold_decoder_gates, fold_gates
from spikevae.hub.export.onnx import Part, export_onnx
from spikevae.nn.vae import SpikingVAE

_CALLS, _ROUNDS = 10, 5
_IMAGES = 1000  # of the test split
_CALIBRATION = 256


def main() -> None:
    """Print milliseconds of CPU time for one image, one thread, and the accuracy that folded gates keep."""
    torch.set_num_threads(1)
    model = spikevae.load("fashion-mnist")
    x = model.sample(1, seed=0)
    z_seq = model.encode(x).mode()
    ways: dict[Part, tuple[Callable[[], object], Tensor]] = {
        "decoder": (lambda: model.decode(z_seq), z_seq),
        "classifier": (lambda: model.classify(x), x),
    }
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for part, (here, given) in ways.items():
            there = _session(model, part, Path(folder))
            print(f"{part}: spikevae {_milliseconds(here):.1f} ms, onnxruntime {_milliseconds(there(given)):.1f} ms")
    images = load_split(DataConfig(image_size=28), "test", image_channels=1)
    assert images.labels is not None
    test, labels = images.images(0, _IMAGES).float() / 255, images.labels[:_IMAGES]
    folded = fold_gates(model, model.sample(_CALIBRATION, seed=0))
    folded_decoder = fold_decoder_gates(model, model.sample_prior(range(_CALIBRATION), seed=0))
    networks = {"TCJA's gates": model, "folded gates (encoder)": folded, "folded gates (decoder)": folded_decoder}
    for name, network in networks.items():
        right = (network.classify(test, flip_tta=False).argmax(dim=1) == labels).float().mean()
        error = (network.reconstruct(test) - test).square().mean()
        print(f"{name}: {_IMAGES} test images, accuracy {right:.3f} of one view each, mean squared error {error:.5f}")


def _session(model: SpikingVAE, part: Part, folder: Path) -> Callable[[Tensor], Callable[[], object]]:
    """From an input to a call that computes a part in onnxruntime."""
    path = folder / f"{part}.onnx"
    export_onnx(model, part, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    name = session.get_inputs()[0].name
    return lambda given: lambda: session.run(None, {name: given.numpy()})


def _milliseconds(call: Callable[[], object]) -> float:
    """CPU time of a call: the least mean of several rounds."""
    call()
    rounds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for _ in range(_CALLS):
            call()
        rounds.append((time.process_time() - start) / _CALLS)
    return 1000 * min(rounds)


if __name__ == "__main__":
    main()
