"""Everything that the inference service reads from its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from matteworks_common.settings import ServiceSettings


class InferenceSettings(ServiceSettings):
    """Variables `MATTEWORKS_INFERENCE_*`."""

    model_config = SettingsConfigDict(
        env_prefix="MATTEWORKS_INFERENCE_", frozen=True, extra="ignore", protected_namespaces=()
    )

    http_listen_address: str = Field(
        "",
        description="Host and port of the Open Inference Protocol over HTTP; empty: over gRPC only.",
    )
    shared_memory_directory: str = Field(
        "",
        description="A directory in memory (tmpfs) in which compositors on this machine leave pixels, "
        "so that messages need not carry them; empty: they come in messages.",
    )
    model_directory: Path = Field(
        Path("models"), description="Where `matteworks models pull` put the weights."
    )
    models: str = Field(
        "",
        description="Models to load, separated by commas, the default first; "
        "empty: every model whose weights are in the directory. What makes pictures larger need not be "
        "named: it is loaded at its first use, if its weights are there.",
    )
    requires_clear_licenses: bool = Field(
        False,
        description="Whether models are refused whose authors name no licence for their weights; "
        "those that are not named are left out.",
    )
    device: Literal["cpu", "cuda", "tensorrt"] = Field(
        "cpu",
        description="Where the networks run; cuda and tensorrt, both on the same GPU, refuse to start when "
        "they do not come up.",
    )
    engine: Literal["auto", "onnxruntime", "openvino", "triton"] = Field(
        "auto",
        description="What runs the networks on the cpu; auto measures once which is faster and remembers it; "
        "triton: a server of yours, see triton_target.",
    )
    triton_target: str = Field(
        "",
        description="Host and port of the Triton or KServe server (gRPC) of engine triton; "
        "models must then name them, and no weights are needed here.",
    )
    gpu_precision: Literal["auto", "half", "single"] = Field(
        "auto", description="Of networks on a GPU; auto: half for those that were measured to bear it."
    )
    cuda_graph: bool = Field(
        False,
        description="Whether a GPU replays a recording of each batch size's launches; takes more memory.",
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads of the engine; 0 takes the cores that this process may use."
    )
    quality: Literal["fast", "balanced", "best"] = Field(
        "balanced", description="Quality of requests that name none."
    )
    max_batch_items: int = Field(
        0, ge=0, le=64, description="Pictures that may share a device run; 0 takes 1 on cpu and 8 on a GPU."
    )
    max_requests: int = Field(
        64, ge=1, description="Pictures in hand at once; beyond it requests are refused at once."
    )
    max_queued_items: int = Field(
        128, ge=1, description="Runs that may wait for the device; beyond it requests are refused at once."
    )
    max_queue_delay_ms: float = Field(
        0.0, ge=0, le=1000, description="How long an unfilled batch waits for company; 0 never waits."
    )
    max_wait_s: float = Field(
        30.0,
        gt=0,
        description="Longest time until a picture is answered, whatever its deadline; one that would take "
        "longer is refused at once.",
    )
    detects_subject: bool = Field(
        True, description="Whether the two small networks that tell the subject's type are run."
    )

    painter: Literal["none", "network", "images", "open_inference"] = Field(
        "none",
        description="What paints holes: images, a server that speaks OpenAI's images/edits; open_inference, "
        "a model on a server that speaks the Open Inference Protocol; network, an inpainting network whose "
        "file is in the model directory; none: prompts are refused.",
    )
    painter_url: str = Field(
        "",
        description="Where the painter is: of images the URL before /images/edits, such as "
        "https://api.openai.com/v1; of open_inference grpc://host:port, or grpcs:// for TLS.",
    )
    painter_key: SecretStr = Field(
        SecretStr(""), description="Sent to a painter of kind images as a bearer token; empty: none is."
    )
    painter_model: str = Field(
        "",
        description="The painter's model; open_inference needs one. Of network its name in models.toml; "
        "empty: the first that is there.",
    )
    painter_sizes: str = Field(
        "1024x1024,1536x1024,1024x1536",
        description="Sizes that the painter works in, WxH by commas; the nearest in shape is used.",
    )
    painter_timeout_s: float = Field(
        90.0, gt=0, description="Seconds that painting one picture may take at most."
    )
    painter_max_requests: int = Field(
        8, ge=1, description="Pictures painted at once; beyond it requests are refused at once."
    )

    @field_validator("painter_sizes")
    @classmethod
    def _real_sizes(cls, value: str) -> str:
        for width_px, height_px in _sizes(value):
            if not (64 <= width_px <= 4096 and 64 <= height_px <= 4096):
                raise ValueError("each side of a size has 64 to 4096 pixels")
        return value

    @field_validator("models")
    @classmethod
    def _no_empty_names(cls, value: str) -> str:
        if value and not all(part.strip() for part in value.split(",")):
            raise ValueError("a name is empty; separate names by single commas")
        return value

    @property
    def model_names(self) -> tuple[str, ...]:
        """`models`, taken apart; empty: whatever is there."""
        return tuple(part.strip() for part in self.models.split(",") if part.strip())

    @property
    def painter_sizes_px(self) -> tuple[tuple[int, int], ...]:
        """`painter_sizes`, taken apart: width and height."""
        return _sizes(self.painter_sizes)

    @property
    def batch_items(self) -> int:
        """Pictures that may share a device run, 1 or more."""
        # On a CPU a batch of n takes n times as long as one, so sharing would only add waiting.
        return self.max_batch_items or (1 if self.device == "cpu" else 8)


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Raises ValueError."""
    sizes = []
    for part in text.split(","):
        width, _, height = part.strip().partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise ValueError("write sizes as WxH, separated by commas")
        sizes.append((int(width), int(height)))
    return tuple(sizes)
