"""Learning parted into shards of users: what each learns from, how it is put together, and workers elsewhere that do it."""
