"""What one training step is made of: precision, processes, statistics, optimiser, and the guard against NaN."""
