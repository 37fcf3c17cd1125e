/// safetensors: round trip, hostile headers, files cut or changed at every place.
#include "catch.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/io/safetensors.hpp>
#include <moevit/io/safetensors_writer.hpp>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#if __has_include(<sys/resource.h>)
#include <sys/resource.h>
#endif

using namespace moevit;
using moevit::test::TemporaryFolder;

namespace {

std::span<const std::byte> as_bytes(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

std::string read_all(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_all(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A file from a header text and data.
std::string file_of(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

}  // namespace

TEST_CASE("safetensors: what is written is read again, in the same bytes every time") {
  const TemporaryFolder folder;
  const std::vector<float> matrix = {1.5f, -2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, scalar = {7.0f};
  const std::vector<std::uint16_t> half = {0x3c00, 0xc000, 0x0001};
  const std::vector<StoredTensor> tensors = {
      {"half", "F16", {3}, std::as_bytes(std::span(half))},
      {"b \"quoted\" \u00e9", "F32", {2, 3}, as_bytes(matrix)},
      {"a", "F32", {}, as_bytes(scalar)},
      {"empty", "I64", {4, 0}, {}},
  };
  write_safetensors(folder / "one", tensors, {{"key", "value"}, {"other", "text"}});
  write_safetensors(folder / "two", {tensors[2], tensors[3], tensors[1], tensors[0]},
                    {{"other", "text"}, {"key", "value"}});
  CHECK(read_all(folder / "one") == read_all(folder / "two"));

  const TensorFile file = read_safetensors(folder / "one");
  CHECK(file.tensors().size() == 4);
  CHECK(file.floats("b \"quoted\" \u00e9") == matrix);
  CHECK(file.floats("a") == scalar);
  CHECK(file.floats("half") == std::vector<float>{1.0f, -2.0f, 0x1p-24f});
  CHECK(file.at("empty").shape == Shape{4, 0});
  CHECK(file.metadata() == TensorFile::Metadata{{"key", "value"}, {"other", "text"}});
  CHECK_THROWS_AS(file.floats("empty"), Error);
  CHECK_THROWS_AS(file.integers("a"), Error);
  CHECK_THROWS_WITH(file.at("c"), Catch::Contains("no tensor 'c'"));
}

TEST_CASE("safetensors: hostile headers are refused with the reason") {
  const auto [header, reason] = GENERATE(table<std::string, std::string>({
      {R"([])", "begin with '{'"},
      {R"( {})", "begin with '{'"},
      {R"({)", "not valid JSON"},
      {std::string("{}\0 more", 8), "zero byte"},
      {R"({} {})", "not valid JSON"},
      {R"({"a":1})", "unexpected a number"},
      {R"({"a":null})", "unexpected null"},
      {R"({"a":true})", "unexpected a boolean"},
      {R"({"a":"x"})", "unexpected a string"},
      {R"({"a":[]})", "unexpected an array"},
      {R"({"a":{}})", "is missing"},
      {R"({"a":{"dtype":"F32","shape":[0]}})", "is missing"},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"stride":[1]}})", "unknown field 'stride'"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}})", "occurs twice"},
      {R"({"a":{"dtype":["F32"],"shape":[0],"data_offsets":[0,0]}})", "unexpected an array"},
      {R"({"a":{"dtype":"F32","shape":"0","data_offsets":[0,0]}})", "unexpected a string"},
      {R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,0]}})", "unexpected an object"},
      {R"({"a":{"dtype":"F32","shape":[[0]],"data_offsets":[0,0]}})", "unexpected an array"},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0]}})", "two numbers"},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0,0]}})", "two numbers"},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[-1,0]}})", "negative"},
      {R"({"a":{"dtype":"F32","shape":[0.0],"data_offsets":[0,0]}})", "unsigned integer"},
      {R"({"a":{"dtype":"F32","shape":[0e1],"data_offsets":[0,0]}})", "unsigned integer"},
      {R"({"a":{"dtype":"F32","shape":[00],"data_offsets":[0,0]}})", "not valid JSON"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0]}})", "unsigned integer"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}})", "too large"},
      {R"({"a":{"dtype":"F32","shape":[0,0,0,0,0,0,0,0,0],"data_offsets":[0,0]}})", "rank"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}})", "too many elements"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,0]}})", "too many bytes"},
      {R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,0]}})", "whole number of bytes"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[1,0]}})", "end before they begin"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "gap"},
      {R"({"__metadata__":{"a":1}})", "unexpected a number"},
      {R"({"__metadata__":{"a":{}}})", "unexpected an object"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "occurs twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "occurs twice"},
      {R"({"__metadata__":"x"})", "unexpected a string"},
      {R"({"a\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "zero byte"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
       "two tensors"},
      {"{\"\xff\":{}}", "not valid JSON"},
      {R"({"\ud800":{}})", "not valid JSON"},
      {R"({"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,0]}})", "not valid JSON"},
      {R"({"a":{"dtype":"U8","shape":[0,],"data_offsets":[0,0]}})", "not valid JSON"},
      {"{\"" + std::string(1025, 'n') + "\":{}}", "1024 bytes"},
  }));
  const TemporaryFolder folder;
  write_all(folder / "file", file_of(header));
  INFO(header);
  CHECK_THROWS_WITH(read_safetensors(folder / "file"), Catch::Contains(reason) && Catch::Contains("file"));
}

TEST_CASE("safetensors: an unknown type is an error only for who asks for that tensor") {
  const TemporaryFolder folder;
  write_all(
      folder / "file",
      file_of(
          R"({"a":{"dtype":"Q9","shape":[5],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
          "xyz"));
  const TensorFile file = read_safetensors(folder / "file");
  CHECK(file.integers("b") == std::vector<std::int32_t>{'z'});
  CHECK_THROWS_WITH(file.at("a"), Catch::Contains("unknown element type 'Q9'"));
}

TEST_CASE("safetensors: limits and trailing bytes are options") {
  const TemporaryFolder folder;
  const std::string good = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  write_all(folder / "file", file_of(good, "xx"));
  CHECK_THROWS_WITH(read_safetensors(folder / "file"), Catch::Contains("after the last tensor"));
  CHECK(read_safetensors(folder / "file", {.allow_trailing_bytes = true, .limits = {}}).tensors().size() == 1);
  CHECK_THROWS_WITH(read_safetensors(folder / "file", {.allow_trailing_bytes = true, .limits = {.header_bytes = 10}}),
                    Catch::Contains("limit"));
  CHECK_THROWS_WITH(read_safetensors(folder / "file", {.allow_trailing_bytes = true, .limits = {.tensors = 0}}),
                    Catch::Contains("more tensors"));
  CHECK_THROWS_WITH(read_safetensors(folder / "absent"), Catch::Contains("no such file"));
  CHECK_THROWS_WITH(read_safetensors(folder.path()), Catch::Contains("regular"));
}

TEST_CASE("safetensors: a file cut at any byte is refused, a changed header byte is refused or gives sound tensors") {
  const TemporaryFolder folder;
  const std::vector<float> values = {1.0f, 2.0f, 3.0f};
  write_safetensors(folder / "whole",
                    {{"weight", "F32", {3}, as_bytes(values)}, {"w2", "F32", {1, 2}, as_bytes(values).first(8)}},
                    {{"format", "pt"}});
  const std::string whole = read_all(folder / "whole");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_all(folder / "cut", whole.substr(0, size));
    INFO("cut to " << size);
    CHECK_THROWS_AS(read_safetensors(folder / "cut"), Error);
  }
  const std::size_t header_end = whole.size() - 20;
  std::size_t accepted = 0;
  for (std::size_t place = 0; place < header_end; ++place)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[place] = static_cast<char>(static_cast<unsigned char>(changed[place]) ^ (1u << bit));
      write_all(folder / "changed", changed);
      try {
        const TensorFile file = read_safetensors(folder / "changed");
        std::size_t bytes = 0;
        for (const StoredTensor& tensor : file.tensors()) bytes += tensor.bytes.size();
        CHECK(bytes == 20);  // whatever a name or a type has become, every byte belongs to one tensor
        ++accepted;
      } catch (const Error&) {
      }
    }
  CHECK(accepted < header_end * 8);
}

TEST_CASE("safetensors: a failed write leaves the old file and nothing else") {
  const TemporaryFolder folder;
  const std::vector<float> values(100'000, 1.0f);
  write_safetensors(folder / "file", {{"old", "F32", {1}, as_bytes(values).first(4)}});
  const std::string before = read_all(folder / "file");

  const StoredTensor wrong{"new", "F32", {7}, as_bytes(values)};
  CHECK_THROWS_WITH(write_safetensors(folder / "file", {wrong}), Catch::Contains("expected 28 bytes"));
  const StoredTensor good{"new", "F32", {100'000}, as_bytes(values)};
  CHECK_THROWS_WITH(write_safetensors(folder / "file", {good, good}), Catch::Contains("two tensors"));
  CHECK_THROWS_AS(write_safetensors(folder / "file", {{"\xff", "F32", {0}, {}}}), Error);
  CHECK_THROWS_AS(write_safetensors(folder / "no such folder" / "file", {good}), Error);
#if __has_include(<sys/resource.h>)
  rlimit old_limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  rlimit small = old_limit;
  small.rlim_cur = 4096;  // as a full disk would
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  CHECK_THROWS_WITH(write_safetensors(folder / "file", {good}), Catch::Contains("cannot be written"));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  std::signal(SIGXFSZ, old_handler);
#endif
  CHECK(read_all(folder / "file") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}
