/// The Python converter for sharded checkpoints (examples/convert/vmoe_checkpoint.py), run as a program.
#include "golden/manifest.hpp"
#include "io/temporary_folder.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace moevit;
using namespace moevit::test;

namespace {

/// A Python that has what the converter needs: MOEVIT_PYTHON, else the first in the path, else the system's. Empty if
/// none.
std::string find_python() {
  std::vector<std::string> candidates = {"python3", "/usr/bin/python3"};
  if (const char* named = std::getenv("MOEVIT_PYTHON")) candidates.insert(candidates.begin(), named);
  for (const std::string& python : candidates)
    if (std::system((python + " -c 'import numpy, msgpack' 2>/dev/null").c_str()) == 0) return python;
  return "";
}

/// Runs the converter; true when it succeeds. What it says goes to `said`.
class Converter {
 public:
  explicit Converter(std::string python) : python_(std::move(python)) {}

  bool run(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
           const std::string& options = "") {
    const std::filesystem::path script =
        std::filesystem::path(__FILE__).parent_path() / "../../examples/convert/vmoe_checkpoint.py";
    const std::filesystem::path log = folder_ / "log";
    const std::string command = python_ + " '" + script.string() + "' '" + checkpoint.string() + "' '" +
                                output.string() + "' " + options + " > '" + log.string() + "' 2>&1";
    const bool success = std::system(command.c_str()) == 0;
    std::ifstream stream(log);
    said.assign(std::istreambuf_iterator<char>(stream), {});
    return success;
  }

  std::string said;

 private:
  std::string python_;
  TemporaryFolder folder_;
};

void expect_same_tensors(const TensorFile& got, const TensorFile& want) {
  REQUIRE(got.tensors().size() == want.tensors().size());
  for (const StoredTensor& tensor : want.tensors()) {
    INFO(tensor.name);
    const StoredTensor& converted = got.at(tensor.name);
    CHECK(converted.type == tensor.type);
    CHECK(converted.shape == tensor.shape);
    CHECK(std::equal(converted.bytes.begin(), converted.bytes.end(), tensor.bytes.begin(), tensor.bytes.end()));
  }
}

/// The first part of a name as what to select and to take off: only those tensors, under shorter names.
void expect_selection(Converter& converter, const std::filesystem::path& checkpoint, const TensorFile& want) {
  const TemporaryFolder folder;
  const std::string name = want.tensors()[want.tensors().size() / 2].name;
  const std::string prefix = name.substr(0, name.find('/') + 1);  // may be empty: everything, as it is
  std::vector<StoredTensor> selected;
  for (const StoredTensor& tensor : want.tensors())
    if (tensor.name.starts_with(prefix))
      selected.push_back({tensor.name.substr(prefix.size()), tensor.type, tensor.shape, tensor.bytes});
  REQUIRE(converter.run(checkpoint, folder / "out.safetensors", "--only '" + prefix + "' --strip '" + prefix + "'"));
  expect_same_tensors(read_safetensors(folder / "out.safetensors"), TensorFile("", nullptr, selected));
}

/// Damaged copies of a checkpoint must be refused with a word about what is wrong, and leave no output.
void expect_refusals(Converter& converter, const std::filesystem::path& source, const std::string& prefix) {
  const auto attempt = [&](const std::string& reason, auto damage) {
    const TemporaryFolder folder;
    std::filesystem::copy(source, folder / "copy");
    damage(folder / "copy");
    INFO(reason);
    CHECK(!converter.run(folder / "copy" / prefix, folder / "out.safetensors"));
    INFO(converter.said);
    CHECK(converter.said.find(reason) != std::string::npos);
    CHECK(converter.said.find("Traceback") == std::string::npos);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  };
  const auto shard_of = [&](const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().filename().string().starts_with(prefix + ".data-00000")) return entry.path();
    throw std::runtime_error(folder.string() + ": no shard");
  };
  attempt("not complete", [&](const auto& folder) { std::ofstream(folder / (".tmp." + prefix + ".index")) << "x"; });
  attempt("shard is missing", [&](const auto& folder) { std::filesystem::remove(shard_of(folder)); });
  attempt("no such file", [&](const auto& folder) { std::filesystem::remove(folder / (prefix + ".index")); });
  attempt("not valid MessagePack", [&](const auto& folder) { std::ofstream(folder / (prefix + ".index")) << "\xc1"; });
  attempt("not the index", [&](const auto& folder) { std::ofstream(folder / (prefix + ".index")) << "\x80"; });
  attempt("error:", [&](const auto& folder) {
    const auto shard = shard_of(folder);
    std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 1);
  });
}

}  // namespace

TEST_CASE("golden: checkpoint") {
  const std::vector<GoldenCase> cases = cases_of("checkpoint");
  if (cases.empty()) return;
  const std::string python = find_python();
  if (python.empty())
    return test::skip("needs a Python with numpy and msgpack (Debian: python3-numpy python3-msgpack)");
  Converter converter(python);
  std::size_t run = 0;
  for (const GoldenCase& golden : cases) {
    const TemporaryFolder folder;
    const std::filesystem::path source = golden.directory / golden.file;
    const std::string prefix = golden.config.at("prefix");
    INFO(golden.name);
    const bool converted = converter.run(source / prefix, folder / "out.safetensors");
    INFO(converter.said);
    REQUIRE(converted);
    const TensorFile want = read_safetensors(source / "expected.safetensors");
    expect_same_tensors(read_safetensors(folder / "out.safetensors"), want);

    expect_selection(converter, source / prefix, want);
    expect_refusals(converter, source, prefix);
    ++run;
  }
  expect_all_run("checkpoint", run);
}
