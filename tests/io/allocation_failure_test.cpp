/// Memory that runs out at any moment, and memory that hostile headers ask for.
#include "catch.hpp"
#include "io/allocation_control.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <vector>

using namespace moevit;
using moevit::test::TemporaryFolder;

TEST_CASE("allocation: loading that runs out of memory at any moment leaves the model as it was") {
  using Model = VMoe<VitConfig{.image = 8, .patch = 4, .dim = 8, .depth = 2, .heads = 2, .hidden = 12, .classes = 3},
                     MoeConfig{.experts = 2, .placement = last_odd(1)}>;
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "weights";
  Model source, model;
  for (const Parameter& parameter : source.parameters())
    parameter.assign(std::vector<float>(static_cast<std::size_t>(parameter.size()), 2.0f));
  source.set_class_names({"a name that needs memory of its own", "b", "c"});
  save(source, path);

  const std::vector<Parameter> parameters = model.parameters();
  std::vector<std::vector<float>> before;
  for (const Parameter& parameter : parameters) before.push_back(parameter.values());
  long failures = 0;
  for (bool loaded = false; !loaded;) {
    allocation_control::fail_after(failures);
    try {
      load(model, path);
      loaded = true;
    } catch (const std::bad_alloc&) {
    }
    allocation_control::never_fail();
    if (loaded) break;
    ++failures;
    for (std::size_t i = 0; i < parameters.size(); ++i) REQUIRE(parameters[i].values() == before[i]);
    REQUIRE(model.class_names().empty());
  }
  CHECK(failures > 100);
  CHECK(model.class_names() == source.class_names());
  for (const Parameter& parameter : parameters)
    CHECK(parameter.values() == std::vector<float>(static_cast<std::size_t>(parameter.size()), 2.0f));
}

TEST_CASE("allocation: what a safetensors header claims is not what is taken") {
  const auto [header, reason] = GENERATE(table<std::string, std::string>({
      {R"({"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}})", "ends at byte"},
      {R"({"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}})", "expected 4000000000000 bytes"},
      {"{\"a\":" + std::string(200'000, '['), "unexpected an array"},
      {"{\"a\":" + std::string(200'000, '{'), "not valid JSON"},
      {"{\"a\":{\"shape\":[" + std::string(200'000, '0'), "not valid JSON"},
      {"{\"a\":{\"shape\":[0" +
           [] {
             std::string numbers;
             for (int i = 0; i < 100'000; ++i) numbers += ",0";
             return numbers;
           }(),
       "rank"},
  }));
  const TemporaryFolder folder;
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += header;
  std::ofstream(folder / "file", std::ios::binary) << bytes;
  allocation_control::reset_requested();
  CHECK_THROWS_WITH(read_safetensors(folder / "file"), Catch::Contains(reason));
  CHECK(allocation_control::requested() < 8 * bytes.size() + 64 * 1024);
}

TEST_CASE("allocation: many tensors cost a bounded index") {
  std::string header = "{";
  constexpr std::size_t tensors = 50'000;
  for (std::size_t i = 0; i < tensors; ++i)
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  header += "}";
  const TemporaryFolder folder;
  const std::uint64_t length = header.size();
  std::ofstream file(folder / "file", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << header;
  file.close();
  allocation_control::reset_requested();
  CHECK(read_safetensors(folder / "file").tensors().size() == tensors);
  CHECK(allocation_control::requested() < 1000 * tensors);  // grown by doubling and moved twice
}
