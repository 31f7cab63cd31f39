"""What physically exists: materials, fabrication processes, SLMs, cameras, benches, and their simulated world."""
