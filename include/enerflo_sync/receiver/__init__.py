"""The service that accepts webhook posts, and answers only when they are durable in the drop."""
