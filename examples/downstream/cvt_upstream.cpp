#include "downstream/typed_task.hpp"

namespace examples::downstream {

template std::unique_ptr<CompiledTask> open_typed_task<Backbone::cvt, Task::upstream>(const TaskData&);

}  // namespace examples::downstream
