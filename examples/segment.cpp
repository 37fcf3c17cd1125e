/// Says for every pixel of images what it shows: a page, JSON and masks.
#include "common/program.hpp"
#include "dense/dense_run.hpp"
#include "dense/open_dense.hpp"

#include <moevit/io/dense_report.hpp>
#include <moevit/models/segmenter.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace examples::dense;

struct Flags {
  DenseFlags dense;
  std::string window;
  std::string stride;
  bool masks = false;
};

constexpr const char* description =
    "Segments images with a model of train_downstream (camvid, nuclei-masks), whose type is found from the file.\n"
    "Each image gets a line: file and the share of its pixels by class, largest first. The folder gets report.html "
    "(images\n"
    "with the colours of the classes over them, and a legend), results.json (classes with pixels and shares) and, "
    "where "
    "asked,\n"
    "masks and routing.html. Images are resized as in training, whole; results have the size of the image. Images that "
    "cannot\n"
    "be read are reported on standard error, the others are segmented all the same, and the exit code is 1.";

void add_options(CLI::App& app, Flags& flags) {
  flags.dense.title = "Segmentation";
  CLI::Option* const routing = flags.dense.add_to(app, "segmenter");
  app.add_flag("--masks", flags.masks,
               "Writes <image>.mask.png for every image: grey, a pixel's value is the number of its class");
  CLI::Option* const window =
      app.add_option("--window", flags.window,
                     "Height,width: larger images go through the model window by window, in their own size (or as "
                     "--shorter-side says); logits are averaged where windows overlap")
          ->check(size_validator())
          ->excludes(routing);
  app.add_option("--stride", flags.stride, "Height,width from one window to the next. Default: two thirds of a window")
      ->check(size_validator())
      ->needs(window);
}

/// The windows that the flags ask for. Throws moevit::Error when they would leave pixels out.
std::optional<moevit::SlidingWindow> windows_of(const Flags& flags) {
  if (flags.window.empty()) return std::nullopt;
  const MapSize window = parse_size(flags.window).value();
  moevit::SlidingWindow windows{window,
                                {moevit::ceil_div(2 * window.height, 3), moevit::ceil_div(2 * window.width, 3)}};
  if (!flags.stride.empty()) windows.stride = parse_size(flags.stride).value();
  windows.check();
  return windows;
}

/// The class of every pixel of the image, in its own size.
moevit::Image mask_of(const Segmenter& model, const SeenImage& image, moevit::Context& context,
                      const std::optional<moevit::SlidingWindow>& windows) {
  std::vector<float> logits(static_cast<std::size_t>(image.seen.places() * model.classes()));
  model.segment(image.values, image.seen, logits, context, windows);
  std::vector<std::int32_t> classes(static_cast<std::size_t>(image.size().places()));
  moevit::top_classes_of_pixels({logits.data(), image.seen.places(), model.classes()}, image.seen, classes,
                                image.size());
  moevit::Image mask(image.size().height, image.size().width, 1);
  std::transform(classes.begin(), classes.end(), mask.row(0),
                 [](auto number) { return static_cast<std::uint8_t>(number); });
  return mask;
}

/// "\troad 61.2%\tcar 38.8%"
std::string line_of(const Json& json) {
  std::vector<std::pair<double, std::string>> shares;
  for (const Json& one : json.at("classes"))
    if (one.at("pixels") > 0) shares.emplace_back(-one.at("share").get<double>(), one.at("name"));
  std::stable_sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string line;
  for (const auto& [share, name] : shares) line += "\t" + name + " " + moevit::report::percent(-share);
  return line;
}

/// With windows images have their own size unless the flags say otherwise, and the limit is that of a window.
void adapt_to_windows(DenseFlags& flags, MapSize window) {
  if (window.height > flags.most_pixels / window.width)
    moevit::fail("--window: ", window.height, " x ", window.width, ", the limit is ", flags.most_pixels,
                 " pixels (--most-pixels)");
  flags.most_pixels = std::max(flags.most_pixels, moevit::ImageLimits().max_pixels);
  if (flags.shorter_side < 0) flags.shorter_side = 0;
}

int segment(Flags& flags) {
  const auto windows = windows_of(flags);
  if (windows) adapt_to_windows(flags.dense, windows->window);
  const auto model = open_segmenter(flags.dense.weights);
  model->pack(flags.dense.precision);
  DenseRun run(flags.dense, *model, "segment");
  moevit::SegmentationReport report{.title = flags.dense.title, .class_names = model->class_names()};
  run.run("segmenting", [&](const SeenImage& image, moevit::Context& context) {
    const moevit::Image mask = mask_of(*model, image, context, windows);
    ImageResult result{moevit::segmentation_as_json(image.name, mask, report.class_names), {}};
    result.line = line_of(result.json);
    if (flags.masks) result.json["mask"] = run.folder().add_png(image.name, "mask", mask);
    if (run.shows_next()) report.images.push_back({image.name, page_picture(image.original), page_mask(mask)});
    return result;
  });
  moevit::write_segmentation_report(run.folder().path("report.html"), report);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "segment");
  Flags flags;
  add_options(app, flags);
  return examples::run_program(app, argc, argv, [&] { return segment(flags); });
}
