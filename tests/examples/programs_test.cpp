// What all example programs have in common, and the small ones.
#include "examples/run_program.hpp"

using namespace moevit::test;

namespace {
const std::vector<std::string> programs{
    MOEVIT_CLASSIFY_PROGRAM,    MOEVIT_INSPECT_PROGRAM, MOEVIT_ROUTING_REPORT_PROGRAM, MOEVIT_OWN_ROUTER_PROGRAM,
    MOEVIT_TO_MOEVIT_PROGRAM,   MOEVIT_TRAIN_PROGRAM,   MOEVIT_UPCYCLE_PROGRAM,        MOEVIT_ADAPTIVE_COMPUTE_PROGRAM,
    MOEVIT_SEGMENT_PROGRAM,     MOEVIT_DETECT_PROGRAM,
#ifdef MOEVIT_TBB_EXECUTOR_PROGRAM
    MOEVIT_TBB_EXECUTOR_PROGRAM
#endif
};
}  // namespace

TEST_CASE("every program explains itself and tells its build") {
  for (const std::string& program : programs) {
    INFO(program);
    const ProgramResult help = run_program(program, {"--help"});
    CHECK(help.code == 0);
    CHECK(help.output.find("Usage:") != std::string::npos);
    CHECK(help.output.find("Exit codes: 0") != std::string::npos);
    CHECK(help.errors.empty());
    const ProgramResult version = run_program(program, {"--version"});
    CHECK(version.code == 0);
    CHECK(version.output.starts_with("moevit "));
    CHECK(version.output.find(", Eigen ") != std::string::npos);
  }
}

TEST_CASE("a wrong command line is exit code 2 with a message on standard error") {
  for (const std::string& program : programs) {
    INFO(program);
    const ProgramResult result = run_program(program, {"--no-such-option"});
    CHECK(result.code == 2);
    CHECK(result.output.empty());
    CHECK_FALSE(result.errors.empty());
  }
  CHECK(run_program(MOEVIT_CLASSIFY_PROGRAM, {"--weights", fashion_vmoe()}).code == 2);
  CHECK(run_program(MOEVIT_CLASSIFY_PROGRAM, {"--weights", fashion_vmoe(), "x.png", "--batch", "0"}).code == 2);
  CHECK(run_program(MOEVIT_CLASSIFY_PROGRAM, {"--weights", fashion_vmoe(), "x.png", "--priority", "luck"}).code == 2);
}

TEST_CASE("own_router prints the load of its experts in both sparse blocks") {
  const ProgramResult result = run_program(MOEVIT_OWN_ROUTER_PROGRAM, {});
  CHECK(result.code == 0);
  CHECK(result.errors.empty());
  CHECK(result.output.find("block 1: 1040 tokens") != std::string::npos);
  CHECK(result.output.find("block 3: 1040 tokens") != std::string::npos);
  CHECK(result.output.find("expert 5: wanted by") != std::string::npos);
}

#ifdef MOEVIT_TBB_EXECUTOR_PROGRAM
TEST_CASE("tbb_executor gets the logits of one thread on any number of workers") {
  for (const std::string threads : {"1", "2", "5"}) {
    const ProgramResult result = run_program(MOEVIT_TBB_EXECUTOR_PROGRAM, {"--threads", threads});
    CHECK(result.code == 0);
    CHECK(result.errors.empty());
    CHECK(result.output.find("on " + threads + " workers of oneTBB: logits equal") != std::string::npos);
  }
}
#endif

TEST_CASE("to_moevit writes a file of ours back byte for byte") {
  const TemporaryFolder folder;
  for (const std::string& weights : {fashion_vmoe(), fashion_mobile_vmoe()}) {
    const std::string copy = (folder / "copy.safetensors").string();
    CHECK(run_program(MOEVIT_TO_MOEVIT_PROGRAM, {weights, copy}).code == 0);
    CHECK(read_text(copy) == read_text(weights));
  }
  const ProgramResult missing =
      run_program(MOEVIT_TO_MOEVIT_PROGRAM, {(folder / "none").string(), (folder / "new").string()});
  CHECK(missing.code == 1);
  CHECK_FALSE(std::filesystem::exists(folder / "new"));
}
