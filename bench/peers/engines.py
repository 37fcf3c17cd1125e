"""The engines whose graphs are timed: ONNX Runtime, OpenVINO and JAX. Each has run(n): n milliseconds, a different input each.

The peers are set as their documentation says is best for latency on a given number of threads.
"""
import logging
import time

import numpy as np


class Peer:
    """Calls `once` with every prepared input in turn, and times it."""

    def __init__(self, prepared, once):
        self.prepared, self.once, self.next = prepared, once, 0

    def step(self):
        value = self.prepared[self.next % len(self.prepared)]
        self.next += 1
        return value

    def run(self, iterations):
        self.once(self.step())  # whoever ran before has emptied the caches
        milliseconds = []
        for _ in range(iterations):
            value = self.step()
            start = time.perf_counter()
            self.once(value)
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return milliseconds


class OnnxRuntimePeer(Peer):
    """Inputs and outputs are bound beforehand, so that a call copies nothing."""

    def __init__(self, path, inputs, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads spin for work between calls; they must not do so while others are timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Denormals are slow; none should come up, but a peer is not to be hurt by them.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input, self.output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        self.inputs = inputs
        super().__init__([self.bind(value) for value in inputs], self.session.run_with_iobinding)

    def bind(self, value):
        import onnxruntime
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.input, onnxruntime.OrtValue.ortvalue_from_numpy(value))
        shape = self.session.get_outputs()[0].shape
        result = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
        binding.bind_ortvalue_output(self.output, result)
        return binding

    def outputs(self):
        return [self.session.run(None, {self.input: value})[0] for value in self.inputs]


def quantised(path):
    """ONNX Runtime's dynamic int8: weights per channel, activations when they are known."""
    import onnx
    logging.disable(logging.WARNING)  # it warns of every integer tensor
    from onnxruntime.quantization import QuantType, quantize_dynamic
    target = path.replace(".onnx", "_int8.onnx")
    # The type has to be said where the operators of ONNX Runtime's own hide it from shape inference.
    quantize_dynamic(path, target, per_channel=True, weight_type=QuantType.QInt8,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return target


class OpenVinoPeer(Peer):
    """One stream on `threads` threads; the input tensor is set before each call and shared, not copied."""

    def __init__(self, path, inputs, threads, precision):
        import openvino
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        self.request = compiled.create_infer_request()
        self.tensors = [openvino.Tensor(value, shared_memory=True) for value in inputs]
        super().__init__(self.tensors, lambda _: self.request.infer())

    def step(self):
        value = super().step()
        self.request.set_input_tensor(value)
        return value

    def outputs(self):
        results = []
        for tensor in self.tensors:
            self.request.set_input_tensor(tensor)
            self.request.infer()
            results.append(self.request.get_output_tensor().data.copy())
        return results


class JaxPeer(Peer):
    """A function that JAX has compiled; images channels last, as it likes them, on its device beforehand."""

    def __init__(self, function, inputs, threads):
        import jax
        if threads != 1:
            raise RuntimeError("JAX is compared on one thread: its threads are those of the process")
        self.device_inputs = [jax.device_put(np.ascontiguousarray(value.transpose(0, 2, 3, 1))) for value in inputs]
        self.function = function
        super().__init__(self.device_inputs, lambda value: function(value).block_until_ready())

    def outputs(self):
        return [np.asarray(self.function(value)) for value in self.device_inputs]


FIRST_RATE = 1e-3  # as in our_training.cpp


def by_name(tensors):
    """All values of named tensors in one row."""
    return np.concatenate([np.ravel(tensors[name]) for name in sorted(tensors)])


class JaxTrainingPeer(JaxPeer):
    """A training step that JAX has compiled. As with ours, the first one moves the weights and the others have rate 0."""

    def __init__(self, training, inputs, threads):
        self.state, step = training
        super().__init__(step, inputs, threads)
        self.once = self.train

    def train(self, images, rate=0.):
        self.state, loss = self.function(self.state, images, rate)
        for value in (*self.state[0].values(), loss):
            value.block_until_ready()
        return loss

    def outputs(self):
        """The loss of every input; gradient and weights after the first."""
        first, *others = self.device_inputs
        losses = [self.train(first, FIRST_RATE)]
        weights, moments, *_ = self.state
        gradients = by_name(moments) / np.float32(0.1)  # the first moment is a tenth of the gradient
        results = [gradients, by_name(weights)]  # copies: the state is used up by the next step
        return [np.asarray(loss) for loss in losses + [self.train(images) for images in others]] + results


def jax_training(training, inputs, threads):
    return JaxTrainingPeer(training, inputs, threads)


def jax(function, inputs, threads):
    return JaxPeer(function, inputs, threads)


def onnx_runtime(path, inputs, threads):
    return OnnxRuntimePeer(path, inputs, threads)


def onnx_runtime_int8(path, inputs, threads):
    return OnnxRuntimePeer(quantised(path), inputs, threads)


def openvino_f32(path, inputs, threads):
    return OpenVinoPeer(path, inputs, threads, "f32")


def openvino_bf16(path, inputs, threads):
    """Its default where the processor has bfloat16; asked for, so that the name says what runs."""
    import openvino
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this processor has no bfloat16")
    return OpenVinoPeer(path, inputs, threads, "bf16")
