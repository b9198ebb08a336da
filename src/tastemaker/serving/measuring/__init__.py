"""What lists bring: their ids, what became of them, and experiments on who gets which version."""
