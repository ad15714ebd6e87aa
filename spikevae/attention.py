"""The former place of :mod:`spikevae.nn.attention`."""

from spikevae.nn.attention import TemporalChannelJointAttention

__all__ = ["TemporalChannelJointAttention"]
