"""What is shared: checkpoints and model cards."""
