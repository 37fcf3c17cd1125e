/// What a routing report shows.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/io/report/line_chart.hpp>
#include <moevit/io/report/statistics.hpp>

#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// The patches of an image that found no slot at one capacity ratio.
struct DroppedPatches {
  std::string setting;  // heading of the column, the same for all images: "0.5, batch priority"
  std::vector<bool> dropped;
};

/// One image of the gallery.
struct ReportImage {
  Image pixels;
  std::string caption;  // what it is and what the model says
  bool correct = true;
  std::vector<report::PatchRouting> routing;  // one per router; for a whole-image router only `expert` is read
  std::vector<DroppedPatches> dropped;
};

/// Everything of a report. Statistics come from report::RoutingStatistics.
struct RoutingReport {
  std::string title;
  std::string lead;  // one or two sentences below the title
  ModelDescription model;
  std::vector<std::pair<std::string, std::string>> facts;  // value, what it is: "90.0%", "accuracy"
  std::vector<std::string> class_names;
  bool classes_are_predicted = false;  // images were counted by what the model says, for want of labels
  std::vector<ReportImage> images;
  std::vector<report::RouterStatistics> routers;
  std::vector<report::CapacityPoint> capacity;  // rising ratios; empty: no such section
  double unlimited_accuracy = 0;                // of the same images as `capacity`
  std::string capacity_setting;                 // how many images, in groups of how many
  std::string footer;
};

}  // namespace moevit
