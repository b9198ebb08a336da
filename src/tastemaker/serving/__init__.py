"""The HTTP service: the models, the TensorFlow-Serving-shaped routes, the clean API, the page."""
