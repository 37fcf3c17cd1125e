#include "common/open_model.hpp"
#include "common/attempts.hpp"
#include "common/file_kind.hpp"
#include "common/models.hpp"

#include <moevit/io/cpp_type.hpp>
#include <moevit/io/describe.hpp>
#include <moevit/io/safetensors.hpp>

#include <memory>
#include <string>
#include <tuple>
#include <type_traits>

namespace examples {

namespace {

/// What to do when no known model fits. `reasons`: why each does not, one after the other.
[[noreturn]] void refuse_model(const moevit::TensorFile& file, const std::string& reasons) {
  if (const FileKind kind = kind_of(file); kind != FileKind::classifier)
    moevit::fail(file.path().string(), ": ", hint_for(kind));
  const moevit::InferredModel model = moevit::describe(file);  // throws when it is no vision transformer at all
  std::string assumptions;
  for (const std::string& assumption : model.assumptions) assumptions += "\n  // " + assumption;
  moevit::fail(
      file.path().string(), ": none of the models that this program is compiled with fits.\nIts type is\n  ",
      moevit::cpp_type(model.description), assumptions,
      "\nAdd it to KnownModels in examples/common/models.hpp and build again. Why the known ones do not fit:", reasons);
}

}  // namespace

std::unique_ptr<AnyModel> open_model(const std::filesystem::path& path) {
  const moevit::TensorFile file = moevit::read_safetensors(path);
  Attempts<AnyModel> attempts(file);
  [&]<class... Nets>(std::type_identity<std::tuple<Nets...>>) {
    (attempts.try_type<ModelHolder<Nets>>(), ...);
  }(std::type_identity<KnownModels>{});
  auto model = attempts.take();
  if (!model) refuse_model(file, attempts.reasons());
  return model;
}

}  // namespace examples
