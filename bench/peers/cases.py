"""What is compared: the cases, their inputs, the graphs that peers run, and who is compared with whom."""
import gzip
import os
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Callable

import numpy as np

import engines
import graph_heads as heads
import graph_hierarchical as hierarchical
import graph_layers as layers
from graph_models import vit_graph

# For each precision of ours the peers it is compared with: name, engine, graphs to choose from, allowed error.
# A new precision of ours is one line here and one in our_models.cpp.
COMPARED = {
    "fp32": (("ONNX Runtime fp32", engines.onnx_runtime, "onnx_runtime", 1e-3),
             ("OpenVINO f32", engines.openvino_f32, "openvino", 1e-3),
             ("OpenVINO bf16", engines.openvino_bf16, "openvino", 0.5),
             ("ONNX Runtime int8", engines.onnx_runtime_int8, "onnx_runtime", 0.5),
             ("JAX", engines.jax, "jax", 1e-3),
             ("JAX, training", engines.jax_training, "jax_training", 1e-4)),
    "bf16": (("OpenVINO bf16", engines.openvino_bf16, "openvino", 0.5),),
    "bf16 weights": (("ONNX Runtime fp32", engines.onnx_runtime, "onnx_runtime", 0.5),
                     ("OpenVINO f32", engines.openvino_f32, "openvino", 0.5)),
    "int8": (("ONNX Runtime int8", engines.onnx_runtime_int8, "onnx_runtime", 0.5),),
}
MODEL_PRECISIONS = tuple(COMPARED)
DENSE_PRECISIONS = ("fp32", "bf16", "bf16 weights")
LAYER_PRECISIONS = ("fp32", "bf16")


def smooth_images(generator, batch, size):
    """Images with large coloured areas and noise, normalised: pure noise has the same mean everywhere, and routers
    that read the mean could not tell images apart."""
    areas = generator.normal(size=(batch, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (areas + 0.5 * generator.normal(size=areas.shape)).astype(np.float32)


def fashion_images(generator, batch):
    """Test images of Fashion-MNIST from Debian's package, normalised as the shipped models want them."""
    folder = os.environ.get("MOEVIT_FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
    with gzip.open(os.path.join(folder, "t10k-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28, 1)
    chosen = images[generator.choice(len(images), batch, replace=False)]
    return ((chosen / np.float32(255) - 0.286) / 0.353).astype(np.float32)


def image_tokens(generator, batch, width):
    """Tokens of images that differ from image to image, as those of a trained model do."""
    tokens = generator.normal(size=(batch, layers.TOKENS, width)) + generator.normal(size=(batch, 1, width))
    return tokens.reshape(-1, width).astype(np.float32)


def normal(generator, _batch, *shape):
    return generator.normal(size=shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    name: str
    batches: tuple
    make_input: Callable  # generator, batch -> one input
    graphs: dict          # engine family -> graphs that say the same; the fastest in a trial is taken
    threads: tuple = (1, 2)
    to_peer: Callable = lambda value: value
    precisions: tuple = ("fp32",)
    reduced_peers: bool = True  # whether peers of lower precision have anything to reduce
    counts_images: bool = False  # whether images per second are reported as well


def channels_first(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def same(*graphs):
    return {"onnx_runtime": graphs, "openvino": graphs}


# Attention: OpenVINO makes one operator of its own from the plain ones; ONNX Runtime has MultiHeadAttention, which is
# not always faster. Experts per image: gathering weights is best for one image, gathering images for many.
ATTEND = {"onnx_runtime": (layers.fused_attention, layers.plain_attention), "openvino": (layers.plain_attention,)}
ROW = {"threads": (1,), "reduced_peers": False}
EXPERTS = (layers.per_image_experts, layers.gathered_image_experts)


def model_graphs(experts, **fixed):
    return {family: [partial(vit_graph, attend=attend, experts=way, **fixed) for attend, way in product(ways, experts)]
            for family, ways in ATTEND.items()}


def jax_way(made, name, capacity_ratio):
    """JAX is imported only where it is asked for."""
    def make(weights, _batch):
        import jax_models
        return getattr(jax_models, made)(weights, getattr(jax_models, name), capacity_ratio)
    return make


def jax_ways(made, *more):
    """made: model or training of jax_models; more: further ways of sparse layers."""
    ways = [("ragged", 0), ("every_expert", 0), *(("by_indices", ratio) for ratio in (2, 3, 4)), *more]
    return [jax_way(made, *way) for way in ways]


def window_graphs(graph):
    """Swin's windows are cut and attended to in several ways, too."""
    return {family: [partial(graph, attend=attend, gather=gather) for attend, gather in product(ways, (False, True))]
            for family, ways in (("onnx_runtime", ("plain", "fused")), ("openvino", ("plain",)))}


def map_tokens(generator, batch):
    return generator.normal(size=(batch * 56 * 56, 96)).astype(np.float32)


def stage_maps(generator, batch):
    """Maps of all stages of Swin-T at 224 pixels, one behind the other."""
    return generator.normal(size=sum(heads.map_values(batch))).astype(np.float32)


GATHERED = ("gathered_weights", 0)


def training_case(name, ways, make_input=fashion_images, batch=64):
    """JAX's threads are those of the process: it is compared on one."""
    return Case(name, (batch,), make_input, {"jax_training": ways}, threads=(1,), to_peer=channels_first,
                counts_images=True)


CASES = (
    Case("vit_tiny_16", (1, 8), partial(smooth_images, size=224), model_graphs(EXPERTS[:1]), to_peer=channels_first,
         precisions=MODEL_PRECISIONS),
    Case("mobile_vmoe_12x192", (1, 8), partial(smooth_images, size=224), model_graphs(EXPERTS),
         to_peer=channels_first, precisions=MODEL_PRECISIONS),
    Case("fashion_vmoe", (64,), fashion_images, model_graphs(EXPERTS[:1], image=28, heads=4) |
         {"jax": jax_ways("model")}, to_peer=channels_first, reduced_peers=False),
    Case("fashion_mobile_vmoe", (64,), fashion_images, model_graphs(EXPERTS, image=28, heads=4) |
         {"jax": jax_ways("model", GATHERED)}, to_peer=channels_first, reduced_peers=False),
    training_case("training_vit", jax_ways("training")[:1]),
    training_case("training_vmoe", jax_ways("training")),
    training_case("training_mobile_vmoe", jax_ways("training", GATHERED)),
    Case("vmoe_layer", (8,), partial(image_tokens, width=384), same(layers.vmoe_layer_graph)),
    Case("mobile_layer", (1, 16), partial(image_tokens, width=192),
         same(*(partial(layers.mobile_layer_graph, experts=way) for way in EXPERTS))),
    Case("softmax", (1,), lambda g, b: normal(g, b, 1, 3, 197, 197), same(layers.softmax_graph), **ROW),
    Case("layer_norm", (1,), lambda g, b: normal(g, b, 197, 192), same(layers.layer_norm_graph), **ROW),
    Case("gelu", (1,), lambda g, b: normal(g, b, 197, 768), same(layers.gelu_graph), **ROW),
    Case("attention_core", (1,), lambda g, b: normal(g, b, 197, 3 * 192),
         {family: [partial(layers.attention_graph, attend=attend) for attend in ways]
          for family, ways in ATTEND.items()}, **ROW),
    Case("swin_tiny", (1, 8), partial(smooth_images, size=224), window_graphs(hierarchical.swin_graph),
         to_peer=channels_first, precisions=DENSE_PRECISIONS),
    Case("cvt_13", (1, 8), partial(smooth_images, size=224),
         {family: [partial(hierarchical.cvt_graph, attend=attend) for attend in ways]
          for family, ways in ATTEND.items()}, to_peer=channels_first, precisions=DENSE_PRECISIONS),
    Case("window_attention", (1, 8), map_tokens, window_graphs(hierarchical.window_attention_graph),
         precisions=LAYER_PRECISIONS),
    Case("upernet_head", (1, 8), stage_maps, same(heads.upernet_graph), to_peer=heads.maps_channels_first,
         precisions=LAYER_PRECISIONS),
    Case("fcos_head", (1, 8), stage_maps, same(heads.fcos_graph), to_peer=heads.maps_channels_first,
         precisions=LAYER_PRECISIONS),
    # Small enough for a test of this harness; not part of a run unless it is asked for.
    Case("tiny_mobile", (2,), partial(smooth_images, size=32), model_graphs(EXPERTS, image=32, heads=2),
         to_peer=channels_first, precisions=MODEL_PRECISIONS),
)


def peers_of(case, precision):
    return [peer for peer in COMPARED[precision]
            if peer[2] in case.graphs and (case.reduced_peers or peer[3] <= 1e-3)]


HIDDEN = ("tiny_mobile",)
