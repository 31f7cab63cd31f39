"""The deployed camera: eye (camera and model, locked in), a pipe, and voice (network, no camera)."""
