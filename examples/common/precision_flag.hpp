/// The command line option for the precision of a model.
#pragma once

#include "common/in_precision.hpp"

#include <CLI/CLI.hpp>

#include <map>
#include <string>

namespace examples {

inline void add_precision_option(CLI::App& app, Precision& precision) {
  const std::map<std::string, Precision> names{
      {"float32", Precision::float32}, {"bf16", Precision::bf16}, {"int8", Precision::int8}};
  app.add_option("--precision", precision,
                 "How weights are stored and multiplied: float32, bf16 or int8 (routers always float32)")
      ->transform(CLI::CheckedTransformer(names))
      ->default_str("float32");
}

}  // namespace examples
