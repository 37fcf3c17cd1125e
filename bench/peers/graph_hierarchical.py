"""Graphs of Swin and CvT. `weights` has our parameters by name."""
import numpy as np

from graph_builder import Graph

EPSILON = 1e-5


class Hierarchical:
    """What both have. Streams are (batch * tokens) x width, so that a linear layer is one Gemm."""

    def __init__(self, weights, batch):
        self.graph, self.weights, self.batch = Graph(), weights, batch

    def norm(self, value, name):
        return self.graph.layer_norm(value, self.weights[f"{name}.scale"], self.weights[f"{name}.bias"], EPSILON)

    def linear(self, value, name):
        return self.graph.linear(value, self.weights[f"{name}.kernel"], self.weights[f"{name}.bias"])

    def add_mlp(self, value, prefix):
        hidden = self.activate(self.linear(self.norm(value, f"{prefix}.norm2"), f"{prefix}.mlp.hidden"))
        return self.graph.op("Add", value, self.linear(hidden, f"{prefix}.mlp.output"))

    def depth(self, stage):
        prefix = f"stages.{stage}.blocks."
        return 1 + max(int(name.split(".")[3]) for name in self.weights if name.startswith(prefix))

    def stages(self):
        return 1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith("stages."))

    def to_map(self, value, side):
        """tokens -> batch x channels x height x width"""
        return self.graph.op("Transpose", self.graph.reshape(value, self.batch, side, side, -1), perm=[0, 3, 1, 2])

    def to_tokens(self, value, channels):
        return self.graph.reshape(self.graph.op("Transpose", value, perm=[0, 2, 3, 1]), -1, channels)

    def classify(self, features):
        return self.graph.model(self.linear(features, "head"), (self.batch, self.weights["head.kernel"].shape[1]))


def window_rows(side, window, shift):
    """The places of a map in the order of its (shifted) windows."""
    places = np.roll(np.arange(side * side).reshape(side, side), (-shift, -shift), axis=(0, 1))
    cut = places.reshape(side // window, window, side // window, window).transpose(0, 2, 1, 3)
    return cut.reshape(-1)


def position_bias(table, side, window, shift):
    """What is added to scores: windows (1 where all are alike) x heads x area x area."""
    row, column = np.divmod(np.arange(window * window), window)
    difference = [(part[:, None] - part[None, :] + window - 1) for part in (row, column)]
    bias = table[difference[0] * (2 * window - 1) + difference[1]].transpose(2, 0, 1)[None]
    if shift == 0:
        return bias
    part = np.digitize(np.arange(side), [side - window, side - shift])
    parts = (3 * part[:, None] + part[None, :]).reshape(side // window, window, side // window, window)
    parts = parts.transpose(0, 2, 1, 3).reshape(-1, 1, window * window)
    return bias + np.where(parts[:, :, :, None] == parts[:, :, None, :], 0., -100.)


class Swin(Hierarchical):
    """`attend`: plain operators or ONNX Runtime's own; `gather`: windows by one Gather, else by transposing."""

    def __init__(self, weights, batch, attend="plain", gather=False):
        super().__init__(weights, batch)
        self.attend, self.gather = attend, gather

    def activate(self, value):
        return self.graph.op("Gelu", value)

    def roll(self, value, shift):
        """batch x side x side x width, by `shift` places up and to the left, or down and to the right."""
        for axis in (1, 2):
            far = self.graph.slice(value, shift, np.iinfo(np.int64).max, axis)
            value = self.graph.op("Concat", far, self.graph.slice(value, 0, shift, axis), axis=axis)
        return value

    def to_windows(self, value, side, window, shift):
        graph, count = self.graph, side // window
        if self.gather:
            rows = graph.constant(window_rows(side, window, shift), np.int64)
            width = graph.reshape(value, self.batch, side * side, -1)
            return graph.op("Gather", width, rows, axis=1)
        value = graph.reshape(value, self.batch, side, side, -1)
        value = self.roll(value, shift) if shift else value
        return graph.op("Transpose", graph.reshape(value, self.batch, count, window, count, window, -1),
                        perm=[0, 1, 3, 2, 4, 5])

    def from_windows(self, value, side, window, shift):
        graph, count = self.graph, side // window
        if self.gather:
            rows = graph.constant(np.argsort(window_rows(side, window, shift)), np.int64)
            value = graph.op("Gather", graph.reshape(value, self.batch, side * side, -1), rows, axis=1)
            return value
        value = graph.reshape(value, self.batch, count, count, window, window, -1)
        value = graph.reshape(graph.op("Transpose", value, perm=[0, 1, 3, 2, 4, 5]), self.batch, side, side, -1)
        return self.roll(value, -shift) if shift else value

    def scores_and_sums(self, parts, bias, heads, area):
        """softmax(q k^T + bias) v for all windows; queries are scaled already."""
        graph, windows = self.graph, bias.shape[0]
        if self.attend == "fused":
            parts = [graph.reshape(part, -1, area, width) for part, width in parts]
            whole = np.tile(bias, (self.batch, 1, 1, 1)) if windows > 1 else bias
            return graph.op("MultiHeadAttention", *parts, "", "", graph.constant(whole), domain="com.microsoft",
                            num_heads=heads, scale=1.)
        split = [graph.reshape(part, -1, area, heads, width // heads) for part, width in parts]
        query, value = (graph.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (split[0], split[2]))
        scores = graph.op("MatMul", query, graph.op("Transpose", split[1], perm=[0, 2, 3, 1]))
        if windows > 1:
            scores = graph.reshape(scores, self.batch, windows, heads, area, area)
            scores = graph.op("Add", scores, graph.constant(bias[None]))
            scores = graph.reshape(scores, -1, heads, area, area)
        else:
            scores = graph.op("Add", scores, graph.constant(bias))
        mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
        return graph.op("Transpose", mixed, perm=[0, 2, 1, 3])

    def add_attention(self, value, prefix, norm, side, shift):
        """prefix: of the attention's parameters."""
        graph, weights = self.graph, self.weights
        table = weights[f"{prefix}.relative_position_bias"]
        window, heads = (int(np.sqrt(table.shape[0])) + 1) // 2, table.shape[1]
        names = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        kernels = [weights[f"{name}.kernel"] for name in names]
        biases = [weights[f"{name}.bias"] for name in names]
        dim = kernels[0].shape[1]
        scale = 1. / np.sqrt(dim / heads)
        kernels[0], biases[0] = kernels[0] * scale, biases[0] * scale
        rows = graph.reshape(self.to_windows(self.norm(value, norm), side, window, shift), -1, dim)
        joint = graph.linear(rows, np.concatenate(kernels, axis=1), np.concatenate(biases))
        parts = graph.op("Split", joint, outputs=3, axis=1, num_outputs=3)
        bias = position_bias(table, side, window, shift)
        mixed = self.scores_and_sums([(part, dim) for part in parts], bias, heads, window * window)
        output = self.linear(graph.reshape(mixed, -1, dim), f"{prefix}.output")
        branch = graph.reshape(self.from_windows(output, side, window, shift), -1, dim)
        return graph.op("Add", value, branch)

    def merge(self, value, prefix, side, dim):
        """2 x 2 places side by side: (row, column) = (0, 0), (1, 0), (0, 1), (1, 1)."""
        graph = self.graph
        cells = graph.reshape(value, self.batch, side // 2, 2, side // 2, 2, dim)
        joined = graph.reshape(graph.op("Transpose", cells, perm=[0, 1, 3, 4, 2, 5]), -1, 4 * dim)
        kernel = graph.constant(self.weights[f"{prefix}.reduction.kernel"])
        return graph.op("MatMul", self.norm(joined, f"{prefix}.norm"), kernel)

    def model(self, image=224):
        graph, weights = self.graph, self.weights
        kernel = weights["stages.0.embedding.projection.kernel"]
        patch, dim = kernel.shape[0], kernel.shape[3]
        images = graph.input((self.batch, kernel.shape[2], image, image))
        patches = graph.convolution(images, kernel, weights["stages.0.embedding.projection.bias"], stride=patch)
        value, side = self.norm(self.to_tokens(patches, dim), "stages.0.embedding.norm"), image // patch
        for stage in range(self.stages()):
            if stage > 0:
                value, side, dim = self.merge(value, f"stages.{stage}.embedding", side, dim), side // 2, 2 * dim
            for block in range(self.depth(stage)):
                prefix = f"stages.{stage}.blocks.{block}"
                shift = 3 if block % 2 == 1 and side > 7 else 0
                value = self.add_attention(value, f"{prefix}.attention", f"{prefix}.norm1", side, shift)
                value = self.add_mlp(value, prefix)
        places = graph.reshape(self.norm(value, "norm"), self.batch, side * side, dim)
        return self.classify(graph.op("ReduceMean", places, graph.constant([1], np.int64), keepdims=0))


def swin_graph(weights, batch, **ways):
    return Swin(weights, batch, **ways).model()


def window_attention_graph(weights, batch, **ways):
    """Shifted windows of the first stage of Swin-T."""
    swin, side, dim = Swin(weights, batch, **ways), 56, 96
    value = swin.graph.input((batch * side * side, dim))
    result = swin.add_attention(value, "attention", "norm", side, 3)
    return swin.graph.model(result, (batch * side * side, dim))


class Cvt(Hierarchical):
    """`attend`: one of graph_layers. Batch norms are folded into the convolutions, as both engines do."""

    def __init__(self, weights, batch, attend):
        super().__init__(weights, batch)
        self.attend = attend

    def activate(self, value):
        """Quick GELU, which both engines know by these operators."""
        graph = self.graph
        return graph.op("Mul", value, graph.op("Sigmoid", graph.op("Mul", value, graph.constant(1.702))))

    def projection(self, maps, class_token, name, stride, dim, scale=1.):
        weights, norm = self.weights, f"{name}.norm"
        factor = weights[f"{norm}.scale"] / np.sqrt(weights[f"{norm}.running_variance"] + EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * factor
        kernel = (weights[f"{name}.convolution.kernel"] * factor)[:, :, None, :]
        convolved = self.graph.convolution(maps, kernel, bias, stride=stride, padding=1, groups=dim)
        tokens = self.to_tokens(convolved, dim)
        if class_token:
            tokens = self.graph.reshape(tokens, self.batch, -1, dim)
            tokens = self.graph.reshape(self.graph.op("Concat", class_token, tokens, axis=1), -1, dim)
        return self.graph.linear(tokens, weights[f"{name}.kernel"] * scale, weights[f"{name}.bias"] * scale)

    def add_attention(self, value, prefix, side, dim, heads, has_class_token):
        graph, class_token = self.graph, None
        tokens, keys = side * side + has_class_token, (side // 2) ** 2 + has_class_token
        places = self.norm(value, f"{prefix}.norm1")
        if has_class_token:
            whole = graph.reshape(places, self.batch, tokens, dim)
            class_token, places = graph.slice(whole, 0, 1, 1), graph.slice(whole, 1, tokens, 1)
        maps = self.to_map(places, side)
        name = f"{prefix}.attention"
        query = self.projection(maps, class_token, f"{name}.query", 1, dim, 1. / np.sqrt(dim))
        key, other = (self.projection(maps, class_token, f"{name}.{part}", 2, dim) for part in ("key", "value"))
        mixed = self.attend(graph, query, key, other, self.batch, tokens, heads, 1., keys)
        return graph.op("Add", value, self.linear(mixed, f"{name}.output"))

    def model(self, image=224):
        graph, weights, heads = self.graph, self.weights, (1, 3, 6)
        maps, side = graph.input((self.batch, 3, image, image)), image
        for stage in range(self.stages()):
            prefix = f"stages.{stage}.embedding"
            kernel, stride = weights[f"{prefix}.projection.kernel"], 4 if stage == 0 else 2
            dim, side = kernel.shape[3], side // stride
            maps = graph.convolution(maps, kernel, weights[f"{prefix}.projection.bias"], stride=stride,
                                     padding=2 if stage == 0 else 1)
            value = self.norm(self.to_tokens(maps, dim), f"{prefix}.norm")
            has_class_token = f"{prefix}.class_token" in weights
            if has_class_token:
                first = np.tile(weights[f"{prefix}.class_token"].reshape(1, 1, -1), (self.batch, 1, 1))
                joined = graph.op("Concat", graph.constant(first), graph.reshape(value, self.batch, -1, dim), axis=1)
                value = graph.reshape(joined, -1, dim)
            for block in range(self.depth(stage)):
                name = f"stages.{stage}.blocks.{block}"
                value = self.add_mlp(self.add_attention(value, name, side, dim, heads[stage], has_class_token), name)
            if stage + 1 < self.stages():
                maps = self.to_map(value, side)
        tokens = graph.reshape(value, self.batch, side * side + 1, dim)
        return self.classify(self.norm(graph.op("Gather", tokens, graph.constant(0, np.int64), axis=1), "norm"))


def cvt_graph(weights, batch, attend):
    return Cvt(weights, batch, attend).model()
