"""Adversarial fine-tuning: the decoder learns to paint new images that a discriminator takes for real ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae.training.learner import Batch, Learner
from spikevae.training.losses import add_firing_rates, discriminator_hinge_loss, feature_distance, reconstruction_error
from spikevae.training.teacher import add_perceptual_distance


def learn_to_paint(learner: Learner) -> None:
    """Leave only the decoder to learn: the density of the latents was fitted to what the encoder gives now."""
    model = learner.generator
    for part in (model.encoder, model.latent, model.classifier):
        if part is not None:
            part.eval().requires_grad_(False)
    learner.forget_quickly()


def adversarial_step(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """One step of discriminator and decoder: half of the images are reconstructed, and as many new ones as all decoded.

    The discriminator learns to tell new images from real ones of their class. Reconstructions are compared with their
    originals, pixel by pixel and in the discriminator's features. It must also tell the class of both.
    """
    weights, (x, labels, total, new_z_seq) = learner.config.objective, batch
    rank, world_size, half = learner.accelerator.process_index, learner.accelerator.num_processes, total // 2
    given = labels if learner.generator.latent.is_conditional else None
    shown = x[: max(1, len(range(rank, half, world_size)))]
    share, shown_share = learner.share(len(x), total), learner.share(len(shown), max(half, world_size))

    with learner.autocast(), learner.firing_rates() as rates:
        outputs = learner.model(shown, new_z_seq=new_z_seq)
        moved = Shift(learner.config.train.discriminator_shift, x)
        real = learner.discriminator(moved(x), given)
        fake = learner.discriminator(moved(outputs.samples.detach()), given)
    discriminator_loss = share * (
        discriminator_hinge_loss(real.patches, fake.patches) + discriminator_hinge_loss(real.whole, fake.whole)
    )
    if given is not None:
        discriminator_loss = discriminator_loss + share * nn.functional.cross_entropy(real.logits.float(), labels)
    learner.descend_discriminator(discriminator_loss)

    asked = None if given is None else torch.cat([given[: len(shown)], given])
    learner.discriminator.requires_grad_(False)
    with learner.autocast():
        seen = learner.plain_discriminator(moved(torch.cat([outputs.reconstruction, outputs.samples])), asked)
    learner.discriminator.requires_grad_(True)
    error = shown_share * reconstruction_error(outputs.reconstruction, shown)
    features = shown_share * feature_distance(
        [maps[: len(shown)] for maps in real.features], [maps[: len(shown)] for maps in seen.features]
    )
    score = share * (seen.patches[len(shown) :].mean() + seen.whole[len(shown) :].mean())
    loss = error + weights.feature_weight * features - weights.adversarial_weight * score
    terms = {"loss": loss, "reconstruction_error": error, "discriminator": discriminator_loss, "features": features}
    if asked is not None:
        asked_share = learner.share(len(asked), max(half, world_size) + total)
        terms["cross_entropy"] = asked_share * nn.functional.cross_entropy(seen.logits.float(), asked)
        terms["loss"] = loss + weights.label_weight * terms["cross_entropy"]
    with learner.autocast():
        add_perceptual_distance(terms, learner.teacher, outputs.reconstruction, shown, shown_share, weights)
    add_firing_rates(terms, rates, share, weights)
    learner.descend(terms["loss"])
    return {name: value.detach().float() for name, value in terms.items()}


class Shift:
    """Moves images by the same few pixels each way, drawn once; their edge is repeated where they moved away.

    Args:
        most: pixels, at most; 0 leaves images as they are.
        x: images of the size and on the device of those to move.
    """

    def __init__(self, most: int, x: Float[Tensor, "N C H W"]) -> None:
        self.places = []  # of the rows and of the columns that are shown
        for side in x.shape[2:] if most else ():
            offset = torch.randint(-most, most + 1, (1,), device=x.device)
            self.places.append((torch.arange(side, device=x.device) + offset).clamp(0, side - 1))

    def __call__(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The images, moved; differentiable."""
        for dim, places in enumerate(self.places, start=2):
            x = x.index_select(dim, places)
        return x
