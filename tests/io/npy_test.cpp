/// npy and npz: headers as data, orders of axes and bytes, damaged archives.
#include "catch.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/io/npy.hpp>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#if __has_include(<zip.h>)
#include <moevit/io/npz.hpp>
#endif

using namespace moevit;
using moevit::test::TemporaryFolder;

namespace {

/// A version 1 array from a header text and data.
std::string npy_of(const std::string& header, const std::string& data = "") {
  std::string bytes = "\x93NUMPY";
  bytes += std::string("\1\0", 2);
  bytes += static_cast<char>(header.size() % 256);
  bytes += static_cast<char>(header.size() / 256);
  return bytes + header + data;
}

std::string header_of(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }   \n";
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

TensorFile read(const std::string& bytes, const NpyOptions& options = {}) {
  const TemporaryFolder folder;
  std::ofstream(folder / "array.npy", std::ios::binary) << bytes;
  return read_npy(folder / "array.npy", options);
}

const std::vector<float> six = {1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("npy: types, scalars, byte order and axis order") {
  CHECK(read(npy_of(header_of("<f4", "False", "(2, 3)"), bytes_of(six))).floats("") == six);
  CHECK(read(npy_of(header_of("<f4", "False", "(6,)"), bytes_of(six))).at("").shape == Shape{6});
  CHECK(read(npy_of(header_of("<f4", "False", "()"), bytes_of<float>({2.5f}))).floats("") == std::vector<float>{2.5f});
  CHECK(read(npy_of(header_of("<f8", "False", "(1,)"), bytes_of<double>({0.1}))).floats("") ==
        std::vector<float>{0.1f});
  CHECK(read(npy_of(header_of("|u1", "False", "(2,)"), "ab")).integers("") == std::vector<std::int32_t>{'a', 'b'});
  CHECK(read(npy_of(header_of(">i2", "False", "(2,)"), std::string("\0\1\1\0", 4))).integers("") ==
        std::vector<std::int32_t>{1, 256});
  // Columns first: element (row, column) of a 2 x 3 array lies at row + 2 column.
  CHECK(read(npy_of(header_of("<f4", "True", "(2, 3)"), bytes_of<float>({1, 4, 2, 5, 3, 6}))).floats("") == six);
  // Index (i, j, k) of 2 x 1 x 3 at i + 2 k.
  CHECK(read(npy_of(header_of("<f4", "True", "(2, 1, 3)"), bytes_of<float>({1, 4, 2, 5, 3, 6}))).floats("") == six);
  CHECK(read(npy_of(header_of("<f4", "True", "(0, 3)"))).floats("").empty());
  CHECK_THROWS_AS(read(npy_of(header_of("|V2", "False", "(1,)"), "ab")), Error);
  CHECK(read(npy_of(header_of("|V2", "False", "(1,)"), "\x80\x3f"), {.opaque_as_bfloat16 = true}).floats("") ==
        std::vector<float>{1.0f});
}

TEST_CASE("npy: what is not plainly an array of numbers is refused") {
  const std::string good = "'descr': '<f4', 'fortran_order': False, 'shape': (0,)";
  const auto [bytes, reason] = GENERATE_COPY(table<std::string, std::string>({
      {npy_of(header_of("|O", "False", "(1,)"), "12345678"), "not accepted"},
      {npy_of(header_of("<c8", "False", "(1,)"), "12345678"), "not accepted"},
      {npy_of(header_of("|f4", "False", "(1,)"), "1234"), "not accepted"},
      {npy_of(header_of("=f4", "False", "(1,)"), "1234"), "not accepted"},
      {npy_of(header_of("", "False", "(1,)"), "1234"), "not accepted"},
      {npy_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,)}"), "expected a string"},
      {npy_of("{'descr': __import__('os'), 'fortran_order': False, 'shape': (0,)}"), "expected a string"},
      {npy_of("{" + good + ", 'more': 1}"), "unknown key"},
      {npy_of("{" + good + ", 'shape': (0,)}"), "occurs twice"},
      {npy_of("{'descr': '<f4', 'shape': (0,)}"), "missing"},
      {npy_of("{" + good), "expected '}'"},
      {npy_of("{" + good + "} + {}"), "text after"},
      {npy_of("[]"), "expected '{'"},
      {npy_of("{'descr': '<f4"), "without an end"},
      {npy_of("{'descr': '<\\x664'}"), "escapes"},
      {npy_of(header_of("<f4", "0", "(0,)")), "True or False"},
      {npy_of(header_of("<f4", "False", "(-1,)")), "unsigned integer"},
      {npy_of(header_of("<f4", "False", "(1.0,)")), "expected"},
      {npy_of(header_of("<f4", "False", "(0)")), "not a tuple"},
      {npy_of(header_of("<f4", "False", "(0 0)")), "expected ','"},
      {npy_of(header_of("<f4", "False", "(0,,0)")), "unsigned integer"},
      {npy_of(header_of("<f4", "False", "(1,1,1,1,1,1,1,1,1)"), "1234"), "8 axes"},
      {npy_of(header_of("<f4", "False", "(99999999999999999999,)")), "too large"},
      {npy_of(header_of("<f4", "False", "(4294967296, 4294967296)")), "too many elements"},
      {npy_of(header_of("<f4", "False", "(2,)"), "1234567"), "expected"},
      {npy_of(header_of("<f4", "False", "(2,)"), "123456789"), "expected"},
      {std::string("\x93NUMPY\4\0\0\0", 10), "version"},
      {std::string("\x93NUMPY\1\0\7\0{}", 12), "is cut"},
      {std::string("\x93NUMPY\2\0\7\0", 10), "is cut"},
      {std::string("\x93NUMPY\2\0\0\0\2\0", 12), "limit"},
      {"\x93NUMPX", "not a npy array"},
      {"", "not a npy array"},
  }));
  INFO(bytes);
  CHECK_THROWS_WITH(read(bytes), Catch::Contains(reason));
}

#if __has_include(<zip.h>)

namespace {

/// Writes an archive of the members with libzip.
void write_zip(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::string>>& members,
               zip_int32_t method) {
  zip_t* archive = zip_open(path.string().c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  REQUIRE(archive != nullptr);
  for (const auto& [name, data] : members) {
    const zip_int64_t member =
        zip_file_add(archive, name.c_str(), zip_source_buffer(archive, data.data(), data.size(), 0), 0);
    REQUIRE(member >= 0);
    REQUIRE(zip_set_file_compression(archive, static_cast<zip_uint64_t>(member), method, 9) == 0);
  }
  REQUIRE(zip_close(archive) == 0);
}

std::string read_all(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("npz: stored and deflated members") {
  const TemporaryFolder folder;
  const std::string c_order = npy_of(header_of("<f4", "False", "(2, 3)"), bytes_of(six));
  const std::string fortran = npy_of(header_of("<f4", "True", "(2, 3)"), bytes_of<float>({1, 4, 2, 5, 3, 6}));
  for (const zip_int32_t method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    write_zip(folder / "file.npz", {{"block/kernel.npy", c_order}, {"other.npy", fortran}}, method);
    const TensorFile file = read_npz(folder / "file.npz");
    REQUIRE(file.tensors().size() == 2);
    CHECK(file.floats("block/kernel") == six);
    CHECK(file.floats("other") == six);
  }
}

TEST_CASE("npz: members that are no arrays, lie about their size or are too many") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "file.npz";
  const std::string array = npy_of(header_of("<f4", "False", "(2, 3)"), bytes_of(six));
  write_zip(path, {{"readme.txt", "text"}}, ZIP_CM_STORE);
  CHECK_THROWS_WITH(read_npz(path), Catch::Contains("not a .npy array"));
  write_zip(path, {{"../up.npy", array}}, ZIP_CM_STORE);
  CHECK_THROWS_WITH(read_npz(path), Catch::Contains("unacceptable name"));
  write_zip(path, {{"a.npy", array + std::string(1 << 20, '\0')}}, ZIP_CM_DEFLATE);
  CHECK_THROWS_WITH(read_npz(path), Catch::Contains("expected"));
  write_zip(path, {{"a.npy", array}, {"b.npy", array}}, ZIP_CM_STORE);
  CHECK_THROWS_WITH(read_npz(path, {.npy = {}, .members = 1}), Catch::Contains("limit"));
  CHECK_THROWS_WITH(read_npz(path, {.npy = {}, .total_bytes = 150}), Catch::Contains("unpacks to more than"));
  std::ofstream(folder / "empty.npz", std::ios::binary).close();
  CHECK_THROWS_WITH(read_npz(folder / "empty.npz"), Catch::Contains("too short"));
  CHECK_THROWS_AS(read_npz(folder / "absent.npz"), Error);
}

TEST_CASE("npz: a size that the directory understates is noticed") {
  const TemporaryFolder folder;
  const std::string array = npy_of(header_of("<f4", "False", "(2, 3)"), bytes_of(six));
  write_zip(folder / "file.npz", {{"a.npy", array + std::string(5000, 'x')}}, ZIP_CM_DEFLATE);
  std::string bytes = read_all(folder / "file.npz");
  const auto truth = static_cast<std::uint32_t>(array.size() + 5000), lie = static_cast<std::uint32_t>(array.size());
  const std::string from(reinterpret_cast<const char*>(&truth), 4), to(reinterpret_cast<const char*>(&lie), 4);
  std::size_t places = 0;
  for (std::size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at))
    bytes.replace(at, 4, to), ++places;
  REQUIRE(places == 2);  // local header and directory
  std::ofstream(folder / "lie.npz", std::ios::binary) << bytes;
  CHECK_THROWS_WITH(read_npz(folder / "lie.npz"), Catch::Contains("a.npy"));
}

TEST_CASE("npz: an archive cut at any byte or changed in any byte is refused or gives the same tensors") {
  const TemporaryFolder folder;
  write_zip(folder / "whole.npz", {{"a.npy", npy_of(header_of("<f4", "False", "(2, 3)"), bytes_of(six))}},
            ZIP_CM_DEFLATE);
  const std::string whole = read_all(folder / "whole.npz");
  const auto try_read = [&](const std::string& bytes) {
    std::ofstream(folder / "changed.npz", std::ios::binary) << bytes;
    try {
      const TensorFile file = read_npz(folder / "changed.npz");
      REQUIRE(file.tensors().size() == 1);  // a changed name is still one array
      CHECK(file.floats(file.tensors().front().name) == six);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  REQUIRE(try_read(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(!try_read(whole.substr(0, size)));
  for (std::size_t place = 0; place < whole.size(); ++place)
    for (const unsigned change : {0x01u, 0x10u, 0x80u, 0xffu}) {
      std::string changed = whole;
      changed[place] = static_cast<char>(static_cast<unsigned char>(changed[place]) ^ change);
      INFO("byte " << place << " xor " << change);
      try_read(changed);
    }
}

#endif
