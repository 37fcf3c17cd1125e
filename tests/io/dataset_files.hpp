/// Small data sets written to a folder, for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <zlib.h>

namespace moevit::test {

using Bytes = std::vector<std::uint8_t>;

inline void write_bytes(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  if (!stream) throw std::runtime_error(path.string() + ": cannot be written");
}

inline Bytes gzip(Bytes bytes) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, bytes.size()));
  stream.next_in = bytes.data();
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("gzip");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// An IDX file of unsigned bytes.
inline Bytes idx(const std::vector<std::uint32_t>& shape, const Bytes& values) {
  Bytes bytes{0, 0, 8, static_cast<std::uint8_t>(shape.size())};
  for (std::uint32_t extent : shape) {
    for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(extent >> shift));
  }
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

/// One record of CIFAR: the labels, then three planes, each of one value.
inline Bytes cifar_record(const Bytes& labels, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Bytes record = labels;
  for (std::uint8_t value : {red, green, blue}) record.insert(record.end(), 1024, value);
  return record;
}

/// A PGM image of one pixel.
inline Bytes pixel_pgm(std::uint8_t value) { return {'P', '5', ' ', '1', ' ', '1', ' ', '2', '5', '5', '\n', value}; }

}  // namespace moevit::test
