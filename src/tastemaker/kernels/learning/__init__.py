"""Gradients: sampled softmax, batch by batch, and the draws of its negatives."""
