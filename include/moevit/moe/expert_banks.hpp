/// Kinds of expert banks, for models that take one as a parameter.
#pragma once

#include <moevit/moe/expert_bank.hpp>
#include <moevit/moe/residual_expert_bank.hpp>

namespace moevit {

/// A bank of experts with weights of their own, and one with a common core (Residual MoE).
template <class X>
using OwnExperts = ExpertBank<X>;
template <class X>
using CoreAndResiduals = ResidualExpertBank<X>;

}  // namespace moevit
