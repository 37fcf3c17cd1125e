/// Pictures of images whose patches are coloured by expert or blanked where they were dropped.
#pragma once

#include <moevit/io/report/markup.hpp>
#include <moevit/io/report/palette.hpp>
#include <moevit/io/report/statistics.hpp>

#include <map>
#include <string>
#include <utility>

namespace moevit::report {

/// How an image is cut into patches and how large it is drawn.
struct PatchGrid {
  Index rows = 0;
  Index columns = 0;

  double cell() const { return columns <= 8 ? 18 : columns <= 16 ? 16 : 9; }
  double width() const { return cell() * static_cast<double>(columns); }
  double height() const { return cell() * static_cast<double>(rows); }
};

namespace detail {

/// Squares of the grid as one path: a page may hold tens of thousands of them.
inline std::string squares_path(const PatchGrid& grid, const std::vector<Index>& patches) {
  std::string path;
  const std::string side = number(grid.cell());
  for (const Index patch : patches)
    path +=
        join("M", number(static_cast<double>(patch % grid.columns) * grid.cell()), " ",
             number(static_cast<double>(patch / grid.columns) * grid.cell()), "h", side, "v", side, "h-", side, "z");
  return path;
}

/// The image, defined once per page under its id, in the size of the grid.
inline void use_image(Drawing& drawing, const std::string& id) { drawing.add(join("<use href=\"#", id, "\"/>")); }

inline void blank(Drawing& drawing, const PatchGrid& grid, const std::vector<bool>& dropped) {
  std::vector<Index> patches;
  for (std::size_t patch = 0; patch < dropped.size(); ++patch)
    if (dropped[patch]) patches.push_back(static_cast<Index>(patch));
  if (patches.empty()) return;
  const std::string path = squares_path(grid, patches);
  drawing.add(join("<path class=\"blank\" d=\"", path, "\"/><path fill=\"url(#hatch)\" d=\"", path, "\"/>"));
}

}  // namespace detail

/// Where an image is defined, once, so that all pictures can use it. `id` is what they name it by.
inline std::string image_definition(const std::string& id, const std::string& data_uri, const PatchGrid& grid) {
  return image_element(data_uri, grid.width(), grid.height(), join("id=\"", id, "\""));
}

/// The image as it is.
inline std::string plain_picture(const std::string& id, const PatchGrid& grid, const std::string& label) {
  Drawing drawing(grid.width(), grid.height(), label);
  detail::use_image(drawing, id);
  return std::move(drawing).finish();
}

/// The image with each patch in the colour of its first expert, its number printed, and the dropped patches blanked.
inline std::string expert_picture(const std::string& id, const PatchGrid& grid, const PatchRouting& routing,
                                  Index experts, const std::string& label) {
  Drawing drawing(grid.width(), grid.height(), label);
  detail::use_image(drawing, id);
  std::map<int, std::vector<Index>> by_expert;
  for (std::size_t patch = 0; patch < routing.expert.size(); ++patch)
    if (routing.expert[patch] >= 0 && !routing.dropped[patch])
      by_expert[routing.expert[patch]].push_back(static_cast<Index>(patch));
  for (const auto& [expert, patches] : by_expert)
    drawing.add(join("<path class=\"patch\" fill=\"", expert_colour(expert, experts), "\" d=\"",
                     detail::squares_path(grid, patches), "\"><title>expert ", expert, "</title></path>"));
  detail::blank(drawing, grid, routing.dropped);
  if (grid.cell() >= 12) {
    drawing.add("<g class=\"patch-number\">");
    for (const auto& [expert, patches] : by_expert)
      for (const Index patch : patches)
        drawing.label((static_cast<double>(patch % grid.columns) + 0.5) * grid.cell(),
                      (static_cast<double>(patch / grid.columns) + 0.5) * grid.cell() + 3, std::to_string(expert));
    drawing.add("</g>");
  }
  return std::move(drawing).finish();
}

/// The image with its dropped patches blanked, smaller than the other pictures.
inline std::string dropped_picture(const std::string& id, const PatchGrid& grid, const std::vector<bool>& dropped,
                                   const std::string& label) {
  Drawing drawing(grid.width(), grid.height(), label, 0.72);
  detail::use_image(drawing, id);
  detail::blank(drawing, grid, dropped);
  return std::move(drawing).finish();
}

}  // namespace moevit::report
