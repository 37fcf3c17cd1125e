"""Graphs of whole models: ViT, V-MoE and Mobile V-MoE. `weights` has our parameters by name."""
import numpy as np

from graph_builder import Graph
from graph_layers import image_choice, per_image_experts, per_patch_experts, plain_attention


class Transformer:
    """One graph. `attend` and `experts` choose among ways to say the same."""

    def __init__(self, weights, batch, image, heads, attend, experts):
        self.graph, self.weights = Graph(), weights
        self.batch, self.image, self.heads = batch, image, heads
        self.attend, self.experts = attend, experts
        self.tokens, self.dim = weights["position_embedding"].shape

    def embed(self):
        """Images come as the engines like them, batch x channels x height x width."""
        graph, weights = self.graph, self.weights
        kernel = weights["patch_embedding.kernel"]
        patch = kernel.shape[0]
        images = graph.input((self.batch, kernel.shape[2], self.image, self.image))
        patches = graph.op("Conv", images, graph.constant(kernel.transpose(3, 2, 0, 1)),
                           graph.constant(weights["patch_embedding.bias"]), strides=[patch, patch])
        patches = graph.reshape(patches, self.batch, self.dim, self.tokens - 1)
        patches = graph.op("Transpose", patches, perm=[0, 2, 1])
        positions = weights["position_embedding"]
        first = np.tile((weights["class_token"] + positions[0]).reshape(1, 1, -1), (self.batch, 1, 1))
        patches = graph.op("Add", patches, graph.constant(positions[None, 1:]))
        return graph.reshape(graph.op("Concat", graph.constant(first), patches, axis=1), -1, self.dim)

    def norm(self, value, name):
        return self.graph.layer_norm(value, self.weights[f"{name}.scale"], self.weights[f"{name}.bias"])

    def attention(self, value, prefix):
        """The scale of the scores is part of the query's weights."""
        names = [f"{prefix}.attention.{part}" for part in ("query", "key", "value")]
        kernels = [self.weights[f"{name}.kernel"] for name in names]
        biases = [self.weights[f"{name}.bias"] for name in names]
        scale = 1. / np.sqrt(kernels[0].shape[1] / self.heads)
        kernels[0], biases[0] = kernels[0] * scale, biases[0] * scale
        joint = self.graph.linear(value, np.concatenate(kernels, axis=1), np.concatenate(biases))
        parts = self.graph.op("Split", joint, outputs=3, axis=1, num_outputs=3)
        mixed = self.attend(self.graph, *parts, self.batch, self.tokens, self.heads, 1.)
        output = f"{prefix}.attention.output"
        return self.graph.linear(mixed, self.weights[f"{output}.kernel"], self.weights[f"{output}.bias"])

    def mlp(self, value, prefix, choice):
        if f"{prefix}.moe.router.kernel" in self.weights:
            return per_patch_experts(self.graph, value, self.weights, f"{prefix}.moe", 2)
        if choice and f"{prefix}.moe.experts.hidden.kernel" in self.weights:
            return self.experts(self.graph, value, self.weights, f"{prefix}.moe.experts", choice, self.batch,
                                self.tokens)
        names = ("hidden.kernel", "hidden.bias", "output.kernel", "output.bias")
        return self.graph.mlp(value, *(self.weights[f"{prefix}.mlp.{name}"] for name in names))

    def blocks(self, value):
        graph, weights, choice = self.graph, self.weights, None
        depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        for block in range(depth):
            prefix = f"blocks.{block}"
            if not choice and "router.kernel" in weights and f"{prefix}.moe.experts.hidden.kernel" in weights:
                choice = image_choice(graph, value, weights, "router", self.batch, self.tokens)
            value = graph.op("Add", value, self.attention(self.norm(value, f"{prefix}.norm1"), prefix))
            value = graph.op("Add", value, self.mlp(self.norm(value, f"{prefix}.norm2"), prefix, choice))
        return value

    def model(self):
        graph = self.graph
        value = graph.reshape(self.blocks(self.embed()), self.batch, self.tokens, self.dim)
        first = graph.op("Gather", value, graph.constant(0, np.int64), axis=1)
        kernel = self.weights["head.kernel"]
        logits = graph.linear(self.norm(first, "norm"), kernel, self.weights["head.bias"])
        return graph.model(logits, (self.batch, kernel.shape[1]))


def vit_graph(weights, batch, image=224, heads=3, attend=plain_attention, experts=per_image_experts):
    return Transformer(weights, batch, image, heads, attend, experts).model()
