"""What a caller points at or draws over, as mattes: points, boxes, strokes, numbered subjects."""
