"""Shadows, drawn from a subject's alpha or read from the picture: pure functions, no request."""
