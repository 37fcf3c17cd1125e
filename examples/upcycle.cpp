/// Sparse upcycling: makes a sparse model of the weights of a dense one, for `train --start` to go on with.
#include "common/models.hpp"
#include "common/program.hpp"

#include <moevit/io/safetensors.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/upcycling.hpp>

#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>

namespace {

enum class SparseKind { upcycled, vmoe, mobile };

struct Flags {
  std::string dense;
  std::string output;
  SparseKind model = SparseKind::upcycled;
  std::uint64_t seed = 1;
};

constexpr const char* description =
    "Makes a sparse model of the weights of a dense one that train wrote (--model vit): every expert begins as the "
    "dense\n"
    "block's MLP, routers are drawn at random, the rest is copied. classify takes the result, and train goes on from "
    "it "
    "with\n"
    "--start FILE and the same --model. 'upcycled' divides the gates of a token by their sum, so that it computes the\n"
    "dense model's function at first; 'vmoe' and 'mobile' scale the experts' outputs by gates below 1.";

template <class Sparse, class Dense>
void write_sparse(const Dense& dense, const Flags& flags) {
  Sparse sparse;
  moevit::initialise(sparse.parameters(), {.seed = flags.seed});
  moevit::upcycle(dense, sparse);
  moevit::save(sparse, flags.output);
  std::cout << flags.output << '\n';
}

/// The dense model, if the file is one of this type; else says why not.
template <class Dense>
std::optional<Dense> load_dense(const moevit::TensorFile& file, std::string& reasons) {
  Dense dense;
  try {
    moevit::load(dense, file);
    return dense;
  } catch (const moevit::Error& error) {
    reasons += std::string("\n") + error.what();
    return std::nullopt;
  }
}

template <class Upcycled, class VMoe, class Mobile, class Dense>
void write_kind(const Dense& dense, const Flags& flags) {
  switch (flags.model) {
    case SparseKind::upcycled:
      return write_sparse<Upcycled>(dense, flags);
    case SparseKind::vmoe:
      return write_sparse<VMoe>(dense, flags);
    case SparseKind::mobile:
      return write_sparse<Mobile>(dense, flags);
  }
}

int upcycle(const Flags& flags) {
  using namespace examples;
  const moevit::TensorFile file = moevit::read_safetensors(flags.dense);
  std::string reasons;
  if (const auto grey = load_dense<FashionVit>(file, reasons))
    write_kind<FashionUpcycled, FashionVMoe, FashionMobileVMoe>(*grey, flags);
  else if (const auto colour = load_dense<CifarVit>(file, reasons))
    write_kind<CifarUpcycled, CifarVMoe, CifarMobileVMoe>(*colour, flags);
  else
    moevit::fail(flags.dense, ": expected a dense model that train writes, but none of them fits:", reasons);
  return success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "upcycle");
  Flags flags;
  app.add_option("dense", flags.dense, "Weights of the dense model (safetensors)")->required();
  app.add_option("--output,-o", flags.output, "File to write; it appears whole or not at all")->required();
  const std::map<std::string, SparseKind> kinds{
      {"upcycled", SparseKind::upcycled}, {"vmoe", SparseKind::vmoe}, {"mobile", SparseKind::mobile}};
  app.add_option("--model", flags.model, "What it becomes: upcycled, vmoe or mobile, as train names them")
      ->transform(CLI::CheckedTransformer(kinds))
      ->default_str("upcycled");
  app.add_option("--seed", flags.seed, "Of the routers")->capture_default_str();
  return examples::run_program(app, argc, argv, [&] { return upcycle(flags); });
}
