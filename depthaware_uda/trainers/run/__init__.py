"""What surrounds the steps of a run: checks, samples in their order, log, validation, checkpoints and resuming."""
