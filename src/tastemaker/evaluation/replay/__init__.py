"""Evaluation in time: every later purchase is a question, answered from what was known just before it."""
