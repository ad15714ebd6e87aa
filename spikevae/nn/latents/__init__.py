"""Latent spikes: how an image is written as binary events, and how new ones are drawn."""
