"""Objectives, negative sampling, the training loop and baselines; each returns a `TasteModel`."""
