"""The comparison's page: one file of HTML with its pictures, that needs no network."""
