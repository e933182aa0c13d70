"""Crop, erase, expand and correct, in both clients."""
