"""Tests what compares us with others, as far as that needs no peer: the server, the statistics, the table, the plots.
Needs nothing but Python: harness_test.py PROGRAM, where PROGRAM is moevit_peers_ours."""
import contextlib
import io
import os
import sys
import tempfile
import xml.dom.minidom
from array import array

import gemm_rows
import paired
import table
from our_server import Ours
from svg_plot import Plot, padded, write_svg


def expect(condition, what):
    if not condition:
        sys.exit(f"error: {what}")


def open_tiny(ours, folder, threads, case="tiny_mobile", outputs=2 * 10):
    """Two batches of two images of 32 x 32; -> the outputs that the server wrote."""
    inputs = os.path.join(folder, "inputs.f32")
    with open(inputs, "wb") as file:
        array("f", [(i * 37 % 101) / 50. - 1. for i in range(2 * 2 * 32 * 32 * 3)]).tofile(file)
    cost = ours.ask(do="open", case=case, precision="fp32", threads=threads, batch=2, inputs=inputs,
                    folder=folder)
    expect(cost["inputs"] == 2 and cost["multiply_adds"] > 0 and cost["bytes"] > 0, f"a cost, found {cost}")
    expect(os.path.getsize(os.path.join(folder, "weights.safetensors")) > 0, "weights are written")
    values = array("f")
    with open(os.path.join(folder, "outputs.f32"), "rb") as file:
        values.fromfile(file, 2 * outputs)
    return values


def first_step(ours, folder, threads):
    """-> losses, and the files of a training step's first update."""
    losses = open_tiny(ours, folder, threads, "training_tiny_mobile", 1)
    files = {}
    for name in ("weights", "gradients", "updated"):
        with open(os.path.join(folder, f"{name}.safetensors"), "rb") as file:
            files[name] = file.read()
    return losses, files


def test_training(program):
    ours = Ours(program)
    with tempfile.TemporaryDirectory() as folder:
        losses, files = first_step(ours, folder, 1)
        expect(all(0 < loss < 20 for loss in losses), f"losses, found {losses}")
        expect(len(set(files.values())) == 3, "gradients, and weights that the first step has moved")
        expect(len({len(content) for content in files.values()}) == 1, "the same tensors before and after a step")
        expect(first_step(ours, folder, 2) == (losses, files), "two threads give the same losses, gradients and weights")
    ours.close()


def test_server(program):
    ours = Ours(program)
    with tempfile.TemporaryDirectory() as folder:
        logits = open_tiny(ours, folder, 1)
        expect(any(value != 0 for value in logits), "logits are not all zero")
        expect(len(ours.run(4)) == 4, "as many times as iterations")
        expect(open_tiny(ours, folder, 2) == logits, "two threads give the same logits")
        expect(ours.ask(do="peak", threads=2)["gflops"] > 0, "a peak on two threads")
        for wrong in ({"do": "open"}, {"do": "dance"}, {"do": "run"}):
            try:
                ours.ask(**wrong)
            except RuntimeError:
                continue
            sys.exit(f"error: {wrong} was not refused")
    ours.close()


def test_rounds():
    samples = paired.alternate({"ours": lambda count: [2.] * count, "peer": lambda count: [3.] * count}, 4)
    expect([len(rounds) for rounds in samples.values()] == [4, 4], "four rounds each")
    found = paired.compare([[1., 2., 9.], [4.]], [[3.], [4.]])
    expect(found["ratio"] == 1.25 and found["ours_min_ms"] == 1. and found["ours_ms"] == 3., f"medians, found {found}")


def test_table(folder):
    line = {"case": "gemm", "rows": 4, "inner": 8, "cols": 16, "rounds": [[1.], [1.]]}
    levels = [{"bytes": 256, "gbytes_per_second": 100.}, {"bytes": 0, "gbytes_per_second": 10.}]
    rows = gemm_rows.rows_of({"ours": line, "peak": line, "Eigen": line | {"rounds": [[2.], [2.]]}}, levels)
    expect(len(rows) == 1 and rows[0]["ratio"] == 2. and rows[0]["limit_ms"] > 0, f"one row, found {rows}")
    with contextlib.redirect_stdout(io.StringIO()) as text:
        table.print_table(rows)
    expect("2.00 / 2.00" in text.getvalue(), "the ratio is in the table")
    training = rows[0] | {"ours_images_per_second": 640., "peer_images_per_second": 320.}
    with contextlib.redirect_stdout(io.StringIO()) as text:
        table.print_table([training])
    expect("640" in text.getvalue() and "320/s 2.00 / 2.00" in text.getvalue(), "images per second are in the table")
    plot = Plot(50, 50, 200, 100, padded([1, 10]), padded([2, 3]))
    plot.axes("a < b", "x", "y")
    plot.line([(1, 2), (10, 3)], "#000000")
    path = os.path.join(folder, "plot.svg")
    write_svg(path, 300, 200, [plot])
    xml.dom.minidom.parse(path)


if __name__ == "__main__":
    test_rounds()
    with tempfile.TemporaryDirectory() as scratch:
        test_table(scratch)
    test_server(sys.argv[1])
    test_training(sys.argv[1])
