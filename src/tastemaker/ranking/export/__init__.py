"""What leaves for other programs: lists in files, vectors with their ids."""
