"""Graphs of heads of dense tasks over the maps of Swin-T at 224 pixels. `weights` has our parameters by name."""
import numpy as np

from graph_builder import Graph

SIDES, WIDTHS = (56, 28, 14, 7), (96, 192, 384, 768)
GROUPS = 32


def map_values(batch):
    """Floats of each map of a batch."""
    return [batch * side * side * width for side, width in zip(SIDES, WIDTHS)]


def maps_channels_first(values):
    """Our maps, one behind the other, as the engines like them."""
    batch = values.size // sum(map_values(1))
    parts = np.split(values, np.cumsum(map_values(batch))[:-1])
    shaped = (part.reshape(batch, side, side, width) for part, side, width in zip(parts, SIDES, WIDTHS))
    return np.concatenate([part.transpose(0, 3, 1, 2).ravel() for part in shaped])


class Head:
    def __init__(self, weights, batch):
        self.graph, self.weights, self.batch = Graph(), weights, batch

    def maps(self):
        graph, sizes = self.graph, map_values(self.batch)
        parts = graph.op("Split", graph.input((sum(sizes),)), graph.constant(sizes, np.int64), outputs=4, axis=0)
        return [graph.reshape(part, self.batch, width, side, side)
                for part, side, width in zip(parts, SIDES, WIDTHS)]

    def convolution(self, value, name, stride=1):
        kernel = self.weights[f"{name}.kernel"]
        return self.graph.convolution(value, kernel, self.weights.get(f"{name}.bias"), stride=stride,
                                      padding=kernel.shape[0] // 2)

    def normed(self, value, name, side):
        """Convolution, group norm as PyTorch exports it, ReLU."""
        graph, scale = self.graph, self.weights[f"{name}.norm.scale"]
        grouped = graph.reshape(self.convolution(value, name), self.batch, GROUPS, -1)
        ones, zeros = graph.constant(np.ones(GROUPS)), graph.constant(np.zeros(GROUPS))
        normed = graph.op("InstanceNormalization", grouped, ones, zeros, epsilon=1e-5)
        normed = graph.reshape(normed, self.batch, scale.size, side, side)
        scaled = graph.op("Mul", normed, graph.constant(scale.reshape(-1, 1, 1)))
        shift = graph.constant(self.weights[f"{name}.norm.bias"].reshape(-1, 1, 1))
        return graph.op("Relu", graph.op("Add", scaled, shift))

    def resize(self, value, side, channels):
        """Bilinear, between the centres of places."""
        shape = self.graph.constant([self.batch, channels, side, side], np.int64)
        return self.graph.op("Resize", value, "", "", shape, mode="linear",
                             coordinate_transformation_mode="half_pixel")


class UperNet(Head):
    WIDTH = 512

    def pooled(self, value, parts):
        """Means over parts x parts pieces that may overlap, of maps of 7 x 7: as two products."""
        side = SIDES[-1]
        means = np.zeros((parts, side))
        for part in range(parts):
            first, last = part * side // parts, -(-(part + 1) * side // parts)
            means[part, first:last] = 1. / (last - first)
        columns = self.graph.op("MatMul", value, self.graph.constant(means.T))
        return self.graph.op("MatMul", self.graph.constant(means), columns)

    def pooling(self, value):
        graph, parts = self.graph, [value]
        for side in (1, 2, 3, 6):
            mean = graph.op("GlobalAveragePool", value) if side == 1 else self.pooled(value, side)
            parts.append(self.resize(self.normed(mean, f"head.pooling.{side}", side), SIDES[-1], self.WIDTH))
        return self.normed(graph.op("Concat", *parts, axis=1), "head.pooling.bottleneck", SIDES[-1])

    def model(self):
        graph, maps = self.graph, self.maps()
        merged = self.pooling(maps[-1])
        pyramid = [merged]
        for level in (2, 1, 0):
            lateral = self.normed(maps[level], f"head.lateral.{level}", SIDES[level])
            merged = graph.op("Add", lateral, self.resize(merged, SIDES[level], self.WIDTH))
            pyramid.insert(0, self.normed(merged, f"head.smoothing.{level}", SIDES[level]))
        resized = [pyramid[0]] + [self.resize(level, SIDES[0], self.WIDTH) for level in pyramid[1:]]
        fused = self.normed(graph.op("Concat", *resized, axis=1), "head.fusion", SIDES[0])
        logits = graph.op("Transpose", self.convolution(fused, "head.classifier"), perm=[0, 2, 3, 1])
        return graph.model(logits, (self.batch, SIDES[0], SIDES[0], self.weights["head.classifier.bias"].size))


class Fcos(Head):
    WIDTH = 256
    LEVELS = ((28, 8), (14, 16), (7, 32), (4, 64), (2, 128))  # side, stride

    def pyramid(self, maps):
        graph, merged, levels = self.graph, None, []
        for number in (2, 1, 0):
            lateral = self.convolution(maps[number], f"head.pyramid.lateral.{number}")
            above = merged and self.resize(merged, self.LEVELS[number][0], self.WIDTH)
            merged = graph.op("Add", lateral, above) if above else lateral
            levels.insert(0, self.convolution(merged, f"head.pyramid.smoothing.{number}"))
        levels.append(self.convolution(levels[-1], "head.pyramid.coarser.0", stride=2))
        levels.append(self.convolution(graph.op("Relu", levels[-1]), "head.pyramid.coarser.1", stride=2))
        return levels

    def tower(self, value, name, side):
        for layer in range(4):
            value = self.normed(value, f"head.{name}.{layer}", side)
        return value

    def rows(self, value, columns):
        return self.graph.reshape(self.graph.op("Transpose", value, perm=[0, 2, 3, 1]), -1, columns)

    def boxes(self, value, level):
        graph = self.graph
        scale = graph.constant(self.weights[f"head.levels.{level}.scale"])
        exponent = graph.op("Min", graph.op("Mul", graph.slice(value, 0, 4, 1), scale), graph.constant(10.))
        distance = graph.op("Mul", graph.op("Exp", exponent), graph.constant(float(self.LEVELS[level][1])))
        return graph.op("Concat", distance, graph.slice(value, 4, 5, 1), axis=1)

    def model(self):
        graph, classes, boxes = self.graph, [], []
        count = self.weights["head.classes.bias"].size
        for level, value in enumerate(self.pyramid(self.maps()[1:])):
            side = self.LEVELS[level][0]
            classes.append(self.rows(self.convolution(self.tower(value, "class_tower", side), "head.classes"), count))
            raw = self.rows(self.convolution(self.tower(value, "box_tower", side), "head.boxes"), 5)
            boxes.append(self.boxes(raw, level))
        flat = [graph.reshape(graph.op("Concat", *parts, axis=0), -1) for parts in (classes, boxes)]
        places = self.batch * sum(side * side for side, _ in self.LEVELS)
        return graph.model(graph.op("Concat", *flat, axis=0), (places * (count + 5),))


def upernet_graph(weights, batch):
    return UperNet(weights, batch).model()


def fcos_graph(weights, batch):
    return Fcos(weights, batch).model()
