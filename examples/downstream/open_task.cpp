#include "downstream/compiled_task.hpp"

#include <moevit/core/error.hpp>

namespace examples::downstream {

namespace {

template <Backbone backbone>
std::unique_ptr<CompiledTask> open_task_of(Task task, const TaskData& data) {
  switch (task) {
    case Task::upstream:
      return open_typed_task<backbone, Task::upstream>(data);
    case Task::camvid:
      return open_typed_task<backbone, Task::camvid>(data);
    case Task::bccd:
      return open_typed_task<backbone, Task::bccd>(data);
    case Task::nuclei_masks:
      return open_typed_task<backbone, Task::nuclei_masks>(data);
    case Task::nuclei_boxes:
      return open_typed_task<backbone, Task::nuclei_boxes>(data);
  }
  moevit::fail("downstream: unknown task");
}

}  // namespace

std::unique_ptr<CompiledTask> open_task(Backbone backbone, Task task, const TaskData& data) {
  return backbone == Backbone::swin ? open_task_of<Backbone::swin>(task, data)
                                    : open_task_of<Backbone::cvt>(task, data);
}

}  // namespace examples::downstream
