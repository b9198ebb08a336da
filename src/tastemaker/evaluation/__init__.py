"""Metrics, the protocol that measures a model, and the report."""
