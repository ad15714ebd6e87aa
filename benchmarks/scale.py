"""What large data and many devices would cost: measured speeds, and assumptions that are marked as such."""

from __future__ import annotations

from benchmarks.measure import Row
from benchmarks.show import markdown, show_bytes, show_seconds, three_digits

CELEBA_IMAGES = 162_770  # of the training split
# Assumed of a GPU:
GPU_RATE = 312e12  # operations a second, an A100's peak in bfloat16
GPU_SHARE = 0.05  # of it that training gets
GPU_LINK = 25e9  # bytes a second to the next one
GPU_BATCH = 256  # images of a step on each
GPU_FLOAT32 = 9.7e12  # operations a second of Inception, half of an A100's peak in float32
FILE_BYTES = 10_000  # of a JPEG
SAMPLES = 50_000
INCEPTION = 11.4e9  # operations for an image of 299x299


def celeba_cost(row: Row, epochs: int = 40) -> str:
    """What CelebA at 64x64 costs on 1, 8 and 64 such devices, from the measured training of the ``pictures`` preset."""
    hours = CELEBA_IMAGES * epochs / row.figure / 3600
    batch, gradients = row.details["batch"], 4 * row.details["parameters"]
    step = batch / row.figure
    costs = ", ".join(f"{three_digits(hours / count)} hours on {count}" for count in (1, 8, 64))
    return (
        f"**CelebA at 64x64, with the network of the preset `pictures`**: {CELEBA_IMAGES:,} training images for "
        f"{epochs} epochs at {three_digits(row.figure)} images/s are {costs} such devices. Each has its own batch of "
        f"{batch}. Exchanging gradients must hide behind the arithmetic: {show_bytes(gradients)} of them within a step "
        f"of {show_seconds(step)}. In a ring each device sends and receives twice that, "
        f"{three_digits(2 * gradients / step / 1e9)} GB/s. The epochs of adversarial fine-tuning, in which a "
        "discriminator learns too, are counted as if they took as long. `spikevae train celeba` takes the preset "
        "`faces`: other layers, and ten adversarial epochs, which took three times as long each.\n"
    )


def gpu_rate(row: Row) -> float:
    """Images a second of training on one GPU, from the measured operations and what is assumed of it."""
    return GPU_RATE * GPU_SHARE / float(row.details["operations_per_image"])


def celeba_on_gpus(row: Row, epochs: int = 40) -> str:
    """What the same would cost on GPUs, from the measured operations and from what is assumed of a GPU.

    Args:
        row: the measured training of the ``pictures`` preset.
        epochs: passes over the training images.
    """
    operations, gradients = row.details["operations_per_image"], 4 * row.details["parameters"]
    rate = gpu_rate(row)
    hours = CELEBA_IMAGES * epochs / rate / 3600
    costs = ", ".join(f"{three_digits(60 * hours / count)} minutes on {count}" for count in (1, 8, 64))
    text = (
        f"**The same on GPUs, estimated.** Counted: {operations / 2e9:.2f} billion multiply-accumulates an image, "
        f"forward and backward. *Assumed*, for want of a measurement of this network on a GPU "
        f"(`bash benchmarks/gpu.sh` measures one in nine minutes): {GPU_RATE / 1e12:.0f} TFLOP/s (an A100's peak in "
        f"bfloat16), of which training reaches {GPU_SHARE:.0%} because most of its layers move memory rather than "
        f"multiply; batches of {GPU_BATCH} on each, and {GPU_LINK / 1e9:.0f} GB/s between them. Then a GPU makes "
        f"{three_digits(rate)} images/s, and {epochs} epochs take {costs}. A step lasts "
        f"{show_seconds(GPU_BATCH / rate)}; to exchange {show_bytes(gradients)} of gradients in a ring takes "
        f"{show_seconds(2 * gradients / GPU_LINK)}. On 64 a step has {64 * GPU_BATCH:,} images and an epoch "
        f"{CELEBA_IMAGES // (64 * GPU_BATCH)} steps, which asks for another learning rate than the preset's."
    )
    return text + "\n"


def reading_data(gpu_rate: float, decoded: float) -> str:
    """Cores and bandwidth that keep GPUs of such a rate busy, and what large data sets take to be read.

    Args:
        gpu_rate: images a second that one GPU trains on.
        decoded: image files that one core decodes in a second, measured.
    """
    lines = [
        (
            f"{images:,}",
            show_bytes(images * FILE_BYTES),
            three_digits(images / decoded / 60) + " min",
            *(
                f"{three_digits(devices * gpu_rate / decoded)} cores, {show_bytes(devices * gpu_rate * FILE_BYTES)}/s, "
                f"{show_seconds(images / gpu_rate / devices)}"
                for devices in (1, 8, 64)
            ),
        )
        for images in (CELEBA_IMAGES, 10_000_000)
    ]
    return (
        f"**The data side, estimated.** One core decodes {three_digits(decoded)} files a second (measured, a JPEG of "
        f"CelebA's size, to 64x64). *Assumed*: {FILE_BYTES / 1e3:.0f} kB a file. Each GPU takes "
        f"{three_digits(gpu_rate)} images a second, as above. Then one epoch needs:\n\n"
        + markdown(("images", "on disk", "decoding on one core", "1 GPU", "8 GPUs", "64 GPUs"), lines)
        + "\nWith fewer cores the GPUs wait. Images that were decoded once and kept as 64x64 pixels, "
        f"{64 * 64 * 3 / 1e3:.1f} kB each, want no cores and a little more bandwidth.\n"
    )


def evaluating(row: Row) -> str:
    """What 50,000 samples and Inception's features of them take on 1 and on 8 GPUs.

    Args:
        row: the measured sampling of the ``pictures`` preset.
    """
    operations = row.details["operations_per_image"]
    samples, features = (
        SAMPLES * work / rate for work, rate in ((operations, GPU_RATE * GPU_SHARE), (INCEPTION, GPU_FLOAT32))
    )
    return (
        f"**The evaluation side, estimated.** {SAMPLES:,} samples, {operations / 1e9:.2f} GFLOP each (counted), take "
        f"{show_seconds(samples)} on 1 GPU as above and {show_seconds(samples / 8)} on 8. Inception reads them at "
        f"299x299 in float32, {INCEPTION / 1e9:.1f} GFLOP each. *Assumed*: {GPU_FLOAT32 / 1e12:.1f} TFLOP/s, half of "
        f"an A100's peak in float32. That is {show_seconds(features)} on 1 and {show_seconds(features / 8)} on 8. Real "
        "images take as much again where their statistics are not kept. The square root of a 2,048x2,048 matrix "
        "follows on a "
        f"CPU. On two CPU cores the samples alone take {show_seconds(SAMPLES / row.figure)} (measured rate).\n"
    )
