"""The chapter of docs/performance.md on a GPU, from what ``bash benchmarks/gpu.sh`` left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.show import markdown, show_bytes, three_digits


def gpu_chapter(record: Mapping[str, Any]) -> str:
    """What was measured, in Markdown; what was not asked, for want of time, is said to be missing.

    Args:
        record: machine, versions, answers and, where it was added, commit, as in ``benchmarks/gpu.json``.
    """
    machine, versions, answers = record["machine"], record["versions"], record["answers"]
    libraries = ", ".join(f"{library} {version}" for library, version in versions.items())
    parts = [
        f"## On one {machine['accelerator']}\n",
        f"{machine['processor']}, {machine['cores']} cores; {libraries}; state {record.get('commit', 'unknown')}, "
        "`bash benchmarks/gpu.sh`.\n",
    ]
    if rate := answers.get("matrix rate"):
        reached = three_digits(rate["flop_per_second"] / 1e12)
        parts.append(f"A product of two large matrices in bfloat16 reaches {reached} TFLOP/s.\n")
    lines = [_line(name, answer) for name, answer in answers.items() if name.startswith(("recorded/", "training/"))]
    if lines:
        parts += [
            "Images a second of a training step. Operation by operation, a small batch waits for Python. Played from a "
            "CUDA graph, as `spikevae train` does on one GPU, it does not.\n",
            markdown(("step", "as it is", "played", "peak memory"), lines),
        ]
    if proofs := {name: answer for name, answer in answers.items() if "relative_difference_of_gradients" in answer}:
        parts += [
            "Results beside those of the CPU. A spike that flips changes what follows. So the last column moves the "
            "weights on the CPU by the share that stands there, as much as a GPU's rounding may.\n",
            markdown(
                ("network", "pixels within a grey level", "relative difference of gradients", "after a nudge of"),
                [_proof(name, answer) for name, answer in proofs.items()],
            ),
        ]
    kinds = {name.partition("/")[0] for name in answers}
    if missing := [name for name in ("sampling", "compiled", "profile", "layer") if name not in kinds]:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


def _proof(name: str, answer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        f"`{name.partition('/')[2]}`",
        f"{answer['pixels_within_a_grey_level']:.1%}",
        f"{answer['relative_difference_of_gradients']:.2f}",
        f"{answer['nudge']:.0e}: {answer['the_same_after_a_nudge']:.2f}",
    )


def _line(name: str, answer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    kind, network, batch = name.split("/")
    speed = answer["images_per_second"]
    as_it_is, played = (speed["as_it_is"], three_digits(speed["played"])) if kind == "recorded" else (speed, "–")
    words = "whole, with losses and optimizer" if kind == "recorded" else "plain loop of the benchmark"
    return f"`{network}`, batch {batch}: {words}", three_digits(as_it_is), played, show_bytes(answer["bytes"])
