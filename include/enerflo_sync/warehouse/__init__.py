"""PostgreSQL: engine, schema migrations, bulk loads, and state that processes share."""
