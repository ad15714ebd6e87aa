"""Models for other runtimes: ONNX for ordinary machines, NIR for simulators of spiking networks and their hardware."""
