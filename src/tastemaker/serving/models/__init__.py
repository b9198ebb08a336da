"""What is loaded: models and their versions, found, verified, watched."""
