#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "models/small_models.hpp"

#include <moevit/io/packed_weights.hpp>
#include <moevit/models/calibrate.hpp>

#include <fstream>

using namespace small_models;

namespace {

template <class Model>
std::vector<float> logits_of(const Model& model, std::span<const float> images) {
  const auto count = static_cast<Index>(images.size()) / Model::config.image_values();
  std::vector<float> logits(static_cast<std::size_t>(count * Model::outputs_per_image * Model::config.outputs()));
  Context context = model.context({.images = count});
  model.forward(images, logits, context);
  return logits;
}

template <class Policy, class Net>
void check_round_trip(const Net& net, const std::filesystem::path& path) {
  const auto packed = pack<Policy>(net);
  save(packed, path);
  const auto mapped = load_packed<Net, Policy>(path);
  CHECK(mapped.preprocessing() == net.preprocessing());
  CHECK(mapped.class_names() == net.class_names());
  const std::vector<float> images = random_images<Net>(3, 1);
  CHECK(logits_of(mapped, images) == logits_of(packed, images));
}

}  // namespace

TEST_CASE("packed models come back from a mapped file with the same bits") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "packed.safetensors";
  for_each_model([&]<class Net>(const std::string& name, Net net) {
    if constexpr (requires { net.description().family; }) {
      INFO(name);
      if (net.description().family == ModelFamily::custom) return;
      net.set_class_names({"a", "b"});
      check_round_trip<Float32>(net, path);
      check_round_trip<Bf16>(net, path);
      check_round_trip<Bf16Weights>(net, path);
      check_round_trip<Int8>(net, path);
    }
  });
}

TEST_CASE("a calibrated model comes back with the storages that it had") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "calibrated.safetensors";
  TopK net;
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0.f, 0.3f);
  for (const Parameter& parameter : net.parameters()) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    for (float& value : values) value = normal(generator);
    parameter.assign(values);
  }
  const std::vector<float> images = random_images<TopK>(3, 1);
  Calibration calibration = calibrate<Int8>(net, images, {.largest_error = 10.});
  calibration.storages.front() = calibration.storages[2] = Storage::bfloat16;
  const auto packed = pack<Int8>(net, calibration);
  save(packed, path);
  CHECK(logits_of(load_packed<TopK, Int8>(path), images) == logits_of(packed, images));
}

TEST_CASE("packed files that do not fit are refused with a message") {
  const test::TemporaryFolder folder;
  const auto packed = folder.path() / "packed.safetensors", plain = folder.path() / "plain.safetensors";
  TopK net;
  save(net, plain);
  save(pack<Int8>(net), packed);
  CHECK_THROWS_WITH((load(net, packed)), Catch::Contains("load_packed"));
  CHECK_THROWS_WITH((load_packed<TopK, Int8>(plain)), Catch::Contains("expected a packed model"));
  CHECK_THROWS_WITH((load_packed<TopK, Bf16>(packed)), Catch::Contains("expected BF16"));
  CHECK_THROWS_WITH((load_packed<Mobile, Int8>(packed)), Catch::Contains("another configuration"));
  const auto size = std::filesystem::file_size(packed);
  std::filesystem::resize_file(packed, size - 1);
  CHECK_THROWS_AS((load_packed<TopK, Int8>(packed)), Error);
}

TEST_CASE("panels lie on cache lines of the file, whatever lies beside them") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "packed.safetensors";
  const Mobile net;
  save(pack<Int8>(net), path);
  const TensorFile file = read_safetensors(path);
  Index panels = 0;
  for (const StoredTensor& tensor : file.tensors())
    if (tensor.type == "I8" || tensor.type == "BF16") {
      CHECK(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % cache_line == 0);
      ++panels;
    }
  CHECK(panels > 10);
}
