"""The dashboards under load: a stack, Prometheus, mixed traffic, pictures."""
