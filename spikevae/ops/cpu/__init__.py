"""Compiled loops for the CPU; imported by `spikevae.ops` alone."""
