"""What physically exists: materials, fabrication processes, SLMs, cameras, benches, and the world that simulates them."""
