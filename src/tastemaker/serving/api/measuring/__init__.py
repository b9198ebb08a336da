"""The API's outcomes and experiments: routes and schemas."""
