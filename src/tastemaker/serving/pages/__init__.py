"""The page at ``/``: its files, and the few views of a model that the API for programs does not give."""
