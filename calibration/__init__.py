"""Measure the optics that were really built: sensor noise, spots at every depth, the as-built fit, quality gates."""
