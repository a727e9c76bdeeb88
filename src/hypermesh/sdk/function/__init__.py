"""Python functions in the pool: `@hm.function`."""
