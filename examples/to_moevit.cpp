/// Rewrites a weights file of any naming that moevit knows as one of moevit's own, which carries the model's
/// configuration, its preprocessing and the names of its classes.
#include "common/open_model.hpp"
#include "common/program.hpp"

#include <iostream>
#include <string>

int main(int argc, char** argv) {
  CLI::App app(
      "Rewrites weights (safetensors) under moevit's own names, with the model's configuration, preprocessing and "
      "class names.",
      "to_moevit");
  std::string from, to;
  app.add_option("from", from, "Weights of one of the compiled models, under any naming")->required();
  app.add_option("to", to, "File to write; it appears whole or not at all")->required();
  return examples::run_program(app, argc, argv, [&] {
    const auto model = examples::open_model(from);
    model->save(to);
    std::cout << to << '\n';
    return examples::success;
  });
}
