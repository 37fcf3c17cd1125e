// Golden kinds `preprocess` and `jpeg_decode`: resize, crop, normalise and JPEG decoding against Pillow.
#include "catch.hpp"
#include "golden/manifest.hpp"

#include <moevit/io/image.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using test::GoldenCase;

Image image_of(const GoldenCase& golden, const std::string& tensor) {
  const Shape& shape = golden.shape(tensor);
  const bool flat = shape.size() == 2;
  REQUIRE((flat || shape.size() == 3));
  Image image(shape[0], shape[1], flat ? 1 : shape[2]);
  const auto values = golden.tensors.integers<std::uint8_t>(tensor);
  std::copy(values.begin(), values.end(), image.row(0));
  return image;
}

std::vector<int> levels(ImageView image) {
  std::vector<int> values;
  for (Index y = 0; y < image.height(); ++y)
    values.insert(values.end(), image.row(y), image.row(y) + image.row_bytes());
  return values;
}

/// What a case asks for: `size` for the shorter side or for [height, width], then a crop of [height, width].
struct Request {
  Preprocessing target;
  Index resized_height = 0;
  Index resized_width = 0;
  bool crop_equals_resize = false;
};

Request request_of(const GoldenCase& golden, Interpolation interpolation) {
  Request request;
  const auto& size = golden.config.at("size");
  const auto& crop = golden.config.at("crop");
  request.target.height = crop.is_array() ? crop.at(0).get<Index>() : crop.get<Index>();
  request.target.width = crop.is_array() ? crop.at(1).get<Index>() : crop.get<Index>();
  request.target.interpolation = interpolation;
  request.target.shorter_side = size.is_array() ? 0 : size.get<Index>();
  request.resized_height = golden.config.at("resized").at(0).get<Index>();
  request.resized_width = golden.config.at("resized").at(1).get<Index>();
  request.crop_equals_resize =
      request.target.height == request.resized_height && request.target.width == request.resized_width;
  return request;
}

std::vector<float> run(ImageView image, const Request& request, const Preprocessing& target) {
  std::vector<float> out(static_cast<std::size_t>(float_count(target)));
  if (target.shorter_side > 0 || request.crop_equals_resize) {
    preprocess(image, target, out);
  } else {  // an exact resize to one size and a crop to another: two steps for the caller
    crop_and_normalise(resize(image, request.resized_height, request.resized_width, target.interpolation), target, out);
  }
  return out;
}

void check_output(const GoldenCase& golden, const std::string& tensor, const std::string& output, ImageView image,
                  const Request& request) {
  Preprocessing target = request.target;
  const Shape& shape = golden.shape(tensor);
  target.channels = shape.size() == 3 ? shape[2] : 1;
  if (output == "resized") {
    const Image resized = resize(image, request.resized_height, request.resized_width, target.interpolation);
    test::expect_equal(golden, tensor, levels(resized));
  } else if (output == "cropped") {
    target.mean = {0.0f};
    target.deviation = {1.0f};
    std::vector<long> bytes;
    for (float value : run(image, request, target)) bytes.push_back(std::lround(value * 255));
    test::expect_equal(golden, tensor, bytes);
  } else if (output == "tensor_half") {
    test::expect_close(golden, tensor, run(image, request, target));
  } else if (output == "tensor_imagenet") {
    target.mean = {0.485f, 0.456f, 0.406f};
    target.deviation = {0.229f, 0.224f, 0.225f};
    test::expect_close(golden, tensor, run(image, request, target));
  } else {
    FAIL(golden.name << ": unknown output " << tensor);
  }
}

void run_preprocess_case(const GoldenCase& golden) {
  const Image image = image_of(golden, "inputs/image");
  std::size_t outputs = 0;
  for (const StoredTensor& tensor : golden.tensors.tensors()) {
    for (auto [name, interpolation] : {std::pair{"outputs/bilinear/", Interpolation::bilinear},
                                       std::pair{"outputs/bicubic/", Interpolation::bicubic}}) {
      if (!tensor.name.starts_with(name)) continue;
      check_output(golden, tensor.name, tensor.name.substr(std::string(name).size()), image,
                   request_of(golden, interpolation));
      ++outputs;
    }
  }
  INFO(golden.name);
  CHECK(outputs + 1 == golden.tensors.tensors().size());  // every tensor but the input
}

void run_jpeg_case(const GoldenCase& golden) {
  for (const std::string& file : golden.extra_files) {
    const std::string tensor = "outputs/" + std::filesystem::path(file).filename().string();
    INFO(golden.name << ": " << file);
    const Image decoded = load_image(golden.directory / file);
    const std::vector<int> got = levels(decoded);
    const std::vector<std::int32_t> want = golden.integers(tensor);
    REQUIRE(decoded.height() == golden.shape(tensor).at(0));
    REQUIRE(decoded.width() == golden.shape(tensor).at(1));
    REQUIRE(got.size() == want.size());
    int worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
    CHECK(worst <= 2);  // levels between decoders, says the README of the golden files
  }
  CHECK(golden.extra_files.size() == golden.tensors.tensors().size());
}

TEST_CASE("golden preprocess") {
  std::size_t run = 0;
  for (const GoldenCase& golden : test::cases_of("preprocess")) {
    run_preprocess_case(golden);
    ++run;
  }
  test::expect_all_run("preprocess", run);
}

TEST_CASE("golden jpeg_decode") {
  std::size_t run = 0;
  for (const GoldenCase& golden : test::cases_of("jpeg_decode")) {
    run_jpeg_case(golden);
    ++run;
  }
  test::expect_all_run("jpeg_decode", run);
}

}  // namespace
