/// Prints what is in a weights file, and the C++ type of the model that fits it, ready to paste.
#include "common/program.hpp"

#include <moevit/io/cpp_type.hpp>
#include <moevit/io/describe.hpp>
#include <moevit/io/metadata_writer.hpp>
#include <moevit/io/safetensors.hpp>
#include <moevit/models/counts.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <string>

namespace {

using Json = nlohmann::ordered_json;

/// The configurations with all their fields, as a file of ours has them in its metadata.
Json config_json(const moevit::ModelDescription& model) {
  const auto metadata = moevit::to_metadata({model, {}, {}});
  return {{"family", metadata.at("moevit.family")},
          {"vit", Json::parse(metadata.at("moevit.vit"))},
          {"moe", model.family == moevit::ModelFamily::vit ? Json() : Json::parse(metadata.at("moevit.moe"))}};
}

void print_json(const moevit::TensorFile& file, const moevit::InferredModel* model) {
  Json json{{"tensors", Json::array()}, {"naming", nullptr}, {"config", nullptr}, {"type", nullptr}};
  for (const moevit::StoredTensor& tensor : file.tensors())
    json["tensors"].push_back({{"name", tensor.name}, {"shape", tensor.shape}, {"dtype", tensor.type}});
  if (model) {
    json["naming"] = model->naming;
    json["config"] = config_json(model->description);
    json["type"] = moevit::cpp_type(model->description);
    json["declaration"] = moevit::cpp_declaration(model->description);
    json["assumptions"] = model->assumptions;
    json["parameters"] = moevit::parameter_count(model->description);
  }
  json["build"] = moevit::build_info();
  std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void print_tensors(const moevit::TensorFile& file) {
  std::size_t width = 4;
  moevit::Index elements = 0;
  for (const moevit::StoredTensor& tensor : file.tensors()) {
    width = std::max(width, tensor.name.size());
    elements += tensor.size();
  }
  for (const moevit::StoredTensor& tensor : file.tensors())
    std::cout << std::left << std::setw(static_cast<int>(width) + 2) << tensor.name << std::setw(6) << tensor.type
              << moevit::to_string(tensor.shape) << '\n';
  std::cout << file.tensors().size() << " tensors, " << elements << " elements\n";
}

void print_model(const moevit::InferredModel& model) {
  std::cout << "naming: " << model.naming << ", parameters: " << moevit::parameter_count(model.description) << "\n\n"
            << moevit::cpp_declaration(model.description);
  if (!model.assumptions.empty()) std::cout << "\nThe file does not say everything; check:\n";
  for (const std::string& assumption : model.assumptions) std::cout << "- " << assumption << '\n';
}

int inspect(const std::string& path, bool json) {
  const moevit::TensorFile file = moevit::read_safetensors(path);
  if (!json) print_tensors(file);
  try {
    const moevit::InferredModel model = moevit::describe(file);
    if (json)
      print_json(file, &model);
    else
      print_model(model);
  } catch (const moevit::Error&) {
    if (json) print_json(file, nullptr);
    throw;
  }
  if (!json) std::cout << '\n' << moevit::build_info() << '\n';
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Prints the tensors of a weights file (safetensors), their naming, and the C++ type of the model that fits them.",
      "inspect");
  std::string path;
  bool json = false;
  app.add_option("file", path, "Weights file")->required();
  app.add_flag("--json", json,
               "One JSON object: tensors [name, shape, dtype], naming, config, type (null where the model cannot be "
               "told; then the "
               "exit code is 1), declaration, assumptions, parameters, build");
  return examples::run_program(app, argc, argv, [&] { return inspect(path, json); });
}
