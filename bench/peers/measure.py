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
        self.expected = np.fromfile(os.path.join(folder, "outputs.f32"), np.float32).reshape(len(self.inputs), -1)

    def open_peer(self, engine, family, tolerance):
        """The engine with the fastest of its graphs, after its outputs were compared with ours; and the error."""
        inputs, trials, errors = [self.case.to_peer(value) for value in self.inputs], [], []
        for number, graph in enumerate(self.case.graphs[family]):
            peer = engine(self.make(graph, f"{family}_{number}.onnx"), inputs, self.threads)
            errors.append(max(relative_error(*pair) for pair in zip(peer.outputs(), self.expected)))
            if errors[-1] <= tolerance:
                trials.append((min(peer.run(5)), number, peer, errors[-1]))
        if not trials:
            raise RuntimeError(f"its outputs differ from ours by {min(errors):.2g}, allowed are {tolerance:.2g}")
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
            except Exception as problem:  # an engine may raise anything; the others are still compared
                say(f"{self.case.name}: {name} is left out: {str(problem).strip().splitlines()[0]}")
        samples = paired.alternate(contenders, rounds)
        gflops = np.median(np.concatenate(samples["peak"]))
        limit = 2e-6 * self.cost["multiply_adds"] / gflops if self.cost["multiply_adds"] else None
        return [self.row | paired.compare(samples["ours"], samples[name]) |
                {"peer": name, "limit_ms": limit, "error": error} for name, error in errors.items()]

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
    ours = Ours(options.ours)
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
                with open(options.out, "a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
    ours.close()


if __name__ == "__main__":
    main()
