"""The mirror derived again without the API, from the raw versions of installs and the webhook events."""
