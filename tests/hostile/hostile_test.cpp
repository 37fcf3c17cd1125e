/// Every damaged and every valid file that a manifest lists under "hostile".
#include "golden/manifest.hpp"
#include "golden/plain_vit.hpp"

#include <moevit/io/load_parameters.hpp>
#include <moevit/io/npy.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/models/vit.hpp>

#include <bit>
#include <optional>
#include <string>

#if __has_include(<zip.h>)
#include <moevit/io/npz.hpp>
#endif
#if __has_include(<sys/resource.h>)
#include <sys/resource.h>
#endif

using namespace moevit;
using namespace moevit::test;

namespace {

/// The model of the shared manifest; entries with this configuration are run through it too.
constexpr VitConfig tiny{.image = 8,
                         .patch = 4,
                         .channels = 3,
                         .dim = 8,
                         .depth = 1,
                         .heads = 2,
                         .hidden = 32,
                         .classes = 3,
                         .activation = Activation::gelu_erf};

struct Counts {
  std::size_t listed = 0, run = 0, through_template = 0;
};

/// Largest resident memory so far, in bytes; 0 where the system does not say.
std::int64_t peak_memory() {
#if defined(__linux__)
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
#else
  return 0;
#endif
}

/// Reads a file by its ending; nothing when this build lacks the format.
std::optional<TensorFile> read_any(const std::filesystem::path& path) {
  if (path.extension() == ".npy") return read_npy(path);
  if (path.extension() != ".npz") return read_safetensors(path);
#if __has_include(<zip.h>)
  return read_npz(path);
#else
  return std::nullopt;
#endif
}

bool is_integer(const std::string& type) {
  return with_integer_reader(type, nullptr, [](auto) {});
}

/// Values of a tensor against the manifest's; types without a conversion are compared by type and shape only.
void expect_values(const TensorFile& file, const std::string& name, const nlohmann::json& values) {
  const StoredTensor& tensor = file.at(name);
  REQUIRE(std::ssize(values) == tensor.size());
  for (Index i = 0; i < tensor.size(); ++i) {
    const nlohmann::json& value = values[static_cast<std::size_t>(i)];
    const double want = value.is_boolean() ? value.get<bool>() : value.get<double>();
    if (is_integer(tensor.type))
      with_integer_reader(tensor.type, tensor.bytes.data(),
                          [&](auto read) { CHECK(static_cast<double>(read(i)) == want); });
    else if (tensor.type == "F64")
      CHECK(load_element<double>(tensor.bytes.data(), i) == want);
    else if (is_floating(tensor.type))
      CHECK(file.floats(name)[static_cast<std::size_t>(i)] == static_cast<float>(want));
  }
}

/// Raw elements of a tensor against hexadecimal numbers.
void expect_bits(const StoredTensor& tensor, const nlohmann::json& bits) {
  REQUIRE(std::ssize(bits) == tensor.size());
  for (Index i = 0; i < tensor.size(); ++i) {
    const std::string text = bits[static_cast<std::size_t>(i)];
    const std::size_t width = text.size() / 2;
    std::uint64_t element = 0;
    std::memcpy(&element, tensor.bytes.data() + static_cast<std::size_t>(i) * width, width);
    CHECK(element == std::stoull(text, nullptr, 16));
  }
}

void expect_contents(const TensorFile& file, const nlohmann::json& contents) {
  CHECK(file.tensors().size() == contents.size());
  for (const auto& [name, want] : contents.items()) {
    INFO("tensor '" << name << "'");
    const StoredTensor& tensor = file.at(name);
    CHECK(tensor.type == want.at("dtype"));
    CHECK(tensor.shape == want.at("shape").get<Shape>());
    if (want.contains("values")) expect_values(file, name, want["values"]);
    if (want.contains("bits")) expect_bits(tensor, want["bits"]);
  }
}

/// The reading alone. False when this build lacks the format.
bool run_file_level(const std::filesystem::path& path, const nlohmann::json& entry, const std::string& expect) {
  const std::int64_t before = peak_memory();
  std::optional<TensorFile> file;
  std::string message;
  try {
    file = read_any(path);
    if (!file) return false;
    for (const StoredTensor& tensor : file->tensors()) file->at(tensor.name);
  } catch (const Error& error) {
    file.reset();
    message = error.what();
  }
  INFO("message: " << message);
  constexpr std::int64_t room = 64 << 20;
  CHECK(peak_memory() - before < room + static_cast<std::int64_t>(std::filesystem::file_size(path)));
  if (expect == "must_fail") CHECK(!file);
  if (expect == "must_load") REQUIRE(file);
  if (file && entry.contains("contents")) expect_contents(*file, entry["contents"]);
  if (!file) CHECK(message.find(path.filename().string()) != std::string::npos);
  return true;
}

VitConfig timm_config(const nlohmann::json& model) {
  REQUIRE(model.at("kind") == "timm ViT");
  VitConfig config{.image = model.at("img_size"),
                   .patch = model.at("patch_size"),
                   .channels = 3,
                   .dim = model.at("embed_dim"),
                   .depth = model.at("depth"),
                   .heads = model.at("num_heads"),
                   .classes = model.at("num_classes")};
  config.hidden = static_cast<Index>(static_cast<double>(config.dim) * model.value("mlp_ratio", 4.0));
  config.activation = model.at("gelu") == "erf" ? Activation::gelu_erf : Activation::gelu_tanh;
  config.epsilon = model.at("layer_norm_eps").get<float>();
  return config;
}

/// Logits of a model that was loaded: as listed, or not finite when the file has no listed logits.
void expect_logits(const nlohmann::json& entry, std::span<const float> got) {
  if (!entry.contains("logits")) {
    CHECK(std::any_of(got.begin(), got.end(), [](float logit) { return !std::isfinite(logit); }));
    return;
  }
  const auto want = entry["logits"].get<std::vector<float>>();
  REQUIRE(want.size() == got.size());
  double size = 1.0;  // the manifest has no accuracy for these
  for (const float logit : want) size = std::max(size, std::abs(double{logit}));
  const WorstDifference worst = worst_difference(got, want, 5e-6 * size);
  INFO("logit " << worst.index << ": got " << worst.got << ", want " << worst.want);
  CHECK(worst.ratio <= 1.0);
}

/// Loads with load_parameters into a model of any size. True when it was loaded.
bool load_plain(const std::filesystem::path& path, const nlohmann::json& entry, std::span<const float> image) {
  PlainVit model(timm_config(entry.at("model")));
  constexpr float untouched = 123.0f;
  model.fill(untouched);
  try {
    load_parameters(model.parameters(), model.description(), read_safetensors(path));
  } catch (const Error& error) {
    CHECK(model.all_are(untouched));
    CHECK(std::string(error.what()).find(path.filename().string()) != std::string::npos);
    return false;
  }
  expect_logits(entry, model.logits(image));
  return true;
}

bool load_template(const std::filesystem::path& path, const nlohmann::json& entry, std::span<const float> image) {
  Vit<tiny> model;
  try {
    load(model, path);
  } catch (const Error&) {
    return false;
  }
  std::vector<float> logits(static_cast<std::size_t>(tiny.classes));
  auto run = model.context({.images = 1});
  model.forward(image, logits, run);
  expect_logits(entry, logits);
  return true;
}

void run_model_level(const std::filesystem::path& directory, const nlohmann::json& entry, const std::string& expect,
                     Counts& counts) {
  const std::filesystem::path path = directory / entry.at("file").get<std::string>();
  const TensorFile image_file = read_safetensors(directory / entry.at("image").get<std::string>());
  const std::vector<float> image = image_file.floats(image_file.tensors().at(0).name);
  const bool loaded = load_plain(path, entry, image);
  if (expect == "must_fail") CHECK(!loaded);
  if (expect == "must_load") CHECK(loaded);
  if (timm_config(entry.at("model")) != tiny) return;
  CHECK(load_template(path, entry, image) == loaded);
  ++counts.through_template;
}

void run_entry(const std::filesystem::path& directory, const nlohmann::json& entry, Counts& counts) {
  const std::string file = entry.at("file"), expect = entry.at("expect"), level = entry.at("level");
  INFO(file << ": " << entry.at("why"));
  REQUIRE((expect == "must_fail" || expect == "must_load" || expect == "either"));
  ++counts.listed;
  if (level == "model") {
    run_model_level(directory, entry, expect, counts);
  } else {
    REQUIRE(level == "file");
    if (!run_file_level(directory / file, entry, expect)) {
      return skip(file + " needs libzip");
    }
  }
  ++counts.run;
}

}  // namespace

TEST_CASE("golden: hostile files") {
  Counts counts;
  for (const Manifest& manifest : manifests()) {
    if (!manifest.json.contains("hostile")) continue;
    for (const auto& entry : manifest.json["hostile"]) run_entry(manifest.directory, entry, counts);
  }
  std::cout << "golden hostile files: " << counts.run << " of " << counts.listed << " run, " << counts.through_template
            << " of them also through Vit<>\n";
#if __has_include(<zip.h>)
  CHECK(counts.run == counts.listed);
#endif
}
