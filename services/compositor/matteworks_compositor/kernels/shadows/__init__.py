"""Shadows drawn from nothing but a subject's alpha: pure functions, no picture, no request."""
