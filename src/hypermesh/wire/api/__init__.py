"""What the REST API takes and returns, by noun. JSON objects; identifiers are lower-case hex,
amounts are integers of nCAES, times are milliseconds since 1970 unless a name says otherwise."""
