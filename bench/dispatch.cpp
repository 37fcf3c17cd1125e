/// What sparsity costs beside the experts: gathering their rows, and combining their outputs by token.
#include "moe_common.hpp"

#include <moevit/moe/dispatch.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// Hands every row on, so that run_experts does nothing but gather.
struct CopyBank {
  static constexpr Index dim = bench::dim;
  static constexpr Index block_rows = 112;
  static constexpr Index scratch_bytes(Index) { return 0; }
  Index experts() const { return 8; }
  void forward(Index, ConstMatrixView x, MatrixView y, Arena&) const {
    for (Index row = 0; row < x.rows(); ++row) std::copy_n(x.row_data(row), dim, y.row_data(row));
  }
};

/// Plans of random gates, one per input, and rows to send through them.
struct Dispatched {
  static constexpr Index experts = 8, rows = 2 * tokens;
  std::vector<SparsePlan> plans{static_cast<std::size_t>(inputs)};
  std::vector<std::vector<float>> x = random_inputs(tokens * dim), outputs = random_inputs(rows * dim, 9);
  std::vector<float> gathered = std::vector<float>(static_cast<std::size_t>(rows * dim)),
                     y = std::vector<float>(static_cast<std::size_t>(tokens * dim));
  AlignedBuffer<ExpertTask> tasks{experts + rows};
  Workspace workspace{ScratchBytes{0, dispatch_worker_bytes<CopyBank>(rows)}};

  Dispatched() {
    AssignScratch scratch;
    for (unsigned input = 0; input < inputs; ++input) {
      const std::vector<float> gates = test::normal_values(tokens * experts, 20 + input, 1.f, 0.1f);
      assign_top_k({gates.data(), tokens, experts}, tokens, RoutingOptions{.selected = 2}, plans[input], scratch);
    }
  }
  const SparsePlan& plan(Index input) const { return plans[static_cast<std::size_t>(input)]; }
  ConstMatrixView x_view(Index input) const { return {x[static_cast<std::size_t>(input)].data(), tokens, dim}; }
  ConstMatrixView outputs_view(Index input) const {
    return {outputs[static_cast<std::size_t>(input)].data(), rows, dim};
  }
  Work work(Index row_count) const {
    return {.bytes = static_cast<double>(row_count * dim) * sizeof(float), .tokens = static_cast<double>(tokens)};
  }
};

/// Each row is read and written twice: into the block that an expert reads, and from there.
Case gather_case() {
  const auto data = std::make_shared<Dispatched>();
  const auto run = [data](Index input) {
    const Index rows =
        run_experts(data->plan(input), CopyBank{}, data->x_view(input), {data->gathered.data(), Dispatched::rows, dim},
                    false, data->tasks.data(), data->workspace);
    return data->work(4 * rows);
  };
  const auto check = [data](Index input) {
    const SparsePlan& plan = data->plan(input);
    if (plan.rows() != Dispatched::rows)
      fail("wrong result: expected ", Dispatched::rows, " rows, found ", plan.rows());
    for (Index row = 0; row < plan.rows(); ++row) {
      const float* token = data->x_view(input).row_data(plan.row_tokens()[static_cast<std::size_t>(row)]);
      if (!std::equal(token, token + dim, data->gathered.data() + row * dim))
        fail("wrong result: row ", row, " is not its token");
    }
  };
  return {run, check};
}

/// Per token two rows read, the stream read and written.
Case combine_case() {
  const auto data = std::make_shared<Dispatched>();
  const auto run = [data](Index input) {
    std::fill(data->y.begin(), data->y.end(), 0.f);
    combine(data->plan(input), data->outputs_view(input), nullptr, {data->y.data(), tokens, dim}, data->workspace);
    return data->work(data->plan(input).rows() + 3 * tokens);
  };
  const auto check = [data](Index input) {
    reference::Matrix expected(tokens, dim);
    const SparsePlan& plan = data->plan(input);
    std::vector<Choice> kept(plan.choices().begin(), plan.choices().end());
    std::stable_sort(kept.begin(), kept.end(), [](const Choice& a, const Choice& b) {
      return a.expert != b.expert ? a.expert < b.expert : a.token < b.token;
    });
    for (std::size_t row = 0; row < kept.size(); ++row)
      for (Index i = 0; i < dim; ++i)
        expected(kept[row].token, i) +=
            static_cast<double>(kept[row].gate) *
            static_cast<double>(data->outputs_view(input).row_data(static_cast<Index>(row))[i]);
    require_close({data->y.data(), tokens, dim}, expected, reference::rounding_tolerance(2));
  };
  return {run, check};
}

const bool added = [] {
  add("dispatch/gather/T1576_D384_E8_top2", gather_case);
  add("dispatch/combine/T1576_D384_E8_top2", combine_case);
  return true;
}();

}  // namespace
}  // namespace moevit::bench
