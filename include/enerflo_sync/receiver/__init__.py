"""The service that takes webhook posts and answers only when they lie safely in the drop."""
