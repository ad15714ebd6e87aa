"""One pass over a split: which entries each process gets, batch by batch."""

from __future__ import annotations

from torch import Tensor


def check_pass(batch_size: int, rank: int, world_size: int, **numbers: int | None) -> None:
    """Refuse a pass that cannot be shared.

    Raises:
        ValueError: if a process would get nothing of a batch, or one of ``numbers`` is negative.
    """
    if not 0 <= rank < world_size <= batch_size:
        raise ValueError(
            f"batch_size={batch_size}, rank={rank}, world_size={world_size}: "
            "expected 0 <= rank < world_size <= batch_size"
        )
    if any(number is not None and number < 0 for number in numbers.values()):
        given = ", ".join(f"{name}={number}" for name, number in numbers.items())
        raise ValueError(f"{given}: none may be negative")


def batch_count(count: int, batch_size: int, world_size: int) -> int:
    """How many batches a shuffled pass over so many entries has, as `shares` deals them.

    Raises:
        ValueError: if a process would get nothing of a batch.
    """
    if world_size > min(count, batch_size):
        raise ValueError(
            f"{world_size} processes share batches of {batch_size} of {count} training images, and each needs one or "
            "more; start fewer processes, or raise --train.batch-size"
        )
    return count // batch_size + (count % batch_size >= world_size)


def shares(order: Tensor, batch_size: int, *, is_shuffled: bool, skip: int, rank: int, world_size: int) -> list[Tensor]:
    """Indices of this process's share of every batch of ``order``, after ``skip`` batches.

    A last shuffled batch with fewer entries than processes is left out.
    """
    left = len(order) % batch_size
    if is_shuffled and left < world_size:
        order = order[: len(order) - left]
    parts = [part[rank::world_size] for part in order.split(batch_size)[skip:]]
    return [part for part in parts if len(part)]
