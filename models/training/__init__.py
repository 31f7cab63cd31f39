"""Learning the lens and its networks on simulated optics, and adapting the networks to measured ones."""
