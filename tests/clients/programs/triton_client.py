"""NVIDIA's own client against an address: `triton_client.py grpc|http ADDRESS FOLDER MODEL COUNT IN_FLIGHT`.

FOLDER holds numbered .png files. Sends each as an encoded picture and as pixels, COUNT of them, IN_FLIGHT at
once, and prints what came back as one JSON object: the sha256 of every matte by its picture and input.
"""

from __future__ import annotations

import functools
import hashlib
import json
import queue
import sys
import threading
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException


def main() -> None:
    protocol, address, folder, model, count, in_flight = sys.argv[1:]
    kind = tritonclient.grpc if protocol == "grpc" else tritonclient.http
    client = (
        kind.InferenceServerClient(address)
        if protocol == "grpc"
        else kind.InferenceServerClient(address, concurrency=int(in_flight), network_timeout=120)
    )
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert not client.is_model_ready("no-such-model")
    metadata = client.get_model_metadata(model, **({"as_json": True} if protocol == "grpc" else {}))
    pictures = sorted(Path(folder).glob("*.png"))

    def inputs_of(number: int) -> tuple[str, list[object]]:
        path = pictures[number % len(pictures)]
        if number % 2:
            one = kind.InferInput("image", [1], "BYTES")
            one.set_data_from_numpy(np.array([path.read_bytes()], dtype=np.object_))
            return f"image {path.stem}", [one]
        pixels = np.load(path.with_suffix(".npy"))[np.newaxis]
        one = kind.InferInput("pixels", list(pixels.shape), "UINT8")
        one.set_data_from_numpy(pixels)
        return f"pixels {path.stem}", [one]

    answers: queue.Queue[tuple[int, object]] = queue.Queue()
    outputs = [kind.InferRequestedOutput("matte"), kind.InferRequestedOutput("model")]
    total = int(count)
    if protocol == "grpc":
        # The client's own way to have many in flight.
        places = threading.Semaphore(int(in_flight))

        def done(result: object, error: object, number: int) -> None:
            places.release()
            answers.put((number, error or result))

        for number in range(total):
            _, inputs = inputs_of(number)
            places.acquire()
            callback = functools.partial(done, number=number)
            client.async_infer(model, inputs, callback, outputs=outputs, request_id=str(number))
    else:
        # Greenlets of the client's own, of which so many run at once as it has connections.
        waiting = []
        for number in range(total):
            _, inputs = inputs_of(number)
            waiting.append(client.async_infer(model, inputs, outputs=outputs, request_id=str(number)))
        for number, one in enumerate(waiting):
            try:
                answers.put((number, one.get_result()))
            except InferenceServerException as error:
                answers.put((number, error))
    mattes: dict[str, str] = {}
    for _ in range(total):
        number, result = answers.get(timeout=120)
        name, inputs = inputs_of(number)
        if isinstance(result, Exception):
            # A slow machine refuses what it could not answer in time; callers send that again.
            if not any(told in str(result) for told in ("Too many pictures", "timeout")):
                raise result
            result = client.infer(model, inputs, outputs=outputs)
        matte = result.as_numpy("matte")
        assert matte.dtype == np.uint8, matte.dtype
        made = hashlib.sha256(matte.tobytes()).hexdigest()
        assert mattes.setdefault(name, made) == made, f"{name} got two different mattes"
        assert result.as_numpy("model")[0].decode()
    refusal = ""
    try:
        bad = kind.InferInput("pixels", [1, 4, 4, 1], "UINT8")
        bad.set_data_from_numpy(np.zeros((1, 4, 4, 1), np.uint8))
        client.infer(model, [bad])
    except Exception as error:
        refusal = str(error)
    print(json.dumps({"mattes": mattes, "metadata": metadata, "refusal": refusal}))


main()
