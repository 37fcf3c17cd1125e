/// Times products of ours and of other libraries in alternating rounds inside one process, on one thread.
///   moevit_peers_gemm [--rounds N] [--case REGEX] [--mkl libmkl_rt.so]
/// Writes JSON lines: {"memory": [...]} once, then for each shape and engine {"case", "rows", "inner", "cols",
/// "engine", "rounds": [[milliseconds, ...], ...]}, and with engine "peak" the GFLOP/s of multiply-adds in registers.
#include "bandwidth.hpp"
#include "product.hpp"

#include <moevit/core/error.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <iostream>
#include <map>
#include <numeric>
#include <regex>

namespace moevit::bench {
namespace {

struct Options {
  Index rounds = 15;
  std::string pattern;
  std::string mkl_library;
};

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--rounds")
      options.rounds = std::stoi(value);
    else if (name == "--case")
      options.pattern = value;
    else if (name == "--mkl")
      options.mkl_library = value;
    else
      fail("there is no option ", name);
  }
  return options;
}

/// Largest difference from plain loops over a few rows, relative to the size of a result.
double error_of(Product& product, Index input) {
  const auto [rows, inner, cols] = product.shape;
  const float* x = product.x_data(input);
  double worst = 0.;
  for (Index row = 0; row < rows; row += std::max(Index{1}, rows / 3))
    for (Index col = 0; col < cols; ++col) {
      double sum = 0.;
      for (Index i = 0; i < inner; ++i)
        sum += static_cast<double>(x[row * inner + i]) * static_cast<double>(product.weights.data()[i * cols + col]);
      worst = std::max(worst, std::abs(sum - static_cast<double>(product.y.data()[row * cols + col])));
    }
  return worst / std::sqrt(static_cast<double>(inner));
}

/// Milliseconds of one call: the mean over `calls` of them, with an input that turns.
double time_calls(const Multiply& multiply, Index calls, Index& input) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (Index call = 0; call < calls; ++call) multiply(input++);
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / static_cast<double>(calls);
}

struct Contender {
  std::string name;
  Multiply multiply;
  Index calls = 1;  // in one sample of about a millisecond
  Index input = 0;
  nlohmann::json rounds = nlohmann::json::array();

  void prepare() {
    double fastest = time_calls(multiply, 1, input);
    for (int i = 0; i < 5; ++i) fastest = std::min(fastest, time_calls(multiply, 1, input));
    calls = std::clamp(static_cast<Index>(1. / fastest), Index{1}, Index{10000});
  }
  void run_round() {
    multiply(input++);  // whoever ran before has emptied the caches
    nlohmann::json samples;
    for (int sample = 0; sample < 3; ++sample) samples.push_back(time_calls(multiply, calls, input));
    rounds.push_back(std::move(samples));
  }
};

std::vector<Contender> contenders_for(const std::vector<ProductEngine>& engines, Product& product) {
  std::vector<Contender> list;
  for (const ProductEngine& engine : engines) {
    Contender contender{engine.name, engine.prepare(product)};
    double error = 0.;
    for (Index input = 0; input < Product::inputs; ++input) {
      contender.multiply(input);
      error = std::max(error, error_of(product, input));
    }
    if (!(error < 1e-5)) fail(engine.name, ": wrong result, relative error ", error);
    contender.prepare();
    list.push_back(std::move(contender));
  }
  return list;
}

void compare(Shape shape, const std::string& name, const std::vector<ProductEngine>& engines, Index rounds) {
  Product product(shape);
  std::vector<Contender> contenders = contenders_for(engines, product);
  nlohmann::json peaks = nlohmann::json::array();
  for (Index round = 0; round < rounds; ++round) {
    peaks.push_back({2e-9 * fma_rate()});
    for (std::size_t i = 0; i < contenders.size(); ++i)
      contenders[(i + static_cast<std::size_t>(round)) % contenders.size()].run_round();
  }
  const auto print = [&](const std::string& engine, const nlohmann::json& samples) {
    std::cout << nlohmann::json{{"case", name},       {"rows", shape.rows}, {"inner", shape.inner},
                                {"cols", shape.cols}, {"engine", engine},   {"rounds", samples}}
                     .dump()
              << std::endl;
  };
  print("peak", peaks);
  for (const Contender& contender : contenders) print(contender.name, contender.rounds);
}

void run(const Options& options) {
  std::vector<ProductEngine> engines{our_engine(), eigen_engine()};
  for (auto engine : {openblas_engine(), onednn_engine(), mkl_engine(options.mkl_library)})
    if (engine) engines.push_back(*engine);
  nlohmann::json levels;
  for (const MemoryLevel& level : measure_memory())
    levels.push_back(
        {{"name", level.name}, {"bytes", level.bytes}, {"gbytes_per_second", 1e-9 * level.bytes_per_second}});
  std::cout << nlohmann::json{{"memory", levels}}.dump() << std::endl;
  for (const Shape shape : product_shapes()) {
    const std::string name =
        "gemm_" + std::to_string(shape.rows) + "x" + std::to_string(shape.inner) + "x" + std::to_string(shape.cols);
    if (std::regex_search(name, std::regex(options.pattern))) compare(shape, name, engines, options.rounds);
  }
}

}  // namespace
}  // namespace moevit::bench

int main(int argc, char** argv) {
  try {
    moevit::bench::run(moevit::bench::read_options(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
