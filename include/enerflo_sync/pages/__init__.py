"""The pages of the Airflow plugin: each reads its data in few queries and is rendered on the server."""
