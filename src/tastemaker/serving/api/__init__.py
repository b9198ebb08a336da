"""The clean API: operations, schemas, parsing, answers."""
