"""The command that writes a part of a model for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from spikevae.console import say
from spikevae.options import Model
from spikevae.text import printable

_SUFFIXES = {"onnx": ".onnx", "nir": ".nir"}


def export(
    model: Positional[Model],
    *,
    format: Literal["onnx", "nir"],
    part: Literal["encoder", "decoder", "classifier"],
    out: Path,
    calibrate: int = 0,
) -> None:
    """Write a part of a model for another runtime.

    Examples:
        spikevae export fashion-mnist --format onnx --part decoder --out decoder.onnx
        spikevae export fashion-mnist --format nir --part decoder --calibrate 256 --out decoder.nir

    Args:
        format: onnx for onnxruntime and the like; nir for simulators of spiking networks and their hardware.
        part: encoder (image to latent spikes), decoder (latent spikes to image), classifier (image to probabilities).
            A model without a decoder has the last one only, and goes to onnx only.
        out: The file: .onnx or .nir.
        calibrate: NIR only: fix TCJA's gates to their means over so many samples of the model, an approximation.
    """
    if out.suffix != _SUFFIXES[format]:
        raise ValueError(f"--out {printable(out)}: a file of --format {format} ends in {_SUFFIXES[format]}")
    if calibrate < 0 or (calibrate and format == "onnx"):
        raise ValueError(f"--calibrate {calibrate}: expected at least 1 image, and --format nir (ONNX keeps the gates)")

    from spikevae.files import check_can_write
    from spikevae.hub.checkpoints import load, model_folder, read_config

    check_can_write(out)
    kind = read_config(model_folder(model)).network
    if kind == "event-vae":
        raise ValueError(
            f"{printable(model)} is a VAE of event recordings, which cannot be exported; a classifier of them can, "
            "to ONNX: spikevae train n-mnist --preset n-mnist-classifier"
        )
    if kind == "classifier" and format == "nir":
        raise ValueError(f"{printable(model)} is a classifier without a decoder; it goes to ONNX alone: --format onnx")
    network = load(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    if format == "onnx":
        from spikevae.hub.export.onnx import export_onnx

        notes = export_onnx(network, part, out)
    else:
        from spikevae.hub.export.nir import export_nir

        notes = export_nir(network, part, out, calibration=calibrate)
    say(f"{part} written to {printable(out)}: " + "; ".join(notes))
