"""What a machine needs only once, done before the first start instead of during it: graphs are finished and
optimised, networks compiled, engines raced. Without it the first start does the same and takes longer.
"""

from __future__ import annotations

from pathlib import Path

from matteworks_common.settings import load_settings
from matteworks_inference.app import choose_models
from matteworks_inference.engines.choice import open_engine
from matteworks_inference.engines.contract import EngineFacts
from matteworks_inference.engines.threads import usable_processor_count
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import load_registry
from matteworks_inference.settings import InferenceSettings


def prepare_for_machine(directory: Path) -> dict[str, EngineFacts]:
    """Load every model whose weights are in `directory` once; returns what will run it, by name. Blocks.

    Raises SettingsError when there are no weights or a file is a wrong one, EngineUnavailable, GraphError.
    """
    settings = load_settings(InferenceSettings).model_copy(update={"model_directory": directory})
    graphs = GraphStore.beside_weights(directory)
    engine = open_engine(settings, thread_count=settings.threads or usable_processor_count(), graphs=graphs)
    try:
        facts = {}
        for entry, weights in choose_models(settings, load_registry()):
            engine.load(entry, weights)
            facts[entry.name] = engine.facts_of(entry.name)
            engine.unload(entry.name)
        return facts
    finally:
        engine.close()
        # Runtimes write for their own user alone; a container reads as another.
        graphs.share()
