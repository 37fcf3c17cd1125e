// Logits of routers against plain loops, on both sides of the number of experts that are few.
#include <moevit/core/thread_pool.hpp>
#include <moevit/moe/gates.hpp>

#include "catch.hpp"
#include "random_values.hpp"

using namespace moevit;

TEST_CASE("router logits agree with plain loops, the same to the bit for any number of threads") {
  for (const Index experts : {Index{1}, few_experts, few_experts + 1})
    for (const Index dim : {1, 15, 16, 37})
      for (const Index rows : {0, 1, 55, 225, 300})
        for (const bool has_bias : {false, true}) {
          CAPTURE(experts, dim, rows, has_bias);
          const Index stride = dim + 3;
          const std::vector<float> x = test::normal_values(rows * stride + 1, 1),
                                   w = test::normal_values(dim * experts, 2);
          AlignedBuffer<float> packed(simd::packed_size(dim, experts)), bias = padded_vector(experts);
          for (Index e = 0; e < experts; ++e) bias[e] = static_cast<float>(e) - 0.5f;
          const simd::PackedView kernel = simd::pack(w.data(), experts, dim, experts, packed.data());
          const auto logits_of = [&](Index threads) {
            ThreadPool pool(threads);
            Workspace workspace({0, router_worker_bytes(rows, dim)}, ExecutorRef(pool));
            std::vector<float> logits(static_cast<std::size_t>(rows * experts));
            router_logits({x.data(), rows, dim, stride}, kernel, has_bias ? bias.data() : nullptr,
                          {logits.data(), rows, experts}, workspace);
            return logits;
          };
          const std::vector<float> logits = logits_of(1);
          CHECK(logits_of(3) == logits);
          double worst = 0.;
          for (Index row = 0; row < rows; ++row)
            for (Index e = 0; e < experts; ++e) {
              double sum = has_bias ? double{bias[e]} : 0.;
              for (Index k = 0; k < dim; ++k)
                sum += double{x[static_cast<std::size_t>(row * stride + k)]} *
                       double{w[static_cast<std::size_t>(k * experts + e)]};
              worst = std::max(worst, std::abs(double{logits[static_cast<std::size_t>(row * experts + e)]} - sum));
            }
          CHECK(worst < 2e-5);
        }
}
