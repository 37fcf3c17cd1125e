/// What backbones and tasks are called in files and on the command line.
#pragma once

#include "downstream/models.hpp"

#include <map>
#include <stdexcept>
#include <string>

namespace examples::downstream {

inline const std::map<std::string, Backbone> backbone_names{{"swin", Backbone::swin}, {"cvt", Backbone::cvt}};
inline const std::map<std::string, Task> task_names{{"camvid", Task::camvid},
                                                    {"bccd", Task::bccd},
                                                    {"nuclei-masks", Task::nuclei_masks},
                                                    {"nuclei-boxes", Task::nuclei_boxes}};
/// What pipelines are called on the command line, and in records and tables.
inline const std::map<std::string, std::string> pipeline_names{
    {"dense", "dense"}, {"moe", "MoE"}, {"rmoe-i", "RMoE-I"}, {"rmoe-d", "RMoE-D"}, {"scratch", "scratch"}};

/// Throws std::out_of_range for what has no name.
template <class Value>
std::string name_in(const std::map<std::string, Value>& names, Value value) {
  for (const auto& [name, known] : names)
    if (known == value) return name;
  throw std::out_of_range("name_in");
}

}  // namespace examples::downstream
