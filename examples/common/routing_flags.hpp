/// The command line options about routing, batches and threads that classify and routing_report share.
#pragma once

#include <moevit/moe/routing_options.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <thread>

namespace examples {

struct RunFlags {
  moevit::Index threads = std::max<moevit::Index>(1, static_cast<moevit::Index>(std::thread::hardware_concurrency()));
  moevit::Index batch = 64;
  double capacity = moevit::unlimited;
  moevit::Priority priority = moevit::Priority::position;
  moevit::Index selected = 0;  // 0: the model's own
  moevit::Index group = 0;     // 0: the whole batch

  void add_to(CLI::App& app) {
    app.add_option("--threads", threads, "Threads")->capture_default_str()->check(CLI::Range(1, 1024));
    app.add_option("--batch", batch, "Images of one forward pass, rounded down to whole groups (at least one)")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 20));
    app.add_option("--capacity", capacity,
                   "Capacity ratio of the experts: slots per expert and group = ratio * tokens * k / experts. "
                   "Without it nothing is dropped")
        ->check(CLI::PositiveNumber);
    const std::map<std::string, moevit::Priority> priorities{{"position", moevit::Priority::position},
                                                             {"max-gate", moevit::Priority::max_gate},
                                                             {"sum", moevit::Priority::sum_of_gates}};
    app.add_option("--priority", priority, "Who gets a slot first where capacity is limited: position, max-gate or sum")
        ->transform(CLI::CheckedTransformer(priorities))
        ->default_str("position");
    app.add_option("--selected", selected, "k, experts per token (per image for Mobile V-MoE); default: the model's")
        ->check(CLI::Range(1, 1 << 20));
    app.add_option(
           "--group", group,
           "Images that are routed together, for which capacity counts; default: the whole batch. The last images, "
           "where they do not fill a group, form a smaller one")
        ->check(CLI::Range(1, 1 << 20));
  }

  /// Images of one forward pass.
  moevit::Index images_per_pass() const {
    return group == 0 ? batch : std::max<moevit::Index>(1, batch / group) * group;
  }

  void apply(moevit::RoutingOptions& routing) const {
    if (capacity != moevit::unlimited) routing.capacity_ratio = capacity;
    routing.priority = priority;
    if (selected) routing.selected = selected;
  }
};

}  // namespace examples
