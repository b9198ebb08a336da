"""A log read once, in pieces, into arrays on disk that are mapped: for logs larger than memory."""
