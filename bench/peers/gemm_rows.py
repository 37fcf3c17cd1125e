"""Turns what moevit_peers_gemm wrote into rows like those of measure.py.

The limit of a product: its multiply-adds at the FMA peak of the same rounds, or reading its weights once from the
level of memory that holds them, whichever takes longer.
"""
import argparse
import json
from statistics import median

import paired


def read_milliseconds(bytes_read, levels):
    for level in levels:  # from the smallest; the last one holds everything
        if level["bytes"] == 0 or bytes_read < level["bytes"]:
            return 1e-6 * bytes_read / level["gbytes_per_second"]
    raise ValueError("no level of memory holds everything")


def rows_of(samples, levels):
    """samples: engine -> line of one shape."""
    ours = samples["ours"]
    operations = 2e-6 * ours["rows"] * ours["inner"] * ours["cols"]
    limit = max(operations / median(part[0] for part in samples["peak"]["rounds"]),
                read_milliseconds(4 * ours["inner"] * ours["cols"], levels))
    common = {"case": ours["case"], "precision": "fp32", "threads": 1, "batch": ours["rows"], "limit_ms": limit}
    return [common | {"peer": name} | paired.compare(ours["rounds"], line["rounds"])
            for name, line in samples.items() if name not in ("ours", "peak")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", help="output of moevit_peers_gemm")
    parser.add_argument("--out", required=True, help="JSON lines are added to this file")
    options = parser.parse_args()
    levels, cases = [], {}
    with open(options.samples) as file:
        for line in map(json.loads, file):
            if "memory" in line:
                levels = line["memory"]
            else:
                cases.setdefault(line["case"], {})[line["engine"]] = line
    with open(options.out, "a") as file:
        for samples in cases.values():
            file.writelines(json.dumps(row) + "\n" for row in rows_of(samples, levels))


if __name__ == "__main__":
    main()
