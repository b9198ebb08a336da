"""The cosine objective: its learner, and the batches that it learns from."""
