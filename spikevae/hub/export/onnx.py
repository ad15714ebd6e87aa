"""A part of a model as an ONNX file, for any number of images."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from spikevae import __version__
from spikevae.files import write_atomically
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.vae import SpikingVAE

Part = Literal["encoder", "decoder", "classifier"]
_OPSET = 18


class _Encoder(nn.Module):
    """From images to the latent spikes of the mode, and to the potentials that they fire from where there are some."""

    def __init__(self, model: SpikingVAE) -> None:
        super().__init__()
        self.model = model
        self.input_name = "image"
        shape = (model.config.image_channels, model.config.image_size, model.config.image_size)
        self.example, self.batch_axis = torch.rand(2, *shape), 0
        with torch.no_grad():
            has_potential = model.encode(self.example).potential is not None
        self.output_names = ("z_seq", "potential") if has_potential else ("z_seq",)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        posterior = self.model.encode(x)
        z_seq = posterior.mode()
        return (z_seq,) if posterior.potential is None else (z_seq, posterior.potential)


class _Decoder(nn.Module):
    """From latent spikes to images."""

    def __init__(self, model: SpikingVAE) -> None:
        super().__init__()
        self.model = model
        self.input_name, self.output_names = "z_seq", ("image",)
        self.example = torch.zeros(model.config.time_steps, 2, model.config.latent_size)
        self.batch_axis = 1

    def forward(self, z_seq: Tensor) -> Tensor:
        return self.model.decode(z_seq)


class _Classifier(nn.Module):
    """From images to class probabilities, of both views of an image where the model was released so."""

    def __init__(self, model: SpikingVAE) -> None:
        super().__init__()
        if model.classifier is None:
            raise ValueError("this model was trained without labels, so it has no classifier; export its encoder")
        self.model = model
        self.input_name, self.output_names = "image", ("probabilities",)
        self.example, self.batch_axis = _Encoder(model).example, 0

    def forward(self, x: Tensor) -> Tensor:
        # Not `classify`: it cuts a batch into parts, and then the number of images would be fixed in the file.
        return self.model.classify_together(x)


class _LayersAlone(nn.Module):
    """A classifier without a decoder: from images, or event frames, to class probabilities."""

    def __init__(self, model: SpikingClassifier) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.input_name, self.output_names = ("frames" if config.takes_events else "image"), ("probabilities",)
        steps, self.batch_axis = ((config.time_steps,), 1) if config.takes_events else ((), 0)
        self.example = torch.rand(*steps, 2, config.image_channels, *config.frame_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.probabilities_together(x)[-1]  # not `classify`: see `_Classifier`


_Exported = _Encoder | _Decoder | _Classifier | _LayersAlone
_PARTS: dict[Part, Callable[[SpikingVAE], _Exported]] = {
    "encoder": _Encoder,
    "decoder": _Decoder,
    "classifier": _Classifier,
}


def export_onnx(model: SpikingVAE | SpikingClassifier, part: Part, path: Path) -> list[str]:
    """Write a part of a model, on the CPU and in eval mode, as an ONNX file; return what to say of it.

    The file's inputs and outputs have the shapes of the Python interface: images [N, C, H, W] in [0, 1], event frames
    [T, N, 2, H, W], latent spikes and potentials [T, N, L], probabilities [N, K]. N is free. Its metadata name part,
    sizes and classes.

    Raises:
        ImportError: if the packages of ``spikevae[export]`` are not there.
        ValueError: if the model lacks the part, or a module of it has no counterpart in ONNX.
    """
    if isinstance(model, SpikingVAE):
        wrapped: _Exported = _PARTS[part](model).eval()
    elif part == "classifier":
        wrapped = _LayersAlone(model).eval()
    else:
        raise ValueError(f"this model is a classifier alone, without {part}; export its classifier")
    try:
        import onnx
        import onnxscript  # noqa: F401  # what torch's exporter needs, and would complain of in many lines
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'spikevae[export]'") from None
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about its own parts
        try:
            program = torch.onnx.export(
                wrapped,
                (wrapped.example,),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=[wrapped.input_name],
                output_names=list(wrapped.output_names),
                dynamic_shapes=({wrapped.batch_axis: torch.export.Dim("N")},),
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(f"the {part} of this model has no form in ONNX: {reason}") from error
    assert program is not None
    proto = program.model_proto
    config = model.config
    about = {
        "spikevae": __version__,
        "part": part,
        "time_steps": config.time_steps,
        "class_names": list(config.class_names),
    }
    if isinstance(model, SpikingVAE):
        about["latent_size"] = config.latent_size
    onnx.helper.set_model_props(
        proto, {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    )
    write_atomically(path, lambda temporary: temporary.write_bytes(proto.SerializeToString()))
    return [f"input {wrapped.input_name}, outputs {', '.join(wrapped.output_names)}; the number of images is free"]
