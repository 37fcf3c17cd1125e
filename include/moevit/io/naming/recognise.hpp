/// Finds out which naming the tensors of a file follow.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/naming/cvt.hpp>
#include <moevit/io/naming/hugging_face.hpp>
#include <moevit/io/naming/own.hpp>
#include <moevit/io/naming/swin.hpp>
#include <moevit/io/naming/timm.hpp>
#include <moevit/io/naming/vit_jax.hpp>
#include <moevit/io/naming/vit_pytorch.hpp>
#include <moevit/io/naming/vmoe.hpp>
#include <moevit/io/tensor_file.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

namespace moevit {

inline constexpr std::array<const NameTable*, 12> name_tables{&own_names,          &vmoe_names,
                                                              &vit_jax_names,      &timm_names,
                                                              &hugging_face_names, &hugging_face_5_names,
                                                              &vit_pytorch_names,  &swin_names,
                                                              &swin_timm_names,    &swin_hugging_face_names,
                                                              &cvt_names,          &cvt_hugging_face_names};

/// The tensors of a file by their names under one naming, prefixes taken off.
struct NamedTensors {
  const NameTable* table = nullptr;
  std::string prefix;  // that was taken off besides the one the caller named
  std::map<std::string, const StoredTensor*, std::less<>> tensors;

  const StoredTensor* find(std::string_view name) const {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : found->second;
  }
};

namespace detail {

inline std::string_view without_prefix(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

inline bool has_row(const NameTable& table, std::string_view name) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const NameRow& row) { return match_numbers(row.theirs, name).has_value(); });
}

/// Whether a tensor is a buffer of its library's, which no model needs.
inline bool is_buffer(const NameTable& table, std::string_view name) {
  return std::any_of(table.buffers.begin(), table.buffers.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

/// How many tensors have a name of this table once both prefixes are taken off.
inline std::size_t count_matches(const TensorFile& file, std::string_view strip, const NameTable& table,
                                 std::string_view prefix) {
  return static_cast<std::size_t>(
      std::count_if(file.tensors().begin(), file.tensors().end(), [&](const StoredTensor& tensor) {
        return has_row(table, without_prefix(without_prefix(tensor.name, strip), prefix));
      }));
}

struct NamingMatch {
  const NameTable* table = nullptr;
  std::string_view prefix;
  std::size_t matches = 0;
};

/// The table that most names fit; matches = 0 when none does.
inline NamingMatch best_match(const TensorFile& file, std::string_view strip, Naming wanted) {
  NamingMatch best;
  for (const NameTable* table : name_tables) {
    if (wanted != Naming::recognised && table->naming != wanted) continue;
    const auto consider = [&](std::string_view prefix) {
      const std::size_t matches = count_matches(file, strip, *table, prefix);
      if (best.table == nullptr || matches > best.matches) best = {table, prefix, matches};
    };
    consider("");
    for (const std::string_view prefix : table->prefixes) consider(prefix);
  }
  return best;
}

/// A prefix that would make names known, for the error message.
inline std::string prefix_hint(const TensorFile& file) {
  if (file.tensors().empty()) return "";
  const std::string& name = file.tensors().front().name;
  for (std::size_t end = name.find_first_of("./"); end != std::string::npos; end = name.find_first_of("./", end + 1)) {
    const std::string prefix = name.substr(0, end + 1);
    if (best_match(file, prefix, Naming::recognised).matches > 0)
      return "; without the prefix '" + prefix + "' they would be: see strip_prefix of LoadOptions";
  }
  return "";
}

}  // namespace detail

/// Sorts the tensors of a file by the naming that fits most of their names, or by the one that is asked for. `strip` is
/// taken off the front of names that have it. Throws Error when no naming fits any name.
inline NamedTensors recognise_naming(const TensorFile& file, std::string_view strip = "",
                                     Naming wanted = Naming::recognised) {
  const detail::NamingMatch match = detail::best_match(file, strip, wanted);
  if (match.matches == 0 && wanted == Naming::recognised)
    fail(file.path().string(), ": none of the ", file.tensors().size(), " tensors has a name of a known naming",
         file.tensors().empty() ? "" : " (the first is '" + file.tensors().front().name + "')",
         detail::prefix_hint(file));
  NamedTensors named{match.table, std::string(match.prefix), {}};
  for (const StoredTensor& tensor : file.tensors()) {
    const std::string_view name = detail::without_prefix(detail::without_prefix(tensor.name, strip), match.prefix);
    if (!named.tensors.emplace(name, &tensor).second)
      fail(file.path().string(), ": two tensors are called '", name, "' once prefixes are taken off");
  }
  return named;
}

}  // namespace moevit
