"""One step of the pipeline a file. `pipeline.py` has their order."""
