// inspect: tensors, naming, configuration and the C++ type.
#include "examples/run_program.hpp"

#include <moevit/io/safetensors_writer.hpp>

#include <nlohmann/json.hpp>

#include <array>

using namespace moevit::test;
using nlohmann::json;

TEST_CASE("inspect prints tensors, naming, configuration and type as JSON") {
  const ProgramResult result = run_program(MOEVIT_INSPECT_PROGRAM, {"--json", fashion_vmoe()});
  REQUIRE(result.code == 0);
  const json printed = json::parse(result.output);
  CHECK(printed["naming"] == "own");
  CHECK(printed["type"].get<std::string>().starts_with("moevit::VMoe<moevit::VitConfig{.image = 28, .patch = 4"));
  CHECK(printed["config"]["family"] == "vmoe");
  CHECK(printed["config"]["vit"]["dim"] == 64);
  CHECK(printed["config"]["moe"]["experts"] == 8);
  CHECK(printed["parameters"] == 372106);
  CHECK(printed["assumptions"].empty());
  long elements = 0;
  for (const json& tensor : printed["tensors"]) {
    CHECK(tensor["dtype"] == "F32");
    long size = 1;
    for (const json& extent : tensor["shape"]) size *= extent.get<long>();
    elements += size;
  }
  CHECK(elements == 372106);
}

TEST_CASE("inspect prints a declaration ready to paste") {
  const ProgramResult result = run_program(MOEVIT_INSPECT_PROGRAM, {fashion_mobile_vmoe()});
  REQUIRE(result.code == 0);
  CHECK(result.output.find("struct Net : moevit::MobileVMoe<config, moevit::MoeConfig{.experts = 5") !=
        std::string::npos);
  CHECK(result.output.find("router.kernel") != std::string::npos);
}

TEST_CASE("inspect lists the tensors of a file whose model cannot be told, and says so") {
  const TemporaryFolder folder;
  const std::string path = (folder / "other.safetensors").string();
  const std::array<float, 6> values{};
  moevit::write_safetensors(path, {{"something.else", "F32", {2, 3}, std::as_bytes(std::span(values))}});
  const ProgramResult result = run_program(MOEVIT_INSPECT_PROGRAM, {"--json", path});
  CHECK(result.code == 1);
  CHECK(result.errors.find(path) != std::string::npos);
  const json printed = json::parse(result.output);
  CHECK(printed["tensors"] == json::parse(R"([{"name": "something.else", "shape": [2, 3], "dtype": "F32"}])"));
  CHECK(printed["type"].is_null());
}

TEST_CASE("inspect refuses a file that is no weights file") {
  const TemporaryFolder folder;
  const std::string path = (folder / "text").string();
  std::ofstream(path) << "this is not a safetensors file";
  const ProgramResult result = run_program(MOEVIT_INSPECT_PROGRAM, {path});
  CHECK(result.code == 1);
  CHECK(result.output.empty());
  CHECK(result.errors.find(path) != std::string::npos);
}
