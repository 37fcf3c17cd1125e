#include "dense/typed_model.hpp"

namespace examples::dense {

void try_swin(Attempts<Segmenter>& attempts) { try_tasks<downstream::Backbone::swin>(attempts); }
void try_swin(Attempts<Detector>& attempts) { try_tasks<downstream::Backbone::swin>(attempts); }

}  // namespace examples::dense
