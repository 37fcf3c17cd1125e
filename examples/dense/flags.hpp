/// The command line options that segment and detect share.
#pragma once

#include "common/precision_flag.hpp"

#include <moevit/core/map_size.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace examples::dense {

/// "H,W" with two positive numbers; nothing when it is something else.
inline std::optional<moevit::MapSize> parse_size(std::string_view text) {
  moevit::MapSize size;
  const char* const end = text.data() + text.size();
  const auto height = std::from_chars(text.data(), end, size.height);
  if (height.ec != std::errc() || height.ptr == end || *height.ptr != ',') return std::nullopt;
  const auto width = std::from_chars(height.ptr + 1, end, size.width);
  if (width.ec != std::errc() || width.ptr != end || size.height < 1 || size.width < 1) return std::nullopt;
  return size;
}

/// For options that take sizes.
inline CLI::Validator size_validator() {
  return {[](std::string& text) { return parse_size(text) ? std::string() : "expected height,width, found " + text; },
          "H,W"};
}

struct DenseFlags {
  std::string weights;
  std::vector<std::string> inputs;
  std::string split;
  std::string output;
  std::string title;
  moevit::Index limit = -1;
  moevit::Index pictures = 24;
  moevit::Index shorter_side = -1;  // -1: as in training
  moevit::Index most_pixels = 4'194'304;
  moevit::Index threads = std::max<moevit::Index>(1, static_cast<moevit::Index>(std::thread::hardware_concurrency()));
  Precision precision = Precision::float32;
  bool routing = false;

  /// `kind`: what the weights are of. Returns the option for routing, which others may exclude.
  CLI::Option* add_to(CLI::App& app, const std::string& kind) {
    app.add_option("--weights,-w", weights, "Weights (safetensors) of a " + kind + " of train_downstream")->required();
    app.add_option("images", inputs,
                   "Image files (JPEG, PNG, PPM), folders of images, or data sets: IDX, CIFAR binary, one folder per "
                   "class")
        ->required();
    app.add_option("--output,-o", output, "Folder to write to; files of an earlier run are replaced")->required();
    app.add_option("--split", split, "Part of a data set that has several: train, t10k, test, ...");
    app.add_option("--title", title, "Title of the pages")->capture_default_str();
    app.add_option("--limit", limit, "Only the first images")->check(CLI::NonNegativeNumber);
    app.add_option("--pictures", pictures, "Images shown on the pages, the first ones")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--shorter-side", shorter_side,
                   "Pixels that the shorter side of an image is resized to; 0: not resized. Default: as in training")
        ->check(CLI::Range(0, 65536));
    app.add_option("--most-pixels", most_pixels,
                   "Images that the model would see with more pixels at once are refused: time grows with their square "
                   "where attention "
                   "is over whole maps (CvT)")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--threads", threads, "Threads; results do not depend on them")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
    add_precision_option(app, precision);
    return app.add_flag("--routing", routing,
                        "Writes routing.html too: which expert took which region at each stage. The model must have "
                        "sparse blocks");
  }
};

}  // namespace examples::dense
