"""Graphs of row kernels, attention and sparse layers. `weights` has our parameters by name."""
import numpy as np

from graph_builder import Graph

TOKENS = 197


def softmax_graph(_weights, _batch):
    graph = Graph()
    shape = (1, 3, TOKENS, TOKENS)
    return graph.model(graph.op("Softmax", graph.input(shape), axis=-1), shape)


def layer_norm_graph(weights, _batch):
    graph = Graph()
    shape = (TOKENS, 192)
    return graph.model(graph.layer_norm(graph.input(shape), weights["scale"], weights["bias"]), shape)


def gelu_graph(_weights, _batch):
    graph = Graph()
    shape = (TOKENS, 768)
    return graph.model(graph.gelu(graph.input(shape)), shape)


def plain_attention(graph, query, key, value, batch, tokens, heads, scale, keys=None):
    """softmax(q k^T scale) v in elementary operators, which OpenVINO fuses to its own attention. keys: their number
    where it is not that of the queries."""
    keys = keys or tokens
    split = [graph.reshape(part, batch, count, heads, -1)
             for part, count in ((query, tokens), (key, keys), (value, keys))]
    query, value = (graph.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (split[0], split[2]))
    key = graph.op("Transpose", split[1], perm=[0, 2, 3, 1])
    scores = graph.op("MatMul", query, key)
    if scale != 1.:
        scores = graph.op("Mul", scores, graph.constant(scale))
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    return graph.reshape(graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), batch * tokens, -1)


def fused_attention(graph, query, key, value, batch, tokens, heads, scale, keys=None):
    """The same as ONNX Runtime's own operator."""
    keys = keys or tokens
    parts = [graph.reshape(part, batch, count, -1) for part, count in ((query, tokens), (key, keys), (value, keys))]
    mixed = graph.op("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=heads, scale=float(scale))
    return graph.reshape(mixed, batch * tokens, -1)


def attention_graph(_weights, batch, attend=plain_attention):
    graph = Graph()
    width = 192
    joint = graph.input((batch * TOKENS, 3 * width))
    parts = graph.op("Split", joint, outputs=3, axis=1, num_outputs=3)
    return graph.model(attend(graph, *parts, batch, TOKENS, 3, 0.125), (batch * TOKENS, width))


def expert_weights(weights, prefix):
    names = ("hidden.kernel", "hidden.bias", "output.kernel", "output.bias")
    return [weights[f"{prefix}.{name}"] for name in names]


def per_patch_experts(graph, value, weights, prefix, selected):
    """Each expert's rows are gathered, go through its MLP, and are added where they came from."""
    probabilities = graph.op("Softmax", graph.op("MatMul", value, graph.constant(weights[f"{prefix}.router.kernel"])),
                             axis=-1)
    gates, chosen = graph.op("TopK", probabilities, graph.constant([selected], np.int64), outputs=2, axis=-1)
    parts = expert_weights(weights, f"{prefix}.experts")
    result = graph.op("Mul", value, graph.constant(0.))
    for expert in range(len(parts[0])):
        where = graph.op("NonZero", graph.op("Equal", chosen, graph.constant(expert, np.int64)))  # token, rank x rows
        token, _ = graph.op("Split", where, outputs=2, axis=0, num_outputs=2)
        rows = graph.op("Gather", value, graph.reshape(token, -1), axis=0)
        gate = graph.op("GatherND", gates, graph.op("Transpose", where, perm=[1, 0]))
        output = graph.mlp(rows, *(part[expert] for part in parts))
        weighted = graph.op("Mul", output, graph.reshape(gate, -1, 1))
        result = graph.op("ScatterND", result, graph.reshape(token, -1, 1), weighted, reduction="add")
    return result


def image_choice(graph, value, weights, prefix, batch, tokens):
    """The expert of each image and its gate: from the mean of the image's tokens."""
    pooled = graph.op("ReduceMean", graph.reshape(value, batch, tokens, -1), graph.constant([1], np.int64), keepdims=0)
    logits = graph.linear(pooled, weights[f"{prefix}.kernel"], weights[f"{prefix}.bias"])
    return graph.op("TopK", graph.op("Softmax", logits, axis=-1), graph.constant([1], np.int64), outputs=2, axis=-1)


def per_image_experts(graph, value, weights, prefix, choice, batch, tokens):
    """The weights of each image's expert are gathered; then two batched products."""
    gate, chosen = choice
    chosen = graph.reshape(chosen, batch)
    kernel1, bias1, kernel2, bias2 = (graph.op("Gather", graph.constant(part), chosen, axis=0)
                                      for part in expert_weights(weights, prefix))
    x = graph.reshape(value, batch, tokens, -1)
    hidden = graph.op("Add", graph.op("MatMul", x, kernel1), graph.reshape(bias1, batch, 1, -1))
    output = graph.op("Add", graph.op("MatMul", graph.gelu(hidden), kernel2), graph.reshape(bias2, batch, 1, -1))
    return graph.reshape(graph.op("Mul", output, graph.reshape(gate, batch, 1, 1)), batch * tokens, -1)


def gathered_image_experts(graph, value, weights, prefix, choice, batch, tokens):
    """The images of each expert are gathered, so that its weights stay constant; zero images are zero rows."""
    gate, chosen = choice
    parts = expert_weights(weights, prefix)
    x = graph.reshape(value, batch, -1)
    result = graph.op("Mul", x, graph.constant(0.))
    for expert in range(len(parts[0])):
        where = graph.op("NonZero", graph.op("Equal", graph.reshape(chosen, batch), graph.constant(expert, np.int64)))
        image = graph.reshape(where, -1)
        rows = graph.reshape(graph.op("Gather", x, image, axis=0), -1, parts[0].shape[1])
        output = graph.reshape(graph.mlp(rows, *(part[expert] for part in parts)), -1, tokens * parts[0].shape[1])
        weighted = graph.op("Mul", output, graph.op("Gather", gate, image, axis=0))
        result = graph.op("ScatterND", result, graph.reshape(image, -1, 1), weighted)
    return graph.reshape(result, batch * tokens, -1)


def vmoe_layer_graph(weights, batch):
    graph = Graph()
    shape = (batch * TOKENS, 384)
    return graph.model(per_patch_experts(graph, graph.input(shape), weights, "moe", 2), shape)


def mobile_layer_graph(weights, batch, experts=per_image_experts):
    graph = Graph()
    shape = (batch * TOKENS, 192)
    value = graph.input(shape)
    choice = image_choice(graph, value, weights, "moe.router", batch, TOKENS)
    return graph.model(experts(graph, value, weights, "moe.experts", choice, batch, TOKENS), shape)
