"""Envoy's configuration: one settings object in, one JSON document out."""
