#!/usr/bin/env python3
"""Converts a sharded checkpoint of google-research/vmoe into one safetensors file.

A checkpoint PREFIX is the file PREFIX.index and the shards PREFIX.data-00000-of-0000N ..., all MessagePack. Names are the
paths in the parameter tree joined by '/'. Only numpy and msgpack are needed (Debian: python3-numpy python3-msgpack); one
shard at a time is held in memory, so a model of any size converts on a small machine.

  vmoe_checkpoint.py vmoe_s32_ilsvrc2012/ckpt_7 vmoe_s32.safetensors
  vmoe_checkpoint.py run/ckpt_90 weights.safetensors --only params/ --strip params/
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import struct
import sys
import tempfile
from typing import NamedTuple

import msgpack
import numpy as np

# MessagePack extension types of the reference.
NDARRAY, SCALAR, SHAPED_ARRAY, SLICE_ND, INDEX_INFO = 1, 3, 4, 6, 8
CHUNKED = "__msgpack_array_chunk_a87ca2__"
INDEX_VERSION = "20220622"

SAFETENSORS_TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}


class CheckpointError(Exception):
    """Something in the checkpoint is not as it must be."""


class Chunk(NamedTuple):
    """A box of a tensor: (start, stop) along every axis, and the shard that holds it."""
    box: tuple
    shard: int


class Leaf(NamedTuple):
    """One tensor of the tree, as the index describes it."""
    name: str
    shape: tuple
    dtype: str
    chunks: list


def numpy_type(dtype, where):
    """The little-endian numpy type that holds the bits of a dtype."""
    if dtype not in SAFETENSORS_TYPES:
        raise CheckpointError(f"{where}: unknown element type {dtype!r}")
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


def unpack(data, where, **options):
    try:
        return msgpack.unpackb(data, strict_map_key=False, **options)
    except Exception as error:  # msgpack raises many kinds, ValueError among them
        raise CheckpointError(f"{where}: not valid MessagePack: {error}") from error


def read_box(payload, shape, where):
    """A slice-nd payload as ((start, stop), ...), checked against the shape."""
    slices = [unpack(item, where) for item in unpack(payload, where)]
    if len(slices) != len(shape):
        raise CheckpointError(f"{where}: expected a slice of {len(shape)} axes, found {len(slices)}")
    for (start, stop, step), size in zip(slices, shape):
        if step not in (None, 1) or not 0 <= start <= stop <= size:
            raise CheckpointError(f"{where}: slice {start}:{stop}:{step} does not fit an axis of {size}")
    return tuple((start, stop) for start, stop, _ in slices)


def volume(box):
    return math.prod(stop - start for start, stop in box)


def check_coverage(leaf):
    """Every element must be in exactly one chunk."""
    boxes = [chunk.box for chunk in leaf.chunks]
    if len(set(boxes)) != len(boxes):
        raise CheckpointError(f"{leaf.name}: the same slice is listed twice")
    covered, total = sum(map(volume, boxes)), math.prod(leaf.shape)
    if covered < total:
        raise CheckpointError(f"{leaf.name}: slices are missing: {covered} of {total} elements are there")
    if covered > total:
        raise CheckpointError(f"{leaf.name}: slices overlap: {covered} elements for a tensor of {total}")
    # Equal volumes leave one way to be wrong: as much overlap as gap. Sorted by start, only near boxes can overlap.
    boxes.sort()
    for i, box in enumerate(boxes):
        for other in boxes[i + 1:]:
            if box and other[0][0] >= box[0][1]:
                break
            if all(a[0] < b[1] and b[0] < a[1] for a, b in zip(box, other)):
                raise CheckpointError(f"{leaf.name}: slices {box} and {other} overlap")


def read_leaves(tree, path, shard_count):
    """The tensors of the index in the order of the reference: depth first, keys sorted as text."""
    leaves = []

    def visit(node, name):
        if isinstance(node, dict):
            for key in sorted(node):
                visit(node[key], f"{name}/{key}" if name else str(key))
            return
        if not isinstance(node, msgpack.ExtType) or node.code != INDEX_INFO:
            raise CheckpointError(f"{path}: {name}: expected index information, found {type(node).__name__}")
        array, boxes, shards = unpack(node.data, f"{path}: {name}")
        shape, dtype = unpack(array, f"{path}: {name}")[:2]
        if len(boxes) != len(shards) or any(not 0 <= shard < shard_count for shard in shards):
            raise CheckpointError(f"{path}: {name}: {len(boxes)} slices in shards {shards} of {shard_count}")
        numpy_type(dtype, f"{path}: {name}")
        chunks = [Chunk(read_box(box, shape, f"{path}: {name}"), shard) for box, shard in zip(boxes, shards)]
        leaves.append(Leaf(name, tuple(shape), dtype, chunks))
        check_coverage(leaves[-1])

    visit(tree, "")
    return leaves


def read_index(prefix):
    """The leaves and the paths of the shards, all of which must be there."""
    path = pathlib.Path(f"{prefix}.index")
    unfinished = sorted(path.parent.glob(f".tmp.{pathlib.Path(prefix).name}.*"))
    if unfinished:
        raise CheckpointError(f"the checkpoint is not complete: {unfinished[0]} was never renamed")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file (the argument is the name without .index)")
    index = unpack(path.read_bytes(), path)
    if not isinstance(index, dict) or not {"shard_count", "index"} <= index.keys():
        raise CheckpointError(f"{path}: not the index of a checkpoint")
    if index.get("version") != INDEX_VERSION:
        raise CheckpointError(f"{path}: index version {index.get('version')!r}, expected {INDEX_VERSION!r}"
                              " (older files do not hold the names of the parameters)")
    count = index["shard_count"]
    if not isinstance(count, int) or not 1 <= count <= 99999:
        raise CheckpointError(f"{path}: {count!r} shards")
    shards = [pathlib.Path(f"{prefix}.data-{shard:05}-of-{count:05}") for shard in range(count)]
    for shard in shards:
        if not shard.is_file():
            raise CheckpointError(f"{shard}: shard is missing")
    return read_leaves(index["index"], path, count), shards


def read_pieces(pieces, dtype, box, where):
    """The 1-D pieces of a chunk, joined and in the chunk's shape."""
    arrays = []
    for piece in pieces:
        if not isinstance(piece, msgpack.ExtType) or piece.code not in (NDARRAY, SCALAR):
            raise CheckpointError(f"{where}: expected an array")
        _, found, data = unpack(piece.data, where)
        if found != dtype:
            raise CheckpointError(f"{where}: expected {dtype}, found {found}")
        if len(data) % numpy_type(dtype, where).itemsize:
            raise CheckpointError(f"{where}: {len(data)} bytes are not a whole number of {dtype} elements")
        arrays.append(np.frombuffer(data, numpy_type(dtype, where)))
    values = np.concatenate(arrays) if arrays else np.empty(0, numpy_type(dtype, where))
    if values.size != volume(box):
        raise CheckpointError(f"{where}: expected {volume(box)} elements, found {values.size}")
    return values.reshape([stop - start for start, stop in box])


def read_shard(path, shard, leaves):
    """Yields (leaf number, box, values) for every chunk of a shard, which must be those the index promises."""
    contents = unpack(path.read_bytes(), path)
    if not isinstance(contents, dict) or not contents.pop(CHUNKED, False):
        raise CheckpointError(f"{path}: not the data of a checkpoint")
    promised = {(number, chunk.box) for number, leaf in enumerate(leaves) for chunk in leaf.chunks if chunk.shard == shard}
    for key, chunks in contents.items():
        if not str(key).isdigit() or int(key) >= len(leaves):
            raise CheckpointError(f"{path}: tensor {key!r} is not in the index")
        number, leaf = int(key), leaves[int(key)]
        where = f"{path}: {leaf.name}"
        for pieces, slices in chunks:
            box = read_box(slices.data, leaf.shape, where)
            if (number, box) not in promised:
                raise CheckpointError(f"{where}: slice {box} is here twice or not in the index")
            promised.remove((number, box))
            yield number, box, read_pieces(pieces, leaf.dtype, box, where)
    if promised:
        number, box = min(promised)
        raise CheckpointError(f"{path}: {leaves[number].name}: slice {box} is missing")


class Output(NamedTuple):
    """A tensor of the file that is written."""
    name: str
    type: str
    shape: tuple
    begin: int
    end: int


def plan_output(leaves, only, strip, keep_bfloat16):
    """Outputs by leaf number, each aligned because larger elements come first, and the bytes they take together."""
    chosen = []
    for number, leaf in enumerate(leaves):
        if not leaf.name.startswith(only):
            continue
        dtype = "float32" if leaf.dtype == "bfloat16" and not keep_bfloat16 else leaf.dtype
        name = leaf.name[len(strip):] if leaf.name.startswith(strip) else leaf.name
        chosen.append((-numpy_type(dtype, name).itemsize, name, number, SAFETENSORS_TYPES[dtype]))
    if not chosen:
        raise CheckpointError(f"no tensor has a name that begins with {only!r}")
    outputs, position = {}, 0
    for size, name, number, kind in sorted(chosen):
        end = position - size * math.prod(leaves[number].shape)
        outputs[number] = Output(name, kind, leaves[number].shape, position, end)
        position = end
    if len({output.name for output in outputs.values()}) != len(outputs):
        raise CheckpointError(f"two tensors have the same name without {strip!r}")
    return outputs, position


def header_of(outputs):
    entries = {o.name: {"dtype": o.type, "shape": o.shape, "data_offsets": [o.begin, o.end]} for o in outputs.values()}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def widen_bfloat16(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def write_tensors(path, leaves, shards, outputs, data_bytes):
    """Fills the file at `path` shard by shard."""
    header = header_of(outputs)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    for shard, shard_path in enumerate(shards):
        for number, box, values in read_shard(shard_path, shard, leaves):
            if number not in outputs:
                continue
            output = outputs[number]
            if leaves[number].dtype == "bfloat16" and output.type == "F32":
                values = widen_bfloat16(values)
            if values.size:
                target = np.memmap(path, values.dtype, "r+", len(header) + output.begin, output.shape or (1,))
                target[tuple(slice(*bounds) for bounds in box) or slice(None)] = values
                target.flush()


def convert(prefix, output_path, only="", strip="", keep_bfloat16=False):
    """Converts a checkpoint; returns the outputs. The file appears whole or not at all."""
    leaves, shards = read_index(prefix)
    stored = sum(shard.stat().st_size for shard in shards)
    claimed = sum(math.prod(leaf.shape) * numpy_type(leaf.dtype, leaf.name).itemsize for leaf in leaves)
    if claimed > stored:
        raise CheckpointError(f"the index claims {claimed} bytes of tensors, the shards have {stored}")
    outputs, data_bytes = plan_output(leaves, only, strip, keep_bfloat16)
    output_path = pathlib.Path(output_path)
    handle, temporary = tempfile.mkstemp(prefix=output_path.name + ".tmp-", dir=output_path.parent)
    os.close(handle)
    try:
        write_tensors(temporary, leaves, shards, outputs, data_bytes)
        os.chmod(temporary, 0o666 & ~current_umask())
        os.replace(temporary, output_path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return outputs


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="path of the checkpoint without .index, e.g. folder/ckpt_7")
    parser.add_argument("output", help="safetensors file to write")
    parser.add_argument("--only", default="", metavar="PREFIX", help="convert only tensors whose names begin so")
    parser.add_argument("--strip", default="", metavar="PREFIX", help="take this off the front of names that have it")
    parser.add_argument("--keep-bfloat16", action="store_true", help="do not widen bfloat16 to float32")
    arguments = parser.parse_args()
    try:
        outputs = convert(arguments.checkpoint, arguments.output, arguments.only, arguments.strip, arguments.keep_bfloat16)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        print(f"error: {arguments.checkpoint}: not built as a checkpoint is: {error}", file=sys.stderr)
        return 1
    values = sum(math.prod(output.shape) for output in outputs.values())
    print(f"{arguments.output}: {len(outputs)} tensors, {values} values")
    return 0


if __name__ == "__main__":
    sys.exit(main())
