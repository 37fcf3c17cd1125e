#include "downstream/typed_task.hpp"

namespace examples::downstream {

template std::unique_ptr<CompiledTask> open_typed_task<Backbone::swin, Task::bccd>(const TaskData&);
template std::unique_ptr<CompiledTask> open_typed_task<Backbone::swin, Task::nuclei_boxes>(const TaskData&);

}  // namespace examples::downstream
