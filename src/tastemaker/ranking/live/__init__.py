"""What moves with every event, without learning anew: histories, rates, product vectors. Replay and service share it."""
