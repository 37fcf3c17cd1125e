/// Writes a routing report: one HTML page, with everything it shows inside it. Component `image`.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/report/report_data.hpp>
#include <moevit/io/report/sections.hpp>

#include <filesystem>
#include <string>
#include <utility>

namespace moevit {

/// The report as HTML. Throws Error when it shows no router, or when an image's pixels cannot be encoded.
inline std::string routing_report_html(const RoutingReport& report) {
  if (report.routers.empty())
    fail("routing report: expected a model with sparse blocks that has seen an image, found no router");
  report::Page page(report.title);
  report::write_header(page, report);
  if (report.routers.front().per_image)
    report::write_image_gallery(page, report);
  else
    report::write_patch_gallery(page, report);
  report::write_load(page, report);
  report::write_classes(page, report);
  report::write_gates(page, report);
  if (!report.capacity.empty()) report::write_capacity(page, report);
  if (!report.routers.front().per_image) report::write_positions(page, report);
  page.add(report::join("<footer>", report::escape(report.footer), "</footer>"));
  return std::move(page).finish();
}

/// Writes the report; the file appears whole or not at all. Throws Error.
inline void write_routing_report(const std::filesystem::path& path, const RoutingReport& report) {
  write_file(path, routing_report_html(report));
}

}  // namespace moevit
