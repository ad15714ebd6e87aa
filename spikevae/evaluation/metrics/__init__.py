"""Every metric, in a file of its own."""
