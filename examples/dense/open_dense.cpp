#include "dense/open_dense.hpp"

#include "common/file_kind.hpp"
#include "dense/attempts.hpp"

#include <moevit/io/safetensors.hpp>

namespace examples::dense {

namespace {

template <class Kind>
std::unique_ptr<Kind> open_as(const std::filesystem::path& path, FileKind kind) {
  const moevit::TensorFile file = moevit::read_safetensors(path);
  if (kind_of(file) != kind) moevit::fail(path.string(), ": ", hint_for(kind_of(file)));
  Attempts<Kind> attempts(file);
  try_swin(attempts);
  try_cvt(attempts);
  auto model = attempts.take();
  if (!model)
    moevit::fail(path.string(), ": none of the models of train_downstream that this program is compiled with fits ",
                 "(examples/downstream/models.hpp). Why not:", attempts.reasons());
  return model;
}

}  // namespace

std::unique_ptr<Segmenter> open_segmenter(const std::filesystem::path& path) {
  return open_as<Segmenter>(path, FileKind::segmenter);
}

std::unique_ptr<Detector> open_detector(const std::filesystem::path& path) {
  return open_as<Detector>(path, FileKind::detector);
}

}  // namespace examples::dense
