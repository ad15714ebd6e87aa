"""What large data and many devices would cost: measured speeds, and assumptions that are marked as such."""

from __future__ import annotations

from benchmarks.measure import Row
from benchmarks.show import show_bytes, show_seconds, three_digits

CELEBA_IMAGES = 162_770  # of the training split
# Assumed of a GPU:
GPU_RATE = 312e12  # operations a second, an A100's peak in bfloat16
GPU_SHARE = 0.05  # of it that training gets
GPU_LINK = 25e9  # bytes a second to the next one
GPU_BATCH = 256  # images of a step on each


def celeba_cost(row: Row, epochs: int = 40) -> str:
    """What CelebA at 64x64 costs on 1, 8 and 64 such devices, from the measured training of the ``faces`` preset."""
    hours = CELEBA_IMAGES * epochs / row.figure / 3600
    batch, gradients = row.details["batch"], 4 * row.details["parameters"]
    step = batch / row.figure
    costs = ", ".join(f"{three_digits(hours / count)} hours on {count}" for count in (1, 8, 64))
    return (
        f"**CelebA at 64x64**: {CELEBA_IMAGES:,} training images for {epochs} epochs at {three_digits(row.figure)} "
        f"images/s are {costs} such devices, each with its own batch of {batch}, as long as exchanging gradients hides "
        f"behind the arithmetic: {show_bytes(gradients)} of them within a step of {show_seconds(step)}, so "
        f"in a ring each device sends and receives twice that, {three_digits(2 * gradients / step / 1e9)} GB/s. The "
        "epochs of adversarial fine-tuning, in which a discriminator learns too, are counted as if they took as long.\n"
    )


def celeba_on_gpus(row: Row, decoded: float | None, epochs: int = 40) -> str:
    """What the same would cost on GPUs, from the measured operations and from what is assumed of a GPU.

    Args:
        row: the measured training of the ``faces`` preset.
        decoded: image files that one core decodes in a second, if that was measured.
        epochs: passes over the training images.
    """
    operations, gradients = row.details["operations_per_image"], 4 * row.details["parameters"]
    rate = GPU_RATE * GPU_SHARE / operations
    hours = CELEBA_IMAGES * epochs / rate / 3600
    costs = ", ".join(f"{three_digits(60 * hours / count)} minutes on {count}" for count in (1, 8, 64))
    text = (
        f"**The same on GPUs, estimated.** Counted: {operations / 2e9:.2f} billion multiply-accumulates an image, "
        f"forward and backward. *Assumed*, for want of a GPU "
        f"(`bash benchmarks/gpu.sh` measures one in nine minutes): {GPU_RATE / 1e12:.0f} TFLOP/s (an A100's peak in "
        f"bfloat16), of which training reaches {GPU_SHARE:.0%} because most of its layers move memory rather than "
        f"multiply; batches of {GPU_BATCH} on each, and {GPU_LINK / 1e9:.0f} GB/s between them. Then a GPU makes "
        f"{three_digits(rate)} images/s, and {epochs} epochs take {costs}. A step lasts "
        f"{show_seconds(GPU_BATCH / rate)}; to exchange {show_bytes(gradients)} of gradients in a ring takes "
        f"{show_seconds(2 * gradients / GPU_LINK)}. On 64 a step has {64 * GPU_BATCH:,} images and an epoch "
        f"{CELEBA_IMAGES // (64 * GPU_BATCH)} steps, which asks for another learning rate than the preset's."
    )
    if decoded is not None:
        text += (
            f" One core decodes {three_digits(decoded)} files a second (measured), so each GPU wants "
            f"{three_digits(rate / decoded)} cores beside it, or waits for them."
        )
    return text + "\n"
