/// References to callables, which cost no allocation and no template parameter.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace moevit {

template <class Signature>
class FunctionRef;

/// A reference to something callable with this signature. It does not own it: the callable must outlive it. (The
/// kernels have one of their own, simd::CallableRef, whose name tells the instruction set.)
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Arguments>(arguments)...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(object_, std::forward<Arguments>(arguments)...); }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace moevit
