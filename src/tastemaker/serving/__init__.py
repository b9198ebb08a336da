"""The HTTP service: models on a shelf, the TensorFlow-Serving-shaped routes, the clean API, the page."""
