#include "dense/typed_model.hpp"

namespace examples::dense {

void try_cvt(Attempts<Segmenter>& attempts) { try_tasks<downstream::Backbone::cvt>(attempts); }
void try_cvt(Attempts<Detector>& attempts) { try_tasks<downstream::Backbone::cvt>(attempts); }

}  // namespace examples::dense
