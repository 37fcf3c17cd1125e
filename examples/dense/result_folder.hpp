/// The folder that results are written to.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/report/png_data_uri.hpp>

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace examples::dense {

class ResultFolder {
 public:
  /// Creates it when it is not there. Throws moevit::Error.
  explicit ResultFolder(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::error_code failure;
    std::filesystem::create_directories(folder_, failure);
    if (failure || !std::filesystem::is_directory(folder_))
      moevit::fail(folder_.string(), ": expected a folder to write to",
                   failure ? ": " + failure.message() : std::string());
  }

  std::filesystem::path path(std::string_view file) const { return folder_ / file; }

  /// Writes a picture that belongs to an image: <image's file name>.<what>.png, with a number where several images have
  /// that name. Returns the file's name in the folder. Throws moevit::Error.
  std::string add_png(const std::string& image_name, const std::string& what, const moevit::Image& pixels) {
    const std::string name = std::filesystem::path(image_name).filename().string() + "." + what;
    std::string unique = name;
    for (int number = 2; !used_.insert(unique).second; ++number) unique = name + "-" + std::to_string(number);
    const auto bytes = moevit::report::encode_png(pixels);
    moevit::write_file(path(unique + ".png"), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return unique + ".png";
  }

 private:
  std::filesystem::path folder_;
  std::set<std::string> used_;
};

}  // namespace examples::dense
