/// The experts of the stages of hierarchical models.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/moe/cosine_router.hpp>
#include <moevit/moe/expert_banks.hpp>
#include <moevit/moe/sparse_mlp.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <type_traits>

namespace moevit {

/// The sparse part of a stage's blocks whose experts are MLPs of type X: top-k or cosine router, as moe.router says, and
/// the bank that `Bank` makes of X.
template <class X, MoeConfig moe, template <class> class Bank>
using StageExperts =
    SparseMlp<std::conditional_t<moe.router == RouterKind::cosine, CosineRouter<X::dim, moe.experts>,
                                 TopKRouter<X::dim, moe.experts>>,
              Bank<X>, moe>;

/// The family that files name: `own` where experts have weights of their own, else custom.
template <template <class> class Bank>
constexpr ModelFamily family_with_bank(ModelFamily own) {
  return std::is_same_v<Bank<Mlp<1, 1>>, ExpertBank<Mlp<1, 1>>> ? own : ModelFamily::custom;
}

}  // namespace moevit
