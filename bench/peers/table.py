"""Prints one table of what was measured, and writes it as JSON.

A cell of a peer is how many times as long as ours it took: the median of the ratios of paired rounds, and behind the
slash the ratio of minima. Above 1, ours is faster.
"""
import argparse
import json
import os
import sys

FIELDS = ("case", "precision", "threads", "batch", "ours_ms", "peer", "peer_ms", "ratio", "limit_ms")
RATES = ("ours_images_per_second", "peer_images_per_second")  # only rows of training steps have them


def read_rows(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def grouped(rows):
    """(case, precision, threads, batch) -> rows, in the order of measurement."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[field] for field in FIELDS[:4]), []).append(row)
    return groups


def cell(row):
    error = row.get("error", 0.)
    note = f" e{error:.0e}" if error > 1e-3 else ""
    rate = f"{row[RATES[1]]:.0f}/s " if RATES[1] in row else ""
    return f"{rate}{row['ratio']:.2f} / {row['peer_min_ms'] / row['ours_min_ms']:.2f}{note}"


def line(cells):
    return "  ".join(f"{text:<24}" if i == 0 else f"{text:>{width}}"
                     for i, (text, width) in enumerate(zip(cells, [24, 4, 3, 9, 9, 8, 8, 9] + [18] * 8)))


def print_table(rows):
    shown = None
    for (case, precision, threads, batch), group in grouped(rows).items():
        peers = [row["peer"] for row in group]
        if peers != shown:
            print("\n" + line([f"case, ours {precision}", "B", "thr", "ours ms", "minimum", "limit", "of limit", "images/s"] + peers))
            shown = peers
        first = group[0]
        limit = first["limit_ms"]
        of_limit = f"{100 * limit / first['ours_ms']:.0f} %" if limit else "-"
        print(line([case, str(batch), str(threads), f"{first['ours_ms']:.4g}", f"{first['ours_min_ms']:.4g}",
                    f"{limit:.4g}" if limit else "-", of_limit,
                    f"{first[RATES[0]]:.0f}" if RATES[0] in first else "-"] + [cell(row) for row in group]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    rows = read_rows(options.rows)
    if not rows:
        sys.exit("error: no peer could be compared")
    print_table(rows)
    print("\nPeer columns: their time / ours, median of paired rounds / of minima; e: relative difference of outputs where"
          "\nit is above 1e-3; N/s: images per second of theirs. limit: multiply-adds at the FMA peak of the same rounds (median).")
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{field: row[field] for field in FIELDS + RATES if field in row} for row in rows], file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
