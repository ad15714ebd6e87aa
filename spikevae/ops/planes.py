"""Planes of a sequence (all places of a time step, image, channel), and what saves memory on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from spikevae.ops.cpu import compile, planes


def scale_planes(
    x_seq: Shaped[Tensor, "T N C H W"],
    factor: Float[Tensor, "T N C"],
    addend: Float[Tensor, "T N C"] | None = None,
    *,
    into: Shaped[Tensor, "T N C H W"] | None = None,
) -> Shaped[Tensor, "T N C H W"]:
    """``factor x_seq + addend``; ``into`` is where to write it, which may be ``x_seq``."""
    if into is None:
        into = torch.empty_like(x_seq)
    if not (_is_blocks(x_seq) and _is_blocks(into)):
        torch.mul(x_seq, factor.to(into.dtype)[..., None, None], out=into)
        return into if addend is None else into.add_(addend.to(into.dtype)[..., None, None])
    addend = torch.zeros_like(factor) if addend is None else addend
    compile.in_parallel(
        planes.scale_planes, compile.flat(x_seq), _row(factor), _row(addend), compile.flat(into), into.shape[2],
        count=factor[..., 0].numel(), together=1, work=into.shape[2:].numel(),
    )  # fmt: skip
    return into


def sum_products(x_seq: Float[Tensor, "T N C H W"], y_seq: Shaped[Tensor, "T N C H W"]) -> Float[Tensor, "T N C"]:
    """Sums over places of ``x_seq y_seq``, in float32."""
    if not (_is_blocks(x_seq) and _is_blocks(y_seq)):
        return torch.stack([(x * y).sum(dim=(2, 3), dtype=torch.float32) for x, y in zip(x_seq, y_seq, strict=True)])
    sums = torch.zeros(x_seq.shape[:3])
    compile.in_parallel(
        planes.sum_products, compile.flat(x_seq), compile.flat(y_seq), compile.flat(sums), sums.shape[2],
        count=sums[..., 0].numel(), together=1, work=x_seq.shape[2:].numel(),
    )  # fmt: skip
    return sums


def as_bytes(spike_seq: Float[Tensor, "T N C H W"]) -> UInt8[Tensor, "T N C H W"]:
    """Spikes in {0, 1} in a quarter of their memory."""
    if not _is_blocks(spike_seq):
        return spike_seq.to(torch.uint8)
    ones = torch.ones(spike_seq.shape[:3])
    return scale_planes(spike_seq, ones, into=torch.empty_like(spike_seq, dtype=torch.uint8))


def remember_spikes(
    gated_seq: Float[Tensor, "T N C H W"], spike_seq: UInt8[Tensor, "T N C H W"], gate: Float[Tensor, "T N C"]
) -> None:
    """Note what a sequence was made of, for :func:`kept_as_spikes`."""
    gated_seq.spikes_and_gate = (spike_seq, gate)  # type: ignore[attr-defined]


@contextmanager
def kept_as_spikes(gated_seq: Tensor) -> Iterator[None]:
    """What is computed inside keeps a sequence of gated spikes for its gradient as bytes, a quarter of the memory.

    Without :func:`remember_spikes` it is kept as it is.
    """
    made_of: tuple[Tensor, Tensor] | None = getattr(gated_seq, "spikes_and_gate", None)
    if made_of is None:
        yield
        return

    def pack(x: Tensor) -> Any:
        is_it = x.data_ptr() == gated_seq.data_ptr() and x.numel() == gated_seq.numel() and x.dtype == gated_seq.dtype
        return (x.shape, x.stride(), x.dtype, *made_of) if is_it else x

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        shape, stride, dtype, spike_seq, gate = kept
        gated_seq = scale_planes(spike_seq, gate, into=torch.empty_like(spike_seq, dtype=dtype))
        return gated_seq.as_strided(shape, stride)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def give_away(grad: Tensor) -> Tensor:
    """Let the one function that this gradient goes to overwrite it: its values are nobody else's."""
    grad.is_given_away = True  # type: ignore[attr-defined]
    return grad


def take_over(grad: Tensor) -> bool:
    """Whether a gradient was given away; if so it is the caller's from now on."""
    return bool(vars(grad).pop("is_given_away", False))


def _is_blocks(x_seq: Tensor) -> bool:
    """Whether the values of an image at a time step lie together, in the order [H, W, C], and on the CPU."""
    return (
        x_seq.device.type == "cpu"
        and x_seq.dtype in (*compile.DTYPES, torch.uint8)
        and x_seq.stride(0) == x_seq[0].numel()
        and x_seq[0].is_contiguous(memory_format=torch.channels_last)
    )


def _row(values: Tensor) -> Any:
    return compile.flat(values.float().contiguous())
