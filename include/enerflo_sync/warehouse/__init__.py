"""PostgreSQL: engine, schema migrations, bulk loads, and the counters that processes share."""
