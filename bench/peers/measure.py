"""Times ours and the peers in alternating rounds and writes one JSON line per case and peer.

Run by bench/run.sh --peers, which also pins this process; `--threads` is for ours and for the peers.
"""
import argparse
import json
import os
import re
import sys
import tempfile

import numpy as np
import onnx

import engines
import paired
from cases import CASES, HIDDEN, peers_of
from our_server import Ours


def say(text):
    print(f"   {text}", file=sys.stderr, flush=True)


def read_safetensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data, np.float32, offset=about["data_offsets"][0],
                                count=int(np.prod(about["shape"]))).reshape(about["shape"])
            for name, about in header.items()}


def relative_error(found, expected):
    return float(np.linalg.norm(found.ravel() - expected.ravel()) / np.linalg.norm(expected))


class Disagreement(RuntimeError):
    """A peer computes something else than we do: one of the two is wrong."""


class Comparison:
    """One case at one batch size and one precision of ours."""

    def __init__(self, ours, case, precision, batch, threads, folder):
        self.ours, self.case, self.batch, self.threads, self.folder = ours, case, batch, threads, folder
        self.row = {"case": case.name, "precision": precision, "threads": threads, "batch": batch}
        generator = np.random.default_rng(11)
        self.inputs = [case.make_input(generator, batch) for _ in range(8 if batch == 1 else 3)]
        inputs = os.path.join(folder, "inputs.f32")
        np.stack(self.inputs).tofile(inputs)
        self.cost = ours.ask(do="open", case=case.name, precision=precision, threads=threads, batch=batch,
                             inputs=inputs, folder=folder)
        self.weights = read_safetensors(os.path.join(folder, "weights.safetensors"))
        outputs = np.fromfile(os.path.join(folder, "outputs.f32"), np.float32).reshape(len(self.inputs), -1)
        self.disagreeing = []  # peers whose results are not ours
        self.expected = [*outputs, *self.first_step()]

    def first_step(self):
        """Gradients, and weights after the update, of the first step of training; nothing of a forward pass."""
        paths = [os.path.join(self.folder, name) for name in ("gradients.safetensors", "updated.safetensors")]
        return [engines.by_name(read_safetensors(path)) for path in paths if os.path.exists(path)]

    def open_peer(self, engine, family, tolerance):
        """The engine with the fastest of its graphs, after its outputs were compared with ours; and the error."""
        inputs, trials, errors = [self.case.to_peer(value) for value in self.inputs], [], []
        for number, graph in enumerate(self.case.graphs[family]):
            peer = engine(self.make(graph, f"{family}_{number}.onnx"), inputs, self.threads)
            errors.append(max(relative_error(*pair) for pair in zip(peer.outputs(), self.expected)))
            if errors[-1] <= tolerance:
                trials.append((min(peer.run(5)), number, peer, errors[-1]))
        if not trials:
            raise Disagreement(f"its outputs differ from ours by {min(errors):.2g}, allowed are {tolerance:.2g}")
        _, _, peer, error = min(trials, key=lambda trial: trial[:2])
        return peer, error

    def make(self, graph, name):
        """The file of an ONNX graph, or the function that JAX has compiled."""
        made = graph(self.weights, self.batch)
        if not isinstance(made, onnx.ModelProto):
            return made
        path = os.path.join(self.folder, name)
        onnx.save(made, path)
        return path

    def run(self, peers, rounds):
        contenders, errors = {"ours": self.ours.run, "peak": self.peak}, {}
        for name, engine, family, tolerance in peers:
            try:
                peer, errors[name] = self.open_peer(engine, family, tolerance)
                contenders[name] = peer.run
            except Disagreement as problem:
                say(f"error: {self.case.name}: {name}: {problem}")
                self.disagreeing.append(name)
            except Exception as problem:  # an engine may raise anything; the others are still compared
                say(f"{self.case.name}: {name} is left out: {str(problem).strip().splitlines()[0]}")
        samples = paired.alternate(contenders, rounds)
        gflops = np.median(np.concatenate(samples["peak"]))
        limit = 2e-6 * self.cost["multiply_adds"] / gflops if self.cost["multiply_adds"] else None
        return [self.with_rates(self.row | paired.compare(samples["ours"], samples[name]) |
                                {"peer": name, "limit_ms": limit, "error": error}) for name, error in errors.items()]

    def with_rates(self, row):
        """Images per second where they are asked for."""
        if not self.case.counts_images:
            return row
        return row | {f"{side}_images_per_second": 1e3 * self.batch / row[f"{side}_ms"] for side in ("ours", "peer")}

    def peak(self, _iterations):
        """GFLOP/s, not milliseconds: a loop of 10 ms in every round."""
        return [self.ours.ask(do="peak", threads=self.threads)["gflops"]]


def wanted(case, batch, pattern):
    name = f"{case.name}/B{batch}"
    return bool(re.search(pattern, name)) if pattern else case.name not in HIDDEN


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="the program moevit_peers_ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--case", default="", help="regular expression; names are case/Bbatch")
    parser.add_argument("--out", required=True, help="JSON lines are added to this file")
    options = parser.parse_args()
    ours, disagreeing = Ours(options.ours), 0
    say(f"ours: {ours.build}")
    for case in CASES:
        for batch in case.batches:
            if options.threads not in case.threads or not wanted(case, batch, options.case):
                continue
            for precision in case.precisions:
                say(f"{case.name} B{batch} {precision}, {options.threads} thread(s)")
                with tempfile.TemporaryDirectory() as folder:
                    comparison = Comparison(ours, case, precision, batch, options.threads, folder)
                    rows = comparison.run(peers_of(case, precision), options.rounds)
                disagreeing += len(comparison.disagreeing)
                with open(options.out, "a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
    ours.close()
    if disagreeing:
        sys.exit(f"error: {disagreeing} comparison(s) with other results than ours were not timed")


if __name__ == "__main__":
    main()
