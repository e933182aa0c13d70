"""Ray Data over a folder of pictures, as docs/bulk.md shows it, on a cluster of this one machine."""

import json
import os
import sys

import ray

from matteworks_client.dataframes import CutoutActor

folder = sys.argv[1]
ray.init(num_cpus=4, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
pictures = ray.data.read_binary_files(folder, include_paths=True)
cut = pictures.map_batches(
    CutoutActor,
    fn_constructor_kwargs={"target": os.environ["MATTEWORKS_TARGET"], "format": "webp"},
    batch_size=8,
    concurrency=2,
)
rows = cut.take_all()
print(json.dumps({os.path.basename(row["path"]): (len(row["cutout"] or b""), row["error"]) for row in rows}))
