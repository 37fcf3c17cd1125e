/// Auxiliary losses and the capacity table, with run-time sizes.
#include "golden/router_outputs.hpp"

using namespace moevit;
using namespace moevit::test;

TEST_CASE("golden: aux_losses") {
  std::size_t run = 0;
  for (const GoldenCase& golden : cases_of("aux_losses")) {
    const Index tokens = golden.shape("inputs/logits")[0], experts = golden.shape("inputs/logits")[1];
    const std::vector<float> clean = golden.floats("inputs/logits"), noise = golden.floats("inputs/noise");
    const RowMajorMatrix logits = ConstMatrixView(clean.data(), tokens, experts);
    const RowMajorMatrix noisy = logits + ConstMatrixView(noise.data(), tokens, experts);
    const Index selected = golden.config.at("num_selected_experts");
    const ConstMatrixView no_noise(nullptr, 0, experts);
    const AuxiliaryLosses losses =
        auxiliary_losses(view_of(logits), view_of(noisy), selected, golden.config.at("noise_std"));
    CaseOutputs outputs(golden);
    outputs.close("importance_loss", losses.importance);
    outputs.close("load_loss", losses.load);
    outputs.close("gshard_loss", auxiliary_losses(view_of(logits), no_noise, selected, 0).gshard);
    outputs.close("gshard_loss_noisy", losses.gshard);
    outputs.finish();
    ++run;
  }
  expect_all_run("aux_losses", run);
}

TEST_CASE("golden: router_z_loss") {
  std::size_t run = 0;
  for (const GoldenCase& golden : cases_of("router_z_loss")) {
    const Index experts = golden.shape("inputs/logits").back();
    const std::vector<float> values = golden.floats("inputs/logits"), logsumexp = golden.floats("outputs/logsumexp");
    const ConstMatrixView logits(values.data(), std::ssize(values) / experts, experts);
    CaseOutputs outputs(golden);
    outputs.close("loss", router_z_loss(logits));
    // The loss of one token is its logsumexp squared.
    REQUIRE(std::ssize(logsumexp) == logits.rows());
    const double tolerance = tolerance_of(golden, "outputs/logsumexp", logsumexp);
    for (Index token = 0; token < logits.rows(); ++token) {
      const double want = double{logsumexp[static_cast<std::size_t>(token)]};
      CHECK(std::abs(std::sqrt(router_z_loss(logits.rows_of(token, 1))) - std::abs(want)) <= tolerance);
    }
    outputs.take("logsumexp");
    outputs.finish();
    ++run;
  }
  expect_all_run("router_z_loss", run);
}

TEST_CASE("golden: capacity table") {
  std::size_t rows = 0;
  for (const auto& directory : golden_directories()) {
    std::ifstream stream(directory / "capacity_table.json");
    if (!stream) continue;  // not every set has one
    for (const auto& row : nlohmann::json::parse(stream)) {
      INFO((directory / "capacity_table.json").string() << ": " << row.dump());
      const auto rounding = row.at("ceil_or_round") == "round" ? CapacityRounding::round : CapacityRounding::ceil;
      const auto capacity = [&] {
        return compute_capacity(row.at("num_tokens"), row.at("num_experts"), row.at("capacity_factor"), rounding,
                                field<Index>(row, "multiple_of", 0));
      };
      if (row.at("capacity") == "error")
        CHECK_THROWS_AS(capacity(), Error);
      else
        CHECK(capacity() == row.at("capacity").get<Index>());
      ++rows;
    }
  }
  std::cout << "golden capacity table: " << rows << " rows\n";
}
