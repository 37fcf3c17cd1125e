"""Plots with logarithmic axes as SVG text."""
import math
from html import escape

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
STYLE = ("text{font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#24292f}"
         ".small{font-size:11px;fill:#57606a}.title{font-size:14px;font-weight:bold}"
         ".grid{stroke:#d8dee4;stroke-width:1}.frame{fill:none;stroke:#57606a;stroke-width:1}")


def number(value):
    """Short text of a tick: whole numbers from 100 on, else three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def log_ticks(low, high):
    """1, 2 and 5 times powers of ten; only the powers where those are many."""
    factors = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [factor * 10. ** power for power in powers for factor in factors
            if low * 0.999 <= factor * 10. ** power <= high * 1.001]


class Plot:
    """One set of axes whose frame begins at (left, top)."""

    def __init__(self, left, top, width, height, x_range, y_range):
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x_range, self.y_range = x_range, y_range
        self.parts = []

    def x(self, value):
        return self.left + self.width * math.log(value / self.x_range[0]) / math.log(self.x_range[1] / self.x_range[0])

    def y(self, value):
        low, high = self.y_range
        return self.top + self.height * (1 - math.log(value / low) / math.log(high / low))

    def text(self, x, y, words, anchor="start", kind="", turn=0):
        rotate = f' transform="rotate({turn:.1f} {x:.1f} {y:.1f})"' if turn else ""
        style = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}{rotate}>{escape(words)}</text>')

    def axes(self, title, x_label, y_label, x_ticks=None):
        right, bottom = self.left + self.width, self.top + self.height
        free = self.left - 20  # where the next label may begin
        for tick in x_ticks or log_ticks(*self.x_range):
            x, half = self.x(tick), 3.5 * len(number(tick))
            self.parts.append(f'<line class="grid" x1="{x:.1f}" y1="{self.top}" x2="{x:.1f}" y2="{bottom}"/>')
            if x - half >= free:
                self.text(x, bottom + 16, number(tick), "middle", "small")
                free = x + half + 2
        for tick in log_ticks(*self.y_range):
            y = self.y(tick)
            self.parts.append(f'<line class="grid" x1="{self.left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            self.text(self.left - 6, y + 4, number(tick), "end", "small")
        self.parts.append(f'<rect class="frame" x="{self.left}" y="{self.top}" width="{self.width}" '
                          f'height="{self.height}"/>')
        self.text(self.left, self.top - 10, title, kind="title")
        self.text(self.left + self.width / 2, bottom + 34, x_label, "middle")
        self.text(self.left - 44, self.top + self.height / 2, y_label, "middle", turn=-90)

    def line(self, points, colour, dashed=False):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')

    def dot(self, x, y, colour, hint=""):
        self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3.5" fill="{colour}">'
                          f"<title>{escape(hint)}</title></circle>")

    def legend(self, entries, x, y):
        """entries: (words, colour, dashed) below each other."""
        for row, (words, colour, dashed) in enumerate(entries):
            dash = ' stroke-dasharray="5 4"' if dashed else ""
            line_y = y + 16 * row
            self.parts.append(f'<line x1="{x:.1f}" y1="{line_y:.1f}" x2="{x + 22:.1f}" y2="{line_y:.1f}" '
                              f'stroke="{colour}" stroke-width="1.8"{dash}/>')
            self.text(x + 28, line_y + 4, words, kind="small")


def write_svg(path, width, height, plots, heading=""):
    body = [f'<text class="title" x="16" y="24">{escape(heading)}</text>'] if heading else []
    for plot in plots:
        body += plot.parts
    text = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'\n<style>{STYLE}</style>\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n')
    with open(path, "w") as file:
        file.write(text + "\n".join(body) + "\n</svg>\n")


def padded(values, factor=1.25):
    """A range around positive values."""
    return min(values) / factor, max(values) * factor
