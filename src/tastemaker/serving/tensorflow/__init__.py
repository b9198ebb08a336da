"""TensorFlow Serving's REST routes."""
