"""An approximate index beside a model, and ranking with it."""
