"""Recordings of event cameras: read, cut into frames, augmented, simulated, drawn and written."""
