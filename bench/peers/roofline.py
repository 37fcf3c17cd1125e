"""Draws our kernels, layers and models under the roofs of this machine, all measured in the same run."""
import argparse
import os
import random
import tempfile
from array import array
from statistics import median

from our_server import Ours
from svg_plot import COLOURS, Plot, write_svg

TOKENS, IMAGE = 197, 224 * 224 * 3
PRODUCTS = [(1, 192, 768), (4, 192, 768), (8, 192, 768), (197, 192, 768), (1, 384, 1536), (4, 384, 1536),
            (16, 384, 1536), (197, 384, 1536), (1, 768, 3072), (8, 768, 3072), (197, 768, 3072)]
# label, case, batch, floats of one input
CASES = [(f"product {m}x{k}x{n}", f"gemm_{m}x{k}x{n}", 1, m * k) for m, k, n in PRODUCTS] + [
    ("attention core, 3 heads", "attention_core", 1, TOKENS * 3 * 192),
    ("V-MoE layer, 8 images", "vmoe_layer", 8, 8 * TOKENS * 384),
    ("Mobile layer, 1 image", "mobile_layer", 1, TOKENS * 192),
    ("Mobile layer, 16 images", "mobile_layer", 16, 16 * TOKENS * 192),
    ("ViT-Tiny/16, 1 image", "vit_tiny_16", 1, IMAGE),
    ("ViT-Tiny/16, 8 images", "vit_tiny_16", 8, 8 * IMAGE),
    ("Mobile V-MoE 12x192, 1 image", "mobile_vmoe_12x192", 1, IMAGE),
    ("Mobile V-MoE 12x192, 8 images", "mobile_vmoe_12x192", 8, 8 * IMAGE),
]
INPUTS = 3
LEFT, TOP, WIDTH, HEIGHT = 80, 60, 640, 420


def measure(ours, case, batch, floats):
    """-> (floating-point operations per byte, GFLOP/s)."""
    generator = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        inputs = os.path.join(folder, "inputs.f32")
        with open(inputs, "wb") as file:
            array("f", [generator.gauss(0., 1.) for _ in range(INPUTS * floats)]).tofile(file)
        cost = ours.ask(do="open", case=case, precision="fp32", threads=1, batch=batch, inputs=inputs, folder=folder)
        trial = min(ours.run(3))
        milliseconds = median(ours.run(max(5, min(1000, round(300 / trial)))))
    operations = 2. * cost["multiply_adds"]
    return operations / cost["bytes"], 1e-6 * operations / milliseconds


def draw_roofs(plot, peak, levels):
    low, high = plot.x_range
    for level, colour in zip(levels, COLOURS[2:]):
        bandwidth = level["gbytes_per_second"]
        ridge = min(max(peak / bandwidth, low), high)
        plot.line([(max(low, plot.y_range[0] / bandwidth), max(plot.y_range[0], low * bandwidth)), (ridge, peak)],
                  colour)
        plot.legend([(f'{level["name"]}: {bandwidth:.0f} GB/s', colour, False)], LEFT + WIDTH - 150,
                    TOP + HEIGHT - 80 + 18 * levels.index(level))
    plot.line([(peak / levels[0]["gbytes_per_second"], peak), (high, peak)], "#24292f")
    plot.text(plot.x(high) - 8, plot.y(peak) - 6, f"FMA peak {peak:.0f} GFLOP/s", "end")


def draw_points(plot, measured, peak):
    """Points carry numbers; a list beside the plot says what they are."""
    plot.text(LEFT + WIDTH + 24, TOP + 4, "GFLOP/s (share of the peak), operations per byte", kind="small")
    taken = []
    for index, (label, intensity, rate) in enumerate(measured, 1):
        colour = COLOURS[1] if label.startswith("product") else COLOURS[0]
        plot.dot(intensity, rate, colour, f"{label}: {rate:.1f} GFLOP/s")
        x, y = plot.x(intensity) + 6, plot.y(rate) + 14
        while any(abs(x - other_x) < 14 and abs(y - other_y) < 11 for other_x, other_y in taken):
            y += 11  # below a number that stands there already
        taken.append((x, y))
        plot.text(x, y, str(index), kind="small")
        plot.text(LEFT + WIDTH + 24, TOP + 6 + 20 * index,
                  f"{index}  {label}: {rate:.0f} ({100 * rate / peak:.0f} %), {intensity:.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="the program moevit_peers_ours")
    parser.add_argument("picture", help="the SVG file to write")
    options = parser.parse_args()
    ours = Ours(options.ours)
    levels = ours.ask(do="memory")["levels"]
    peaks, measured = [], []
    for label, case, batch, floats in CASES:
        peaks.append(ours.ask(do="peak", threads=1)["gflops"])
        measured.append((label, *measure(ours, case, batch, floats)))
        print(f"   {label}: {measured[-1][2]:.1f} GFLOP/s at {measured[-1][1]:.2f} operations per byte")
    ours.close()
    peak = median(peaks)
    plot = Plot(LEFT, TOP, WIDTH, HEIGHT, (0.1, 1.4 * max(point[1] for point in measured)), (1., 2. * peak))
    plot.axes("Roofline, fp32, one thread", "operations per byte that must be read or written", "GFLOP/s")
    draw_roofs(plot, peak, levels)
    draw_points(plot, measured, peak)
    write_svg(options.picture, LEFT + WIDTH + 380, TOP + HEIGHT + 60, [plot])


if __name__ == "__main__":
    main()
