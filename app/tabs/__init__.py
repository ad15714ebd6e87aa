"""The tabs of the page, a file for each: what is on it, and which button calls what."""
