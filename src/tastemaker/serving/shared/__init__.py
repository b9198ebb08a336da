"""State that several hosts share: what lives in a database, and what each host keeps of it."""
