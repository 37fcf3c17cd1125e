"""Builds ONNX graphs by calling operators like functions."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with a Gelu operator


class Graph:
    """Names are values: op() and constant() return one, op() takes them."""

    def __init__(self):
        self.nodes, self.constants, self.inputs = [], [], []
        self.used = 0

    def name(self, kind):
        self.used += 1
        return f"{kind}_{self.used}"

    def input(self, shape):
        name = self.name("input")
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def constant(self, values, dtype=np.float32):
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.array(values, dtype=dtype, order="C"), name))
        return name

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [self.name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, value, *shape):
        return self.op("Reshape", value, self.constant(shape, np.int64))

    def linear(self, value, kernel, bias):
        """value: rows x inputs. One Gemm: both engines pack its weights and add the bias inside."""
        return self.op("Gemm", value, self.constant(kernel), self.constant(bias))

    def convolution(self, value, kernel, bias=None, stride=1, padding=0, groups=1):
        """value: batch x channels x height x width; kernel: height x width x inputs x outputs, as ours."""
        parts = [self.constant(kernel.transpose(3, 2, 0, 1))] + ([] if bias is None else [self.constant(bias)])
        return self.op("Conv", value, *parts, strides=[stride] * 2, pads=[padding] * 4, group=groups)

    def layer_norm(self, value, scale, bias, epsilon=1e-6):
        return self.op("LayerNormalization", value, self.constant(scale), self.constant(bias), axis=-1, epsilon=epsilon)

    def gelu(self, value):
        return self.op("Gelu", value, approximate="tanh")

    def slice(self, value, first, last, axis):
        parts = (self.constant([number], np.int64) for number in (first, last, axis))
        return self.op("Slice", value, *parts)

    def mlp(self, value, kernel1, bias1, kernel2, bias2):
        return self.linear(self.gelu(self.linear(value, kernel1, bias1)), kernel2, bias2)

    def model(self, output, shape):
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, list(shape))
        graph = helper.make_graph(self.nodes, "case", self.inputs, [result], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        # An engine may be older than the onnx package, so no newer file version than the operators need.
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)
