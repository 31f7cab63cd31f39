"""The models: optics, data and networks; above them training, evaluation and export."""
