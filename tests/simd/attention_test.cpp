#include "random_values.hpp"
#include "reference.hpp"
#include "same_bits.hpp"
#include "simd/architectures.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/attention.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

struct HeadCase {
  Index queries = 0;
  Index tokens = 0;
  Index width = 0;
};

/// One head among others: queries, keys and values lie side by side in rows of 3 * width + 2 floats.
template <class Arch>
struct HeadRun {
  HeadCase sizes;
  Index stride = 3 * sizes.width + 2, out_stride = sizes.width + 3;
  std::vector<float> rows = test::normal_values(std::max(sizes.queries, sizes.tokens) * stride, 1);
  float factor = 1.f / std::sqrt(static_cast<float>(sizes.width));
  const float* bias = nullptr;  ///< of all queries

  void run(Index first, Index count, std::vector<float>& out) const {
    const Index size = simd::attention_scratch(sizes.tokens, sizes.width);
    AlignedBuffer<float> scratch(size + 1);
    scratch[size] = canary;
    const simd::AttentionHead head{rows.data() + first * stride,
                                   count,
                                   stride,
                                   rows.data() + sizes.width,
                                   rows.data() + 2 * sizes.width,
                                   sizes.tokens,
                                   stride,
                                   sizes.width,
                                   factor,
                                   nullptr,
                                   bias ? bias + first * simd::score_bias_stride(sizes.tokens) : nullptr};
    simd::attention_head<Arch>(head, scratch.data(), out.data() + first * out_stride, out_stride);
    CHECK(scratch[size] == canary);
  }
  std::vector<float> result() const {
    std::vector<float> out(static_cast<std::size_t>(sizes.queries * out_stride), canary);
    run(0, sizes.queries, out);
    return out;
  }
  reference::Matrix expected() const {
    const reference::Matrix all(ConstMatrixView(rows.data(), std::max(sizes.queries, sizes.tokens), stride));
    const Index width = sizes.width;
    return reference::attention_head(
        all.rows_of(0, sizes.queries).cols_of(0, width), all.rows_of(0, sizes.tokens).cols_of(width, width),
        all.rows_of(0, sizes.tokens).cols_of(2 * width, width), static_cast<double>(factor));
  }
};

}  // namespace

TEST_CASE("the attention core agrees with plain loops and stays in its columns") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const HeadCase sizes :
         {HeadCase{1, 1, 1}, HeadCase{3, 5, 7}, HeadCase{50, 50, 16}, HeadCase{57, lanes<Arch> + 1, 64},
          HeadCase{1, 197, 64}, HeadCase{113, 2 * lanes<Arch>, 12}}) {
      CAPTURE(sizes.queries, sizes.tokens, sizes.width);
      const HeadRun<Arch> head{sizes};
      const std::vector<float> out = head.result();
      const ConstMatrixView found(out.data(), sizes.queries, sizes.width, head.out_stride);
      // A score's rounding error is an error of the exponent; scores are of the order of 1 here.
      CHECK(reference::relative_error(found, head.expected()) <
            reference::rounding_tolerance(sizes.tokens + sizes.width, 2));
      Index overwritten = 0;
      for (std::size_t i = 0; i < out.size(); ++i)
        overwritten += static_cast<Index>(i) % head.out_stride >= sizes.width && out[i] != canary;
      CHECK(overwritten == 0);
    }
  });
}

TEST_CASE("the attention core adds biases to scores") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const HeadCase sizes : {HeadCase{1, 1, 1}, HeadCase{49, 49, 16}, HeadCase{35, 17, 5}}) {
      CAPTURE(sizes.queries, sizes.tokens, sizes.width);
      HeadRun<Arch> head{sizes};
      const Index stride = simd::score_bias_stride(sizes.tokens);
      std::vector<float> biases(static_cast<std::size_t>(sizes.queries * stride), 0.f);
      // All of a query's attention goes to one token.
      for (Index query = 0; query < sizes.queries; ++query)
        biases[static_cast<std::size_t>(query * stride + query % sizes.tokens)] = 1000.f;
      head.bias = biases.data();
      const std::vector<float> out = head.result();
      for (Index query = 0; query < sizes.queries; ++query)
        for (Index col = 0; col < sizes.width; ++col)
          REQUIRE(
              out[static_cast<std::size_t>(query * head.out_stride + col)] ==
              Approx(head.rows[static_cast<std::size_t>(query % sizes.tokens * head.stride + 2 * sizes.width + col)]));
    }
  });
}

TEST_CASE("the attention core gives a query the same bits, alone or among others") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const HeadRun<Arch> head{{61, 61, 20}};
    const std::vector<float> whole = head.result();
    for (const Index most : {1, 7, 30}) {
      std::vector<float> cut(whole.size(), canary);
      for (Index first = 0; first < head.sizes.queries; first += most)
        head.run(first, std::min(most, head.sizes.queries - first), cut);
      CHECK(test::same_bits(cut, whole));
    }
  });
}
