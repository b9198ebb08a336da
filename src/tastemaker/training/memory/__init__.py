"""The sparse part of a model: what is bought together, and what sells of late."""
