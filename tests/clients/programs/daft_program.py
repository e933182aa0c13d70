"""Daft over a folder of pictures, as docs/bulk.md shows it, on its local runner."""

import json
import os
import sys

import daft

from matteworks_client.dataframes import CutoutActor


@daft.cls
class Cutouts:
    """One actor a worker process."""

    def __init__(self, target: str) -> None:
        self._actor = CutoutActor(target, format="webp")

    @daft.method.batch(
        return_dtype=daft.DataType.struct({"cutout": daft.DataType.binary(), "error": daft.DataType.string()})
    )
    def cut(self, pictures: daft.Series) -> list:
        """A cut-out or an error for each picture."""
        cutouts, errors = self._actor.cut(pictures.to_pylist())
        return [{"cutout": image, "error": error} for image, error in zip(cutouts, errors, strict=True)]


folder = sys.argv[1]
cutouts = Cutouts(os.environ["MATTEWORKS_TARGET"])
table = daft.from_glob_path(f"{folder}/*").with_column("bytes", daft.functions.download(daft.col("path")))
rows = table.with_column("cut", cutouts.cut(daft.col("bytes"))).to_pylist()
print(
    json.dumps(
        {
            os.path.basename(row["path"]): (len(row["cut"]["cutout"] or b""), row["cut"]["error"])
            for row in rows
        }
    )
)
