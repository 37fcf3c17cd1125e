"""Draws what moevit_curves wrote: small plots of measured time, and dashed what the machine's limits let expect."""
import argparse
import json

from svg_plot import COLOURS, Plot, padded, write_svg

# curve -> title, label of x
TITLES = {
    "experts": ("Number of experts", "experts"),
    "tokens": ("Tokens", "tokens"),
    "batch": ("Batch", "images"),
    "capacity": ("Capacity", "capacity ratio"),
    "image size": ("Image size", "pixels per side"),
    "expert rows": ("Rows of one expert, D=384, H=1536", "rows"),
}
COLUMNS, WIDTH, HEIGHT = 3, 300, 220
CELL_WIDTH, CELL_HEIGHT = WIDTH + 90, HEIGHT + 130


def read_curves(path):
    """curve -> series -> points in the order of measurement."""
    curves = {}
    with open(path) as file:
        for point in map(json.loads, file):
            curves.setdefault(point["curve"], {}).setdefault(point["series"], []).append(point)
    return curves


def draw_curve(curve, series, left, top):
    points = [point for list_of_points in series.values() for point in list_of_points]
    times = [point[key] for point in points for key in ("ms", "expected_ms")]
    xs = sorted({point["x"] for point in points})
    plot = Plot(left, top, WIDTH, HEIGHT, padded(xs, 1.1), padded(times))
    title, x_label = TITLES[curve]
    plot.axes(title, x_label, "milliseconds", x_ticks=xs)
    entries = []
    for (name, list_of_points), colour in zip(series.items(), COLOURS):
        plot.line([(point["x"], point["expected_ms"]) for point in list_of_points], colour, dashed=True)
        plot.line([(point["x"], point["ms"]) for point in list_of_points], colour)
        for point in list_of_points:
            share = 100 * point["expected_ms"] / point["ms"]
            plot.dot(point["x"], point["ms"], colour, f'{point["ms"]:.4g} ms, limit is {share:.0f} % of it')
        entries.append((name, colour, False))
    plot.legend(entries + [("limit of the machine", "#57606a", True)], left, top + HEIGHT + 52)
    return plot


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("points", help="output of moevit_curves")
    parser.add_argument("picture", help="the SVG file to write")
    options = parser.parse_args()
    curves = read_curves(options.points)
    plots = [draw_curve(curve, series, 70 + CELL_WIDTH * (place % COLUMNS), 70 + CELL_HEIGHT * (place // COLUMNS))
             for place, (curve, series) in enumerate(curves.items())]
    rows = -(-len(plots) // COLUMNS)
    write_svg(options.picture, 20 + CELL_WIDTH * COLUMNS, 60 + CELL_HEIGHT * rows, plots,
              "How cost grows (fp32, one thread). Dashed: FMA peak and memory bandwidth of the same run")


if __name__ == "__main__":
    main()
