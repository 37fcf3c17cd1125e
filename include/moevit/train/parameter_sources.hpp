/// Finds what the parameters of one model are made of among those of another, and lists what does not fit.
#pragma once

#include <moevit/core/error.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit::detail {

/// Sources by name: parameters, or tensors of an optimiser. Every one must be used, every one that is asked for be
/// there; check() says all that is wrong at once, so that nothing need be changed before it is known to fit.
template <class Source>
class NamedSources {
 public:
  void add(const std::string& name, const Source& source) { sources_.emplace(name, &source); }

  /// The source of that name for `target`; null where there is none, which is noted.
  const Source* find(const std::string& name, const std::string& target) {
    const auto found = sources_.find(name);
    if (found == sources_.end()) {
      note(target + ": expected " + name + " in the other model, found none");
      return nullptr;
    }
    used_.insert(name);
    return found->second;
  }
  /// Lets a source stay unused.
  void leave(const std::string& name) { used_.insert(name); }
  void note(std::string line) { problems_.push_back(std::move(line)); }

  /// Throws Error that begins with `what` and lists what did not fit, and what nothing was made of.
  void check(std::string_view what) {
    for (const auto& [name, source] : sources_)
      if (!used_.contains(name)) note(name + ": this model has no place for it");
    if (problems_.empty()) return;
    constexpr std::size_t shown = 25;
    std::string message(what);
    for (std::size_t i = 0; i < std::min(shown, problems_.size()); ++i) message += "\n  " + problems_[i];
    if (problems_.size() > shown) message += "\n  and " + std::to_string(problems_.size() - shown) + " more";
    throw Error(message);
  }

 private:
  std::map<std::string, const Source*> sources_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

}  // namespace moevit::detail
