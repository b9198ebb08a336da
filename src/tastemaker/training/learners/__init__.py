"""What learns: objectives, draws of negatives, tables of vectors."""
