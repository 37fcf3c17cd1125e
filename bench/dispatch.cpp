/// What sparsity costs beside the experts: taking rows to them, and combining their outputs by token.
#include "moe_common.hpp"

#include <moevit/moe/dispatch.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// Hands every row on, so that run_experts does nothing but gather.
template <Index width, Index expert_count>
struct CopyBank {
  static constexpr Index dim = width;
  static constexpr Index block_rows = 112;
  static constexpr Index scratch_bytes(Index) { return 0; }
  Index experts() const { return expert_count; }
  void forward(Index expert, ConstMatrixView x, MatrixView y, Arena& arena) const {
    forward_rows(
        expert, x.rows(), [&](Index row) { return x.row_data(row); }, y, arena);
  }
  template <class RowOf>
  void forward_rows(Index, Index rows, RowOf row_of, MatrixView y, Arena&) const {
    for (Index row = 0; row < rows; ++row) std::copy_n(row_of(row), dim, y.row_data(row));
  }
};

/// Plans of random gates, one per input, and rows to send through them.
template <Index token_count, Index width, Index experts>
struct Dispatched {
  static constexpr Index rows = 2 * token_count;
  using Bank = CopyBank<width, experts>;
  std::vector<SparsePlan> plans{static_cast<std::size_t>(inputs)};
  std::vector<std::vector<float>> x = random_inputs(token_count * width), outputs = random_inputs(rows * width, 9);
  std::vector<float> gathered = std::vector<float>(static_cast<std::size_t>(rows * width)),
                     y = std::vector<float>(static_cast<std::size_t>(token_count * width));
  AlignedBuffer<ExpertTask> tasks{experts + rows};
  Workspace workspace{ScratchBytes{0, dispatch_worker_bytes<Bank>(rows)}};

  Dispatched() {
    AssignScratch scratch;
    for (unsigned input = 0; input < inputs; ++input) {
      const std::vector<float> gates = test::normal_values(token_count * experts, 20 + input, 1.f, 0.1f);
      assign_top_k({gates.data(), token_count, experts}, token_count, RoutingOptions{.selected = 2}, plans[input],
                   scratch);
    }
  }
  const SparsePlan& plan(Index input) const { return plans[static_cast<std::size_t>(input)]; }
  ConstMatrixView x_view(Index input) const { return {x[static_cast<std::size_t>(input)].data(), token_count, width}; }
  ConstMatrixView outputs_view(Index input) const {
    return {outputs[static_cast<std::size_t>(input)].data(), rows, width};
  }
  Work work(Index row_count) const {
    return {.bytes = static_cast<double>(row_count * width) * sizeof(float),
            .tokens = static_cast<double>(token_count)};
  }
};

/// Each row is read and written once, where banks put it into tiles.
template <Index token_count, Index width, Index experts>
Case gather_case() {
  using Data = Dispatched<token_count, width, experts>;
  const auto data = std::make_shared<Data>();
  const auto run = [data](Index input) {
    const Index rows =
        run_experts(data->plan(input), typename Data::Bank{}, data->x_view(input),
                    {data->gathered.data(), Data::rows, width}, false, data->tasks.data(), data->workspace);
    return data->work(2 * rows);
  };
  const auto check = [data](Index input) {
    const SparsePlan& plan = data->plan(input);
    if (plan.rows() != Data::rows) fail("wrong result: expected ", Data::rows, " rows, found ", plan.rows());
    for (Index row = 0; row < plan.rows(); ++row) {
      const float* token = data->x_view(input).row_data(plan.row_tokens()[static_cast<std::size_t>(row)]);
      if (!std::equal(token, token + width, data->gathered.data() + row * width))
        fail("wrong result: row ", row, " is not its token");
    }
  };
  return {run, check};
}

/// Per token two rows read, the stream read and written.
/// `scale`: with a layer scale.
template <Index token_count, Index width, Index experts>
Case combine_case(bool scale) {
  const auto data = std::make_shared<Dispatched<token_count, width, experts>>();
  const auto scales = std::make_shared<std::vector<float>>(test::normal_values(width, 77));
  const auto run = [data, scales, scale](Index input) {
    std::fill(data->y.begin(), data->y.end(), 0.f);
    combine(data->plan(input), data->outputs_view(input), scale ? scales->data() : nullptr,
            {data->y.data(), token_count, width}, data->workspace);
    return data->work(data->plan(input).rows() + 3 * token_count);
  };
  const auto check = [data, scales, scale](Index input) {
    reference::Matrix expected(token_count, width);
    const SparsePlan& plan = data->plan(input);
    std::vector<Choice> kept(plan.choices().begin(), plan.choices().end());
    std::stable_sort(kept.begin(), kept.end(), [](const Choice& a, const Choice& b) {
      return a.expert != b.expert ? a.expert < b.expert : a.token < b.token;
    });
    for (std::size_t row = 0; row < kept.size(); ++row)
      for (Index i = 0; i < width; ++i)
        expected(kept[row].token, i) +=
            static_cast<double>(kept[row].gate) *
            static_cast<double>(scale ? (*scales)[static_cast<std::size_t>(i)] : 1.f) *
            static_cast<double>(data->outputs_view(input).row_data(static_cast<Index>(row))[i]);
    require_close({data->y.data(), token_count, width}, expected, reference::rounding_tolerance(2));
  };
  return {run, check};
}

const bool added = [] {
  add("dispatch/gather/T1576_D384_E8_top2", gather_case<tokens, dim, 8>);
  add("dispatch/gather/T8192_D64_E8_top2", gather_case<8192, 64, 8>);
  add("dispatch/gather/T8192_D64_E256_top2", gather_case<8192, 64, 256>);
  add("dispatch/combine/T1576_D384_E8_top2", [] { return combine_case<tokens, dim, 8>(false); });
  add("dispatch/combine_scaled/T1576_D384_E8_top2", [] { return combine_case<tokens, dim, 8>(true); });
  add("dispatch/combine/T8192_D64_E8_top2", [] { return combine_case<8192, 64, 8>(false); });
  add("dispatch/combine/T8192_D64_E256_top2", [] { return combine_case<8192, 64, 256>(false); });
  return true;
}();

}  // namespace
}  // namespace moevit::bench
