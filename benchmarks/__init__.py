"""Speed and memory of spikevae, side by side with alternatives. ``python -m benchmarks`` measures every row."""
