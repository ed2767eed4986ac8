"""What can be told from a ComfyUI graph, best effort: the settings of the sampler that began the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Node = Mapping[str, object]
Graph = dict[str, Node]

#: The inputs that hold what we look for; the first that is found upstream of the sampler counts.
_WANTED: Final = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "cfg": ("cfg",),
    "guidance": ("guidance",),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "denoise": ("denoise",),
    "width": ("width",),
    "height": ("height",),
    "model": ("ckpt_name", "unet_name", "model_name"),
    "clip_skip": ("stop_at_clip_layer",),
}
_TEXTS: Final = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string", "value")
#: In a graph of the editor values stand without their names, in the order of the node's widgets.
_WIDGETS: Final = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "ModelSamplingFlux": ("", "", "width", "height"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """`values` by the names of `_WANTED`, as the graph has them; `loras` as name, weight, weight in the encoder."""

    positive: str = ""
    negative: str = ""
    values: dict[str, object] = field(default_factory=dict)
    loras: tuple[tuple[str, float, float], ...] = ()


def read(graph: object) -> Told | None:
    """From a graph as ComfyUI runs it (`prompt`) or as its editor saves it (`workflow`); None if it draws nothing."""
    nodes = _nodes(graph)
    sampler = _sampler(nodes)
    if sampler is None:
        return None
    values: dict[str, object] = {}
    loras: list[tuple[str, float, float]] = []
    for node in _upstream(nodes, sampler):
        inputs = _inputs(nodes[node])
        for name, keys in _WANTED.items():
            for key in keys:
                if name not in values and isinstance(inputs.get(key), str | int | float):
                    values[name] = inputs[key]
        if isinstance(lora := inputs.get("lora_name"), str):
            weight = _number(inputs.get("strength_model"), 1.0)
            loras.append((lora, weight, _number(inputs.get("strength_clip"), weight)))
    told = _conditioning(nodes, sampler)
    return Told(told.get("positive", ""), told.get("negative", ""), values, tuple(reversed(loras)))


def _nodes(graph: object) -> Graph:
    if not isinstance(graph, dict):
        return {}
    if isinstance(graph.get("nodes"), list):
        return _from_editor(graph)
    return {str(key): node for key, node in graph.items() if isinstance(node, dict) and "class_type" in node}


def _from_editor(graph: Mapping[str, object]) -> Graph:
    """Links and widgets put back where a graph to run has them."""
    origins: dict[object, list[object]] = {}
    links, found = graph.get("links"), graph.get("nodes")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, list) and len(link) >= 3 and isinstance(link[0], int):
            origins[link[0]] = [str(link[1]), link[2]]
    nodes: Graph = {}
    for node in found if isinstance(found, list) else []:
        if not isinstance(node, dict):
            continue
        kind, widgets, slots = node.get("type"), node.get("widgets_values"), node.get("inputs")
        inputs: dict[str, object] = {}
        if isinstance(widgets, dict):
            inputs |= {str(key): value for key, value in widgets.items()}
        elif isinstance(widgets, list) and isinstance(kind, str):
            names = _WIDGETS.get(kind, ("text",) if "TextEncode" in kind else ())
            inputs |= {name: value for name, value in zip(names, widgets, strict=False) if name}
        for slot in slots if isinstance(slots, list) else []:
            link = slot.get("link") if isinstance(slot, dict) else None
            if isinstance(link, int) and link in origins:
                inputs[str(slot.get("name"))] = origins[link]
        nodes[str(node.get("id"))] = {"class_type": kind, "inputs": inputs}
    return nodes


def _sampler(nodes: Graph) -> str | None:
    """The first sampler on the way to a saved picture: later ones only refine what it drew."""
    samplers = [key for key, node in nodes.items() if "sampler" in _kind(node) and "latent_image" in _inputs(node)]
    ends = [key for key, node in nodes.items() if "saveimage" in _kind(node)] or [
        key for key, node in nodes.items() if "previewimage" in _kind(node)
    ]
    for end in ends:
        reached = [key for key in _upstream(nodes, end) if key in samplers]
        if reached:
            return reached[-1]
    return samplers[0] if samplers else None


def _conditioning(nodes: Graph, sampler: str) -> dict[str, str]:
    """The prompts, looked for behind the sampler's own inputs or those of its guider."""
    told: dict[str, str] = {}
    for node in [sampler, *_sources(nodes, sampler)]:
        inputs = _inputs(nodes[node])
        for name, keys in (("positive", ("positive", "conditioning")), ("negative", ("negative",))):
            for key in keys:
                start = _link(inputs.get(key), nodes)
                if name not in told and start is not None:
                    told[name] = _text(nodes, start)
    return told


def _text(nodes: Graph, start: str) -> str:
    """The words of every text node behind `start`, each once."""
    found: dict[str, None] = {}
    for node in _upstream(nodes, start):
        if "zeroout" in _kind(nodes[node]):
            return ""
        inputs = _inputs(nodes[node])
        for key in _TEXTS:
            value = inputs.get(key)
            if isinstance(value, str) and value.strip():
                found[value.strip()] = None
    return ", ".join(found)


def _upstream(nodes: Graph, start: str) -> Iterator[str]:
    """`start` and what it depends on, nearest first, each once: graphs may go round in circles."""
    seen = {start}
    waiting = [start]
    for node in waiting:
        yield node
        for source in _sources(nodes, node):
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def _sources(nodes: Graph, node: str) -> list[str]:
    return [source for value in _inputs(nodes[node]).values() if (source := _link(value, nodes)) is not None]


def _link(value: object, nodes: Graph) -> str | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and str(value[0]) in nodes:
        return str(value[0])
    return None


def _inputs(node: Node) -> Mapping[str, object]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _kind(node: Node) -> str:
    return str(node.get("class_type")).lower()


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) <= 100 else otherwise
