/// Expert MLPs over given plans, and whole sparse layers: router, experts, combination.
#include "moe_common.hpp"
#include "sparse_layer.hpp"

#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/sparse_mlp.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// Tokens whose results are compared with plain loops: spread over the batch, as all of them would take minutes.
std::vector<Index> sampled_tokens(Index count) {
  std::vector<Index> list;
  for (Index i = 0; i < 48; ++i) list.push_back((count - 1) * i / 47);
  return list;
}

reference::Matrix rows_at(ConstMatrixView x, const std::vector<Index>& list) {
  reference::Matrix rows(static_cast<Index>(list.size()), x.cols());
  for (Index i = 0; i < rows.rows; ++i)
    std::copy_n(x.row_data(list[static_cast<std::size_t>(i)]), x.cols(), rows.row(i));
  return rows;
}

std::vector<float> packed_rows(ConstMatrixView x, const std::vector<Index>& list) {
  std::vector<float> rows;
  for (const Index row : list) rows.insert(rows.end(), x.row_data(row), x.row_data(row) + x.cols());
  return rows;
}

/// A sparse layer on images of 197 tokens, with inputs and a check against plain loops.
template <class RouterType, Index inner>
struct Layer {
  static constexpr Index width = RouterType::dim, experts = RouterType::experts;
  using MlpType = Mlp<width, inner>;

  SparseLayer<RouterType, inner> layer;
  ModelDescription model{ModelFamily::vmoe, VitConfig{.dim = width, .hidden = inner}, MoeConfig{.experts = experts}};
  std::vector<std::vector<float>> x;
  std::vector<float> y = std::vector<float>(static_cast<std::size_t>(layer.rows() * width));

  Layer(Index images, Index selected)
      : layer({.images = images, .tokens_per_image = tokens_per_image, .selected = selected}) {
    model.moe.selected = selected;
    for (unsigned input = 0; input < inputs; ++input)
      x.push_back(image_tokens(images, tokens_per_image, width, 1000 * (input + 1)));
  }

  Work run(Index input) {
    layer.run(x[static_cast<std::size_t>(input)], y);
    return {.multiply_adds = layer.cost().multiply_adds, .tokens = static_cast<double>(layer.rows())};
  }

  void check(Index input) {
    const ConstMatrixView stream(x[static_cast<std::size_t>(input)].data(), layer.rows(), width);
    const reference::Weights weights(layer.parameters);
    const std::vector<Index> sample = sampled_tokens(layer.rows());
    const reference::Matrix sampled = rows_at(stream, sample);
    reference::Matrix gates(sampled.rows, experts);
    if (SparseLayer<RouterType, inner>::per_image) {
      for (Index i = 0; i < gates.rows; ++i) {
        const Index first = sample[static_cast<std::size_t>(i)] / tokens_per_image * tokens_per_image;
        const reference::Matrix image(stream.rows_of(first, tokens_per_image));
        std::copy_n(reference::router_gates(reference::mean_of(image), weights, "moe.router").row(0), experts,
                    gates.row(i));
      }
    } else {
      gates = reference::router_gates(sampled, weights, "moe.router");
    }
    const std::vector<float> found = packed_rows({y.data(), layer.rows(), width}, sample);
    require_close({found.data(), sampled.rows, width},
                  reference::sparse_mlp(sampled, gates, weights, "moe.experts", model),
                  reference::rounding_tolerance(inner, 4));
  }
};

template <class RouterType, Index inner>
void add_layer(const std::string& name, Index count, Index selected) {
  add(name, [count, selected] {
    const auto layer = std::make_shared<Layer<RouterType, inner>>(count, selected);
    return Case{[layer](Index input) { return layer->run(input); }, [layer](Index input) { layer->check(input); }};
  });
}

/// The experts of the V-MoE layer alone, over plans made beforehand.
Case expert_mlps() {
  constexpr Index experts = 8, rows = 2 * tokens;
  using Bank = ExpertBank<Mlp<dim, hidden>>;
  struct Data {
    Bank bank{experts};
    std::vector<Parameter> parameters =
        random_parameters([this](auto visit) { Bank::each_parameter(bank, "experts", visit); });
    std::vector<SparsePlan> plans{static_cast<std::size_t>(inputs)};
    std::vector<std::vector<float>> x = random_inputs(tokens * dim);
    std::vector<float> y = std::vector<float>(static_cast<std::size_t>(rows * dim));
    AlignedBuffer<ExpertTask> tasks{experts + rows};
    Workspace workspace{ScratchBytes{0, dispatch_worker_bytes<Bank>(rows)}};
  };
  const auto data = std::make_shared<Data>();
  AssignScratch scratch;
  for (unsigned input = 0; input < inputs; ++input) {
    const std::vector<float> gates = test::normal_values(tokens * experts, 20 + input);
    assign_top_k({gates.data(), tokens, experts}, tokens, RoutingOptions{.selected = 2}, data->plans[input], scratch);
  }
  const auto x_view = [data](Index input) {
    return ConstMatrixView(data->x[static_cast<std::size_t>(input)].data(), tokens, dim);
  };
  const auto run = [data, x_view](Index input) {
    const Index done = run_experts(data->plans[static_cast<std::size_t>(input)], data->bank, x_view(input),
                                   {data->y.data(), rows, dim}, false, data->tasks.data(), data->workspace);
    return Work{.multiply_adds = static_cast<double>(done * Mlp<dim, hidden>::multiply_adds),
                .tokens = static_cast<double>(tokens)};
  };
  const auto check = [data, x_view](Index input) {
    const SparsePlan& plan = data->plans[static_cast<std::size_t>(input)];
    const reference::Weights weights(data->parameters);
    for (int expert = 0; expert < plan.experts(); ++expert) {
      std::vector<Index> sample, from;  // rows of the expert, and their tokens
      for (Index row = plan.first_row(expert); row < plan.first_row(expert) + plan.kept(expert); row += 61)
        sample.push_back(row);
      for (const Index row : sample) from.push_back(plan.row_tokens()[static_cast<std::size_t>(row)]);
      const std::vector<float> found = packed_rows({data->y.data(), rows, dim}, sample);
      require_close(
          {found.data(), static_cast<Index>(sample.size()), dim},
          reference::expert_mlp(rows_at(x_view(input), from), weights, "experts", expert, Activation::gelu_tanh),
          reference::rounding_tolerance(hidden, 2));
    }
  };
  return {run, check};
}

const bool added = [] {
  add("experts/mlps/T1576_D384_H1536_E8_top2", expert_mlps);
  add_layer<TopKRouter<dim, 8>, hidden>("experts/vmoe_layer/T1576_D384_H1536_E8_top2", images, 2);
  add_layer<PerImageRouter<192, 10>, 768>("experts/mobile_layer/B1_D192_H768_E10_top1", 1, 1);
  add_layer<PerImageRouter<192, 10>, 768>("experts/mobile_layer/B16_D192_H768_E10_top1", 16, 1);
  return true;
}();

}  // namespace
}  // namespace moevit::bench
