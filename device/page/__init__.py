"""The local page: what the camera says and does, readable on a phone and by a screen reader, without an image."""
