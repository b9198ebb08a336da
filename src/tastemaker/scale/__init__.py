"""Who works on which part: this process, several, or a Ray cluster. What comes out is the same."""
